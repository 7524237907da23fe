//! Somebody else's pipeline, come upon in a folder above, isn't run without a word.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
};

use crate::support::{Ended, Folder, not_tried};

const PIPELINE: &str =
    "stages: { a: { kind: command, run: \"touch {outputs.o}\", outputs: [o] } }\n";

fn in_subfolder(folder: &Folder, arguments: &[&str]) -> Ended {
    fs::create_dir_all(folder.path("sub/deep")).unwrap();
    let mut command = folder.command(arguments);
    command.current_dir(folder.path("sub/deep"));
    folder.ended(command.output().unwrap())
}

fn is_refused(folder: &Folder, why: &str) {
    for arguments in [&["run"][..], &["plan"], &["log"], &["cache", "gc", "--yes"]] {
        let ended = in_subfolder(folder, arguments);
        assert_eq!(ended.code, Some(2), "{why}: {arguments:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
        assert!(ended.stderr.contains("pipe trust ../.."), "{}", ended.stderr);
    }
    assert!(!folder.path("out").exists());
}

#[test]
fn what_everybody_may_write_to_is_run_when_it_is_named_or_trusted() {
    for (path, mode, why) in [
        ("pipeline.yaml", 0o666, "everybody may write to it"),
        ("", 0o777, "everybody may write to its folder"),
        ("cache", 0o777, "the cache `../../cache` was found here, and everybody may write to it"),
    ] {
        let folder = Folder::new(PIPELINE);
        if path == "cache" {
            fs::create_dir(folder.path(path)).unwrap();
        }
        fs::set_permissions(folder.path(path), fs::Permissions::from_mode(mode)).unwrap();
        is_refused(&folder, why);
        let named = in_subfolder(&folder, &["run", "-f", "../../pipeline.yaml"]);
        assert_eq!(named.code, Some(0), "{}", named.stderr);
        fs::remove_dir_all(folder.path("out")).unwrap();
        is_refused(&folder, why);
        let trusted = in_subfolder(&folder, &["trust", "../.."]);
        assert_eq!(trusted.stdout, "trusted: ROOT\n");
        assert_eq!(in_subfolder(&folder, &["trust", "../.."]).stdout, "trusted already: ROOT\n");
        assert_eq!(in_subfolder(&folder, &["trust", "--list"]).stdout, "ROOT\n");
        assert_eq!(in_subfolder(&folder, &["run"]).code, Some(0));
        let revoked = in_subfolder(&folder, &["trust", "--revoke", "../.."]);
        assert_eq!(revoked.stdout, "no longer trusted: ROOT\n");
        fs::remove_dir_all(folder.path("out")).unwrap();
        is_refused(&folder, why);
        // A list of what is trusted that others may write to is none.
        in_subfolder(&folder, &["trust", "../.."]);
        let list = folder.memory().join("config/pipe/trusted");
        assert_eq!(fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).unwrap();
        let ended = in_subfolder(&folder, &["run"]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("others may write to"), "{}", ended.stderr);
    }
}

#[test]
fn a_sticky_folder_of_everybodys_is_one_in_which_each_has_his_own() {
    let folder = Folder::new(PIPELINE);
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(in_subfolder(&folder, &["run"]).code, Some(0));
}

#[test]
fn what_belongs_to_somebody_else_is_run_when_it_is_named_or_trusted() {
    const OTHER: u32 = 12345;
    let folder = Folder::new(PIPELINE);
    if chown(folder.path("pipeline.yaml"), Some(OTHER), None).is_err() {
        return not_tried("only root can give files away");
    }
    is_refused(&folder, "belongs to user 12345");
    // Nor is it one's own by a link, or by the name of whoever else became root.
    let mut sudo = folder.command(&["run"]);
    assert_eq!(sudo.env("SUDO_UID", "12346").output().unwrap().status.code(), Some(2));
    let mut sudo = folder.command(&["run"]);
    assert_eq!(sudo.env("SUDO_UID", "12345").output().unwrap().status.code(), Some(0));
    fs::remove_dir_all(folder.path("out")).unwrap();
    fs::rename(folder.path("pipeline.yaml"), folder.path("theirs.yaml")).unwrap();
    symlink("theirs.yaml", folder.path("pipeline.yaml")).unwrap();
    is_refused(&folder, "belongs to user 12345");
    assert_eq!(folder.pipe(&["trust", "pipeline.yaml"]).code, Some(0));
    // What a link leads to was trusted, not the link.
    fs::remove_file(folder.path("pipeline.yaml")).unwrap();
    fs::rename(folder.path("theirs.yaml"), folder.path("pipeline.yaml")).unwrap();
    is_refused(&folder, "belongs to user 12345");
    assert_eq!(folder.pipe(&["trust", "pipeline.yaml"]).code, Some(0));
    assert_eq!(in_subfolder(&folder, &["run"]).code, Some(0));
    // The cache that lies beside it counts for itself.
    chown(folder.path("pipeline.yaml"), Some(0), None).unwrap();
    folder.pipe(&["trust", "--revoke", "pipeline.yaml"]);
    chown(folder.path("cache"), Some(OTHER), None).unwrap();
    fs::remove_dir_all(folder.path("out")).unwrap();
    is_refused(&folder, "the cache `../../cache` was found here, and belongs to user 12345");
}
