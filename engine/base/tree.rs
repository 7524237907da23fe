//! An artifact's manifest: which files it has, and the digest of each; also its empty folders and symbolic links.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use super::{
    artifact_path::{ArtifactPath, BadPath},
    listing::{Entry, Listing},
};
use super::{
    digest::Digest,
    encoding::Encoder,
    link::{Link, TargetError},
};

/// An artifact's manifest: what it holds, sorted by path.
///
/// There is one manifest for each content: its format is the second only if it holds something that the first has no
/// words for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    format: u32,
    files: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    folders: Vec<ArtifactPath>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
}

/// A list of files that is no artifact, or a manifest that can't be read.
#[derive(Debug, Error)]
pub enum TreeError {
    /// Two files share a path.
    #[error("`{0}` is there twice")]
    Twice(ArtifactPath),
    /// One file's path is a folder of another's.
    #[error("`{0}` is both a file and a folder")]
    FileAndFolder(ArtifactPath),
    /// A single-file artifact has other files too.
    #[error("an artifact that is one file has other files too")]
    NotAlone,
    /// The manifest's files aren't sorted by path.
    #[error("the files are not sorted by path")]
    Unsorted,
    /// A symbolic link has a target that it must not have.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A symbolic link leads to nothing.
    #[error("the link `{path}` leads to `{target}`, and nothing is there", path = .0.path, target = .0.target)]
    Dangling(Link),
    /// The manifest says that it has another format than it needs.
    #[error("the manifest has format {found}, and what it holds has format {needed}")]
    Misnamed {
        /// What it says.
        found: u32,
        /// What it needs.
        needed: u32,
    },
    /// The manifest is of another format.
    #[error(
        "the manifest has format {0}, and this version of pipe reads formats {PLAIN} and {RICH}"
    )]
    Format(u32),
    /// The manifest isn't JSON of the expected shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The format of artifacts that are files and no more, with names without a backslash.
const PLAIN: u32 = 1;
const PLAIN_CONTEXT: &str = "pipe 2026-11 tree v1";
/// The format of all others.
const RICH: u32 = 2;
const RICH_CONTEXT: &str = "pipe 2026-11 tree v2";

impl Tree {
    /// Sorts `files` and checks that they can stand together. Without any, the artifact is an empty folder.
    ///
    /// # Errors
    /// When two share a path, or a file's path is a folder of another's.
    pub fn new(files: Vec<Entry>) -> Result<Self, TreeError> {
        Self::of(Listing { files, ..Listing::default() })
    }

    /// Sorts what `listing` names and checks that it can stand together.
    ///
    /// # Errors
    /// When two things share a path, one stands in another that is no folder, or a link leads to nothing.
    pub fn of(mut listing: Listing) -> Result<Self, TreeError> {
        listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        listing.folders.sort_unstable();
        listing.links.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        if !listing.folders.is_empty() {
            listing.folders.dedup();
            let above: HashSet<&str> = listing.paths().flat_map(ArtifactPath::folders).collect();
            let empty = |folder: &&ArtifactPath| !above.contains(folder.as_str());
            listing.folders = listing.folders.iter().filter(empty).cloned().collect();
        }
        Self::sorted(listing)
    }

    fn sorted(listing: Listing) -> Result<Self, TreeError> {
        let count = listing.paths().count();
        if count > 1 && listing.paths().any(|path| path.as_str() == ArtifactPath::ITSELF) {
            return Err(TreeError::NotAlone);
        }
        if let Some(path) = listing.folders.first()
            && path.as_str() == ArtifactPath::ITSELF
        {
            return Err(TreeError::FileAndFolder(path.clone()));
        }
        let Listing { files, folders, links } = &listing;
        ascending(files.iter().map(|entry| &entry.path))?;
        ascending(folders.iter())?;
        ascending(links.iter().map(|link| &link.path))?;
        let mut paths = HashSet::with_capacity(count);
        for path in listing.paths() {
            if !paths.insert(path.as_str()) {
                return Err(TreeError::Twice(path.clone()));
            }
        }
        for path in listing.paths() {
            if let Some(folder) = path.folders().find(|folder| paths.contains(folder)) {
                return Err(TreeError::FileAndFolder(
                    ArtifactPath::new(folder)
                        .unwrap_or_else(|_| unreachable!("a folder of a path is a path")),
                ));
            }
        }
        drop(paths);
        let Listing { files, folders, links } = listing;
        let format = if needs_second(&files, &folders, &links) { RICH } else { PLAIN };
        let tree = Self { format, files, folders, links };
        for link in &tree.links {
            link.check()?;
        }
        for link in &tree.links {
            if tree.reach(link.path.as_str()).is_none() {
                return Err(TreeError::Dangling(link.clone()));
            }
        }
        Ok(tree)
    }

