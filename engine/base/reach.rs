//! Where a path in an artifact leads, when links are followed.

use super::{artifact_path::ArtifactPath, listing::Entry, tree::Tree};

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached<'t> {
    File(&'t Entry),
    Folder,
}

/// How many links are followed on the way to a file: as many as Linux follows.
const MOST_LINKS: usize = 40;

impl Tree {
    /// What is at `path`, links followed; nothing at the end of a circle of them.
    pub(crate) fn reach(&self, path: &str) -> Option<Reached<'_>> {
        if path == ArtifactPath::ITSELF {
            return self.get(path).map(Reached::File);
        }
        let mut left: Vec<&str> = path.rsplit('/').collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part {
                "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let above = at.len();
            if above > 0 {
                at.push('/');
            }
            at.push_str(part);
            if at.len() > ArtifactPath::LONGEST {
                return None;
            }
            if let Some(link) = self.link(&at) {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                at.truncate(above);
                left.extend(link.target.rsplit('/'));
            }
        }
        if let Some(entry) = self.get(&at) {
            return Some(Reached::File(entry));
        }
        self.has_folder(&at).then_some(Reached::Folder)
    }

    /// The file to which `path` leads, links followed.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        match self.get(path) {
            None if !self.links().is_empty() => match self.reach(path)? {
                Reached::File(entry) => Some(entry),
                Reached::Folder => None,
            },
            found => found,
        }
    }
}
