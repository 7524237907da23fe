//! Folders: where the program keeps what is the user's own, and how a path is told from where the user stands.

use std::path::{Path, PathBuf};

/// The program's folder among the user's of one kind: in that which `variable` names, else in `name` of the home folder. What is
/// relative isn't heeded, says the XDG Base Directory Specification.
pub(crate) fn own_folder(variable: &str, name: &str) -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || folder("HOME").map(|home| home.join(name));
    folder(variable).or_else(home).map(|folder| folder.join("pipe"))
}

/// `path` as seen from the folder `here`, where that is shorter.
pub(crate) fn shown(here: &Path, path: &Path) -> PathBuf {
    for (up, folder) in here.ancestors().enumerate() {
        if folder.parent().is_none() {
            break;
        }
        if let Ok(rest) = path.strip_prefix(folder) {
            let mut seen = std::iter::repeat_n("..", up).collect::<PathBuf>();
            seen.push(rest);
            return if seen.as_os_str().len() < path.as_os_str().len() {
                seen
            } else {
                path.into()
            };
        }
    }
    path.to_owned()
}

/// `path` as seen from the current folder, where that is shorter.
pub(crate) fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.map_or_else(|_| path.to_owned(), |here| shown(&here, path))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::shown;

    #[test]
    fn paths_are_seen_from_here() {
        let seen = |path: &str| shown(Path::new("/a/b/c"), Path::new(path));
        assert_eq!(seen("/a/b/c/pipeline.yaml"), PathBuf::from("pipeline.yaml"));
        assert_eq!(seen("/a/b/pipeline.yaml"), PathBuf::from("../pipeline.yaml"));
        assert_eq!(seen("/x/pipeline.yaml"), PathBuf::from("/x/pipeline.yaml"));
    }
}