    /// The manifest of an artifact that is one file, and no program.
    pub fn single(blob: Digest, size: u64) -> Self {
        let files = vec![Entry::plain(ArtifactPath::itself(), blob, size)];
        Self { format: PLAIN, files, folders: Vec::new(), links: Vec::new() }
    }

    /// The manifest of an artifact that is the one file `entry`, whatever its path.
    pub fn only(entry: &Entry) -> Self {
        let format = if entry.executable { RICH } else { PLAIN };
        let files = vec![Entry { path: ArtifactPath::itself(), ..entry.clone() }];
        Self { format, files, folders: Vec::new(), links: Vec::new() }
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &[Entry] {
        &self.files
    }

    /// The folders that have nothing in them, sorted by path.
    pub fn folders(&self) -> &[ArtifactPath] {
        &self.folders
    }

    /// The symbolic links, sorted by path.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether the artifact is a folder with nothing in it.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty() && self.links.is_empty()
    }

    /// The file at `path`, which is none if that is a link.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        let found = self.files.binary_search_by(|entry| entry.path.as_str().cmp(path));
        found.ok().map(|i| &self.files[i])
    }

    /// The symbolic link at `path`.
    pub fn link(&self, path: &str) -> Option<&Link> {
        let found = self.links.binary_search_by(|link| link.path.as_str().cmp(path));
        found.ok().map(|i| &self.links[i])
    }

    /// Whether there is a folder at `path`, empty or not.
    pub(crate) fn has_folder(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.is_file();
        }
        let empty = self.folders.binary_search_by(|folder| folder.as_str().cmp(path)).is_ok();
        let within = format!("{path}/");
        let files = self.files.partition_point(|entry| entry.path.as_str() < within.as_str());
        let links = self.links.partition_point(|link| link.path.as_str() < within.as_str());
        let folders = self.folders.partition_point(|folder| folder.as_str() < within.as_str());
        empty
            || self.files.get(files).is_some_and(|entry| entry.path.as_str().starts_with(&within))
            || self.links.get(links).is_some_and(|link| link.path.as_str().starts_with(&within))
            || self.folders.get(folders).is_some_and(|folder| folder.as_str().starts_with(&within))
    }

    /// Whether the artifact is one file rather than a folder of files.
    pub fn is_file(&self) -> bool {
        self.get(ArtifactPath::ITSELF).is_some()
    }

    /// What the artifact holds, as it stands when the artifact stands at `base` in another: for one that is a file, that
    /// is its path.
    ///
    /// # Errors
    /// When `base` leads to a path that isn't allowed.
    pub fn under(&self, base: &str) -> Result<Listing, BadPath> {
        let file = |entry: &Entry| Ok(Entry { path: entry.path.moved(base)?, ..entry.clone() });
        let link = |link: &Link| Ok(Link { path: link.path.moved(base)?, ..link.clone() });
        let mut listing = Listing {
            files: self.files.iter().map(file).collect::<Result<_, BadPath>>()?,
            folders: self
                .folders
                .iter()
                .map(|folder| folder.moved(base))
                .collect::<Result<_, _>>()?,
            links: self.links.iter().map(link).collect::<Result<_, BadPath>>()?,
        };
        if self.is_empty() {
            listing.folders.push(ArtifactPath::new(base)?);
        }
        Ok(listing)
    }

    /// The sum of the files' sizes, in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
    }

    /// The artifact's content digest: the hash, in a domain of its own, of the number of files and then for each its
    /// path, its blob's digest and its size, encoded as the crate's module `encoding` says. In the second format whether
    /// it is a program follows for each file, and after them come the number of folders and their paths, and the number of
    /// links, each with its path and its target.
    pub fn digest(&self) -> Digest {
        let rich = self.format == RICH;
        let mut encoder = Encoder::new(if rich { RICH_CONTEXT } else { PLAIN_CONTEXT });
        encoder.number(self.files.len() as u64);
        for entry in &self.files {
            encoder.text(entry.path.as_str()).fixed(entry.blob.as_bytes()).number(entry.size);
            if rich {
                encoder.number(entry.executable.into());
            }
        }
        if rich {
            encoder.number(self.folders.len() as u64);
            for folder in &self.folders {
                encoder.text(folder.as_str());
            }
            encoder.number(self.links.len() as u64);
            for link in &self.links {
                encoder.text(link.path.as_str()).text(&link.target);
            }
        }
        Digest::from_bytes(encoder.finish())
    }

    /// The manifest as it is stored: JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .unwrap_or_else(|_| unreachable!("text and numbers are always JSON"))
    }

    /// Reads a stored manifest, checking every path.
    ///
    /// # Errors
    /// When it is no manifest of these formats, or what it lists can't stand together.
    pub fn from_json(json: &[u8]) -> Result<Self, TreeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stored {
            format: u32,
            files: Vec<Entry>,
            #[serde(default)]
            folders: Vec<ArtifactPath>,
            #[serde(default)]
            links: Vec<Link>,
        }
        /// Of a manifest of a later version nothing else is known.
        #[derive(Deserialize)]
        struct Any {
            format: u32,
        }
        let known = |format| [PLAIN, RICH].contains(&format);
        let stored: Stored = match serde_json::from_slice(json) {
            Ok(stored) => stored,
            Err(error) => {
                return Err(match serde_json::from_slice(json) {
                    Ok(Any { format }) if !known(format) => TreeError::Format(format),
                    _ => error.into(),
                });
            }
        };
        let Stored { format, files, folders, links } = stored;
        if !known(format) {
            return Err(TreeError::Format(format));
        }
        let tree = Self::sorted(Listing { files, folders, links })?;
        if tree.format != format {
            return Err(TreeError::Misnamed { found: format, needed: tree.format });
        }
        Ok(tree)
    }
}

/// Whether it takes the second format to tell of these.
fn needs_second(files: &[Entry], folders: &[ArtifactPath], links: &[Link]) -> bool {
    let new = |entry: &Entry| entry.executable || entry.path.as_str().contains('\\');
    !folders.is_empty() || !links.is_empty() || files.iter().any(new)
}

/// Checks that `paths` are sorted, and none is there twice.
fn ascending<'a>(paths: impl Iterator<Item = &'a ArtifactPath>) -> Result<(), TreeError> {
    let mut last: Option<&ArtifactPath> = None;
    for path in paths {
        match last.map(|last| last.cmp(path)) {
            None | Some(std::cmp::Ordering::Less) => {}
            Some(std::cmp::Ordering::Equal) => return Err(TreeError::Twice(path.clone())),
            Some(std::cmp::Ordering::Greater) => return Err(TreeError::Unsorted),
        }
        last = Some(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(path: &str, bytes: &[u8]) -> Entry {
        Entry::plain(path.parse().unwrap(), Digest::of(bytes), bytes.len() as u64)
    }

    fn link(path: &str, target: &str) -> Link {
        Link { path: path.parse().unwrap(), target: target.to_owned() }
    }

    #[test]
    fn content_digest_is_pinned() {
        let tree = Tree::new(vec![entry("b", b"2"), entry("a/x", b"1")]).unwrap();
        assert_eq!(
            tree.digest().hex(),
            "34317e35ceb0b29eae83a106ab85b81ff42f75b3ef297acac7ab6077f60901d5"
        );
        assert!(tree.to_json().starts_with(br#"{"format":1,"files":[{"path":"a/x","blob":""#));
        assert!(tree.to_json().ends_with(br#","size":1}]}"#));
    }

    #[test]
    fn files_that_can_not_stand_together_are_refused() {
        assert!(matches!(
            Tree::new(vec![entry("a", b""), entry("a", b"")]),
            Err(TreeError::Twice(_))
        ));
        let both = Tree::new(vec![entry("a", b""), entry("a.b", b""), entry("a/b", b"")]);
        assert!(matches!(both, Err(TreeError::FileAndFolder(_))));
        assert!(matches!(
            Tree::new(vec![entry(".", b""), entry("a", b"")]),
            Err(TreeError::NotAlone)
        ));
    }

    #[test]
    fn what_stands_in_a_link_or_a_file_is_refused() {
        let files = || vec![entry("d/x", b"1")];
        let of = |folders: &[&str], links: &[(&str, &str)]| {
            Tree::of(Listing {
                files: files(),
                folders: folders.iter().map(|path| path.parse().unwrap()).collect(),
                links: links.iter().map(|(path, target)| link(path, target)).collect(),
            })
        };
        assert!(of(&["e"], &[("l", "d")]).is_ok());
        assert!(matches!(of(&["."], &[]), Err(TreeError::NotAlone)));
        assert!(matches!(of(&["d/x/y"], &[]), Err(TreeError::FileAndFolder(_))));
        assert!(matches!(of(&["d/x"], &[]), Err(TreeError::Twice(_))));
        // A folder that has something in it needs no saying.
        assert_eq!(of(&["d"], &[]).unwrap(), of(&[], &[]).unwrap());
        assert_eq!(of(&["e/f", "e", "e/f"], &[]).unwrap(), of(&["e/f"], &[]).unwrap());
        assert!(matches!(of(&[], &[("d", "e")]), Err(TreeError::FileAndFolder(_))));
        assert!(matches!(of(&[], &[("l", "d"), ("l/x", "d")]), Err(TreeError::FileAndFolder(_))));
        assert!(matches!(of(&["l"], &[("l", "d")]), Err(TreeError::Twice(_))));
        assert!(matches!(of(&[], &[("d/x", "../d")]), Err(TreeError::Twice(_))));
        assert!(matches!(of(&[], &[("l", "e")]), Err(TreeError::Dangling(_))));
        assert!(matches!(of(&[], &[("l", "d/x/y")]), Err(TreeError::Dangling(_))));
        assert!(matches!(of(&[], &[("a", "b"), ("b", "a")]), Err(TreeError::Dangling(_))));
        assert!(matches!(of(&[], &[("l", "../x")]), Err(TreeError::Target(_))));
    }

    #[test]
    fn links_lead_to_files() {
        let links = vec![
            link("latest", "v2"),
            link("v2", "v1"),
            link("s/up", "../v1"),
            link("s/all", ".."),
        ];
        let tree =
            Tree::of(Listing { files: vec![entry("v1/x", b"1")], links, ..Listing::default() });
        let tree = tree.unwrap();
        for path in ["v1/x", "latest/x", "s/up/x", "s/all/latest/x", "s/all/s/all/v2/x"] {
            assert_eq!(tree.find(path), tree.get("v1/x"), "{path}");
        }
        for path in ["latest", "s/all", "none", "v1/x/y", "s/up/y", ""] {
            assert_eq!(tree.find(path), None, "{path}");
        }
    }

    #[test]
    fn an_artifact_moves_with_all_that_it_holds() {
        let listing = Listing {
            files: vec![Entry { executable: true, ..entry("a/x", b"1") }],
            folders: vec!["e".parse().unwrap()],
            links: vec![link("l", "a/x")],
        };
        let tree = Tree::of(listing).unwrap();
        let moved = Tree::of(tree.under("b").unwrap()).unwrap();
        assert!(moved.get("b/a/x").unwrap().executable);
        assert_eq!(moved.find("b/l"), moved.get("b/a/x"));
        assert!(moved.has_folder("b/e"));
        // An empty folder is something, too.
        let empty = Tree::new(Vec::new()).unwrap();
        assert!(Tree::of(empty.under("b").unwrap()).unwrap().has_folder("b"));
    }

    #[test]
    fn a_hostile_manifest_is_refused() {
        let blob = Digest::of(b"");
        let manifest = |files: &str| format!(r#"{{"format":1,"files":[{files}]}}"#);
        let file = |path: &str| format!(r#"{{"path":"{path}","blob":"{blob}","size":0}}"#);
        assert!(Tree::from_json(manifest(&file("a")).as_bytes()).is_ok());
        for bad in
            [file("../a"), file("/a"), format!("{},{}", file("b"), file("a")), "1".to_owned()]
        {
            assert!(Tree::from_json(manifest(&bad).as_bytes()).is_err(), "{bad}");
        }
        let later = br#"{"format":3,"files":[],"sockets":["a"]}"#;
        assert!(matches!(Tree::from_json(later), Err(TreeError::Format(3))));
        assert!(Tree::from_json(b"").is_err());
        let file = file("a");
        for (bad, holds) in [
            (r#""folders":["../e"]"#, false),
            (r#""folders":["/e"]"#, false),
            (r#""folders":["."]"#, false),
            (r#""folders":["f","e"]"#, false),
            (r#""folders":["e","e"]"#, false),
            (r#""folders":["e","e/f"]"#, false),
            (r#""links":[{"path":"l","target":"/etc/passwd"}]"#, false),
            (r#""links":[{"path":"l","target":"../a"}]"#, false),
            (r#""links":[{"path":"l","target":"a/../../a"}]"#, false),
            (r#""links":[{"path":"l","target":"./a"}]"#, false),
            (r#""links":[{"path":"l","target":""}]"#, false),
            (r#""links":[{"path":"../l","target":"a"}]"#, false),
            (r#""links":[{"path":".","target":"a"}]"#, false),
            (r#""links":[{"path":"l","target":"l"}]"#, false),
            (r#""links":[{"path":"l","target":"a"}]"#, true),
            (r#""folders":["e"]"#, true),
        ] {
            let json = format!(r#"{{"format":2,"files":[{file}],{bad}}}"#);
            assert_eq!(Tree::from_json(json.as_bytes()).is_ok(), holds, "{json}");
            let json = json.replace(r#""format":2"#, r#""format":1"#);
            assert!(Tree::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn there_is_one_manifest_for_each_content() {
        let blob = Digest::of(b"");
        let file = format!(r#"{{"path":"a","blob":"{blob}","size":0}}"#);
        let run = file.replace('}', r#","executable":true}"#);
        let odd = file.replace(r#""a""#, r#""a\\b""#);
        for (format, files, sound) in [
            (1, &file, true),
            (2, &file, false),
            (1, &run, false),
            (2, &run, true),
            (1, &odd, false),
            (2, &odd, true),
        ] {
            let json = format!(r#"{{"format":{format},"files":[{files}]}}"#);
            assert_eq!(Tree::from_json(json.as_bytes()).is_ok(), sound, "{json}");
        }
        assert!(Tree::from_json(br#"{"format":1,"files":[]}"#).is_ok());
        assert!(Tree::from_json(br#"{"format":2,"files":[]}"#).is_err());
    }

    fn listings() -> impl Strategy<Value = Listing> {
        let path = || "[a-c\\\\]{1,2}(/[a-c]{1,2}){0,2}";
        let file = (path(), prop::collection::vec(any::<u8>(), 0..4), any::<bool>());
        let file = file.prop_map(|(path, bytes, executable)| Entry {
            executable: executable && bytes.len() > 2,
            ..entry(&path, &bytes)
        });
        let link = (path(), "(\\.\\./){0,2}([a-c]{1,2}/){0,1}[a-c]{1,2}|\\.|\\.\\.");
        let link = link.prop_map(|(path, target)| Link { path: path.parse().unwrap(), target });
        let folder = path().prop_map(|path| path.parse().unwrap());
        let files = prop::collection::vec(file, 0..8);
        let folders = prop::collection::vec(folder, 0..3);
        let links = prop_oneof![Just(Vec::new()), prop::collection::vec(link, 0..3)];
        (files, folders, links).prop_map(|(files, folders, links)| Listing {
            files,
            folders,
            links,
        })
    }

    fn trees() -> impl Strategy<Value = Tree> {
        listings().prop_filter_map("can't stand together", |listing| Tree::of(listing).ok())
    }

    proptest! {
        #[test]
        fn a_manifest_survives_storage(tree in trees()) {
            prop_assert_eq!(Tree::from_json(&tree.to_json()).unwrap(), tree);
        }

        #[test]
        fn equal_digests_mean_equal_trees(a in trees(), b in trees()) {
            prop_assert_eq!(a.digest() == b.digest(), a == b);
        }

        #[test]
        fn the_order_of_a_list_is_nothing(listing in listings()) {
            let mut turned = listing.clone();
            turned.files.reverse();
            turned.folders.reverse();
            turned.links.reverse();
            let digest = |listing| Tree::of(listing).ok().map(|tree| tree.digest());
            prop_assert_eq!(digest(listing), digest(turned));
        }

        #[test]
        fn what_can_stand_together_stands_on_a_disk(tree in trees()) {
            use std::{fs, os::unix::fs::symlink};
            let folder = tempfile::tempdir().unwrap();
            let base = folder.path().join("base");
            fs::write(folder.path().join("outside"), "").unwrap();
            fs::create_dir(&base).unwrap();
            for path in tree.folders() {
                fs::create_dir_all(path.under(&base)).unwrap();
            }
            for entry in tree.files() {
                let path = entry.path.under(&base);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, entry.path.as_str()).unwrap();
            }
            for link in tree.links() {
                let path = link.path.under(&base);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                symlink(&link.target, path).unwrap();
            }
            let base = base.canonicalize().unwrap();
            for link in tree.links() {
                let real = link.path.under(&base).canonicalize().unwrap();
                prop_assert!(real.starts_with(&base), "{:?} leads to {:?}", link, real);
                let found = tree.find(link.path.as_str()).map(|entry| entry.path.under(&base));
                prop_assert_eq!(real.is_file().then_some(real), found);
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Tree::from_json(&bytes);
        }
    }
}
