//! Many runs at once, on one machine and on several, by one user and by a group.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Folder, not_tried, outcomes};

/// Waits until `what` is there.
fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what} never came");
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A stage that notes that it ran, and goes on until the file `go` is there.
fn slow(folder: &Folder, stages: usize) -> String {
    let (runs, go) = (folder.path("runs"), folder.path("go"));
    let mut yaml = "stages:\n".to_owned();
    for stage in 0..stages {
        let _ = write!(
            yaml,
            "  s{stage}:\n    kind: command\n    shell: true\n    run: |\n      echo {stage} >> {}\n      \
             for i in $(seq 600); do test -e {} && break; sleep 0.1; done\n      \
             echo {stage} > {{outputs.o}}\n    outputs: [o]\n",
            runs.display(),
            go.display()
        );
    }
    yaml
}

fn start(folder: &Folder, file: &str, machine: Option<&str>) -> Child {
    start_with(folder, file, machine.map(|machine| ("PIPE_MACHINE", machine)))
}

fn start_with(folder: &Folder, file: &str, variable: Option<(&str, &str)>) -> Child {
    let cache = format!("cache={}", folder.path("cache").display());
    let mut command = folder.command(&["run", "--json", "-f", file, "-j", "8", "--set", &cache]);
    command.envs(variable);
    command.env("PIPE_HEARTBEAT_MS", "100");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn leases(folder: &Folder) -> Vec<PathBuf> {
    let mut leases = folder.cached("leases");
    leases.retain(|path| !path.file_name().unwrap().to_string_lossy().contains('-'));
    leases
}

#[test]
fn two_workspaces_and_many_runs_share_one_cache_and_execute_each_stage_once() {
    let folder = Folder::empty();
    let yaml = slow(&folder, 4);
    folder.write("one/pipeline.yaml", &yaml);
    folder.write("two/pipeline.yaml", &yaml);
    let files =
        ["one/pipeline.yaml", "one/pipeline.yaml", "two/pipeline.yaml", "two/pipeline.yaml"];
    let runs = files.map(|file| start(&folder, file, None));
    wait_until("all stages", || {
        fs::read_to_string(folder.path("runs")).is_ok_and(|runs| runs.lines().count() >= 4)
    });
    thread::sleep(Duration::from_millis(300));
    folder.write("go", "");
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for run in runs {
        let ended = folder.ended(run.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        for (stage, outcome) in outcomes(&ended.json()) {
            assert!(outcome == "executed" || outcome == "reused");
            *count.entry(stage).or_default() += u32::from(outcome == "executed");
        }
    }
    assert!(count.values().all(|executed| *executed == 1), "{count:?}");
    assert_eq!(fs::read_to_string(folder.path("runs")).unwrap().lines().count(), 4);
}

#[test]
fn who_waits_says_for_whom() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let first = folder.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let first = first.unwrap();
    wait_until("the lease", || leases(&folder).len() == 1);
    let mut second = folder.command(&["run"]);
    let second = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    folder.write("go", "");
    let owner = first.id();
    assert_eq!(folder.ended(first.wait_with_output().unwrap()).code, Some(0));
    let ended = folder.ended(second.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = format!("`s0` waits: process {owner} on ");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
}

#[test]
fn a_killed_owner_of_this_machine_is_followed_at_once() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let first = start(&folder, "pipeline.yaml", None);
    wait_until("the lease", || leases(&folder).len() == 1);
    signal(&first, "-KILL");
    first.wait_with_output().unwrap();
    folder.write("go", "");
    let ended = folder.ended(start(&folder, "pipeline.yaml", None).wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(leases(&folder), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_owner_of_another_machine_is_followed_when_it_stays_silent() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let first = start(&folder, "pipeline.yaml", Some("one"));
    wait_until("the lease", || leases(&folder).len() == 1);
    signal(&first, "-KILL");
    first.wait_with_output().unwrap();
    folder.write("go", "");
    // However its clock is set: here the lease comes from two days ahead.
    let ahead = std::time::SystemTime::now() + Duration::from_hours(48);
    for lease in leases(&folder) {
        fs::File::options().write(true).open(lease).unwrap().set_modified(ahead).unwrap();
    }
    let second = start(&folder, "pipeline.yaml", Some("two")).wait_with_output().unwrap();
    let ended = folder.ended(second);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(outcomes(&ended.json())["s0"], "executed");
    assert_eq!(leases(&folder), Vec::<PathBuf>::new());
}

#[test]
fn a_live_owner_of_another_machine_is_waited_for_as_long_as_it_beats() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let first = start(&folder, "pipeline.yaml", Some("one"));
    wait_until("the lease", || leases(&folder).len() == 1);
    let second = start(&folder, "pipeline.yaml", Some("two"));
    // Three times as long as a silent owner would be waited for; its times of modification tell nothing.
    for _ in 0..30 {
        let ago = std::time::SystemTime::now() - Duration::from_hours(48);
        for lease in leases(&folder) {
            if let Ok(file) = fs::File::options().write(true).open(lease) {
                file.set_modified(ago).unwrap();
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    folder.write("go", "");
    let first = folder.ended(first.wait_with_output().unwrap());
    let second = folder.ended(second.wait_with_output().unwrap());
    assert_eq!(outcomes(&first.json())["s0"], "executed", "{}", first.stderr);
    assert_eq!(outcomes(&second.json())["s0"], "reused", "{}", second.stderr);
    assert_eq!(fs::read_to_string(folder.path("runs")).unwrap().lines().count(), 1);
}

#[test]
fn an_owner_that_slept_and_was_taken_for_dead_does_no_harm_when_it_wakes() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let first = start(&folder, "pipeline.yaml", Some("one"));
    wait_until("the lease", || leases(&folder).len() == 1);
    wait_until("the stage", || folder.path("runs").exists());
    signal(&first, "-STOP");
    let second = start(&folder, "pipeline.yaml", Some("two"));
    wait_until("the second owner", || {
        fs::read_to_string(folder.path("runs")).unwrap().lines().count() == 2
    });
    folder.write("go", "");
    let second = folder.ended(second.wait_with_output().unwrap());
    assert_eq!(outcomes(&second.json())["s0"], "executed", "{}", second.stderr);
    let records = folder.cached("records");
    let before: Vec<_> = records.iter().map(|path| fs::read(path).unwrap()).collect();
    signal(&first, "-CONT");
    let first = folder.ended(first.wait_with_output().unwrap());
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    assert_eq!(folder.cached("records"), records);
    let after: Vec<_> = records.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after, "the first record stands");
    assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
}

#[test]
fn a_sleeping_owner_of_this_machine_keeps_its_lease() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let first = start(&folder, "pipeline.yaml", None);
    wait_until("the stage", || folder.path("runs").exists());
    signal(&first, "-STOP");
    let second = start(&folder, "pipeline.yaml", None);
    // Longer than a machine elsewhere may be silent.
    thread::sleep(Duration::from_millis(1500));
    folder.write("go", "");
    signal(&first, "-CONT");
    let first = folder.ended(first.wait_with_output().unwrap());
    let second = folder.ended(second.wait_with_output().unwrap());
    assert_eq!(outcomes(&first.json())["s0"], "executed", "{}", first.stderr);
    assert_eq!(outcomes(&second.json())["s0"], "reused", "{}", second.stderr);
}

#[test]
fn where_there_are_no_locks_runs_share_by_their_beats() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder, 1));
    let start = || start_with(&folder, "pipeline.yaml", Some(("PIPE_FAULT", "ENOLCK@1+")));
    let killed = start();
    wait_until("the stage", || folder.path("runs").exists());
    signal(&killed, "-KILL");
    killed.wait_with_output().unwrap();
    // It is followed when it was silent for long enough, and who follows is waited for as long as it beats.
    let second = start();
    wait_until("the second owner", || {
        fs::read_to_string(folder.path("runs")).unwrap().lines().count() == 2
    });
    let third = start();
    thread::sleep(Duration::from_secs(3));
    let collected = folder.command(&["cache", "gc", "--yes"]);
    let collected = { collected }.env("PIPE_FAULT", "ENOLCK@1+").output().unwrap();
    assert!(collected.status.success(), "{}", String::from_utf8_lossy(&collected.stderr));
    folder.write("go", "");
    let second = folder.ended(second.wait_with_output().unwrap());
    let third = folder.ended(third.wait_with_output().unwrap());
    assert_eq!(outcomes(&second.json())["s0"], "executed", "{}", second.stderr);
    assert_eq!(outcomes(&third.json())["s0"], "reused", "{}", third.stderr);
    assert_eq!(fs::read_to_string(folder.path("runs")).unwrap().lines().count(), 2);
    assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
}

const TWO: &str = "\
stages:
  a: { kind: command, shell: true, run: \"umask 077; echo some bytes > {outputs.o}; chmod 4700 {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, config: { n: 1 }, run: \"sh -c 'cat $1 > $3; echo $2 >> $3' - {inputs.i} {config.n} {outputs.o}\", outputs: [o] }
";

fn modes(path: &Path, all: &mut Vec<(PathBuf, u32, bool)>) {
    let meta = fs::symlink_metadata(path).unwrap();
    all.push((path.to_owned(), meta.mode() & 0o7777, meta.is_dir()));
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            modes(&entry.unwrap().path(), all);
        }
    }
}

#[test]
fn a_group_shares_what_its_folder_says_whatever_the_umask() {
    for umask in ["002", "022", "077"] {
        let folder = Folder::new(TWO);
        fs::create_dir(folder.path("cache")).unwrap();
        fs::set_permissions(folder.path("cache"), fs::Permissions::from_mode(0o2775)).unwrap();
        let pipe = env!("CARGO_BIN_EXE_pipe");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("umask {umask}; exec {pipe} run -q")]);
        let ended = shell.current_dir(folder.path("")).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let mut all = Vec::new();
        modes(&folder.path("cache"), &mut all);
        assert!(all.len() > 20);
        for (path, mode, is_folder) in all {
            if is_folder {
                // In `tmp` nobody may move or remove what is another's.
                let wanted = if path.ends_with("cache/tmp") { 0o3775 } else { 0o2775 };
                assert_eq!(mode, wanted, "umask {umask}: {}", path.display());
            } else if path.starts_with(folder.path("cache/blobs")) {
                assert_eq!(mode, 0o444, "umask {umask}: {}", path.display());
            } else {
                assert_eq!(mode & 0o060, 0o060, "umask {umask}: {} {mode:o}", path.display());
                assert_eq!(mode & 0o004, 0o004, "umask {umask}: {} {mode:o}", path.display());
            }
        }
    }
}

#[test]
fn a_private_cache_stays_private() {
    let folder = Folder::new(TWO);
    fs::create_dir(folder.path("cache")).unwrap();
    fs::set_permissions(folder.path("cache"), fs::Permissions::from_mode(0o700)).unwrap();
    folder.run(&[]);
    let mut all = Vec::new();
    modes(&folder.path("cache"), &mut all);
    for (path, mode, _) in all {
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
    }
}

/// A copy of the program where every user may run it.
fn program(folder: &Folder) -> PathBuf {
    let program = folder.path("pipe");
    fs::copy(env!("CARGO_BIN_EXE_pipe"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Runs the program as another user, in a folder of that user's own.
fn run_as(folder: &Folder, user: u32, group: u32, arguments: &[&str]) -> std::process::Output {
    let home = folder.path(&user.to_string());
    if !home.exists() {
        fs::create_dir(&home).unwrap();
        fs::write(home.join("pipeline.yaml"), TWO).unwrap();
        std::os::unix::fs::chown(&home, Some(user), Some(group)).unwrap();
    }
    let cache = format!("cache={}", folder.path("cache").display());
    let mut command = Command::new(folder.path("pipe"));
    command.args(arguments).args(["--set", &cache]).current_dir(&home);
    command.uid(user).gid(group).stdin(Stdio::null()).output().unwrap()
}

const GROUP: u32 = 54_321;

#[test]
fn two_users_of_a_group_share_and_repair_and_a_stranger_reads() {
    let folder = Folder::empty();
    if fs::metadata(folder.path("")).unwrap().uid() != 0 {
        not_tried("only root can be several users");
        return;
    }
    let (ada, bob, eve) = (54_001, 54_002, 54_003);
    program(&folder);
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path("cache")).unwrap();
    std::os::unix::fs::chown(folder.path("cache"), Some(ada), Some(GROUP)).unwrap();
    fs::set_permissions(folder.path("cache"), fs::Permissions::from_mode(0o2775)).unwrap();
    let told = |output: std::process::Output, code: i32| {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    assert!(told(run_as(&folder, ada, GROUP, &["run"]), 0).contains("2 executed"));
    assert!(told(run_as(&folder, bob, GROUP, &["run"]), 0).contains("2 reused"));
    // Bob computes something new into Ada's folders.
    assert!(
        told(run_as(&folder, bob, GROUP, &["run", "--set", "b.n=2"]), 0).contains("1 executed")
    );
    // Eve is no member: she reads, and is told what she can't store.
    let eves = told(run_as(&folder, eve, eve, &["run"]), 0);
    assert!(eves.contains("2 reused") && eves.contains("Permission denied"), "{eves}");
    let eves = told(run_as(&folder, eve, eve, &["run", "--set", "b.n=3"]), 3);
    assert!(eves.contains("Permission denied") && eves.contains("--set cache=PATH"), "{eves}");
    // What nobody may read is made again by who wants it, and nobody's file is changed.
    for kind in ["blobs", "trees", "records"] {
        for path in folder.cached(kind) {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        fs::remove_dir_all(folder.path(&format!("{bob}/out"))).unwrap();
        let bobs = told(run_as(&folder, bob, GROUP, &["run"]), 0);
        assert!(bobs.contains("2 executed"), "{kind}: {bobs}");
        assert!(bobs.contains("warning: "), "{kind}: {bobs}");
        assert!(told(run_as(&folder, bob, GROUP, &["run"]), 0).contains("2 reused"), "{kind}");
    }
}

/// Mode and owner of every file and folder of a cache that is `user`'s, by inode.
fn owned(folder: &Path, user: u32, all: &mut BTreeMap<u64, (u32, u32, u32)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.uid() == user {
            all.insert(meta.ino(), (meta.mode(), meta.uid(), meta.gid()));
        }
        if meta.is_dir() {
            owned(&path, user, all);
        }
    }
}

/// Others are kept from that by the system; root by nothing but the program.
#[test]
fn not_even_root_changes_the_permissions_of_what_is_anothers() {
    let folder = Folder::empty();
    if fs::metadata(folder.path("")).unwrap().uid() != 0 {
        not_tried("only root can be several users");
        return;
    }
    let ada = 54_001;
    program(&folder);
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(folder.path("cache")).unwrap();
    std::os::unix::fs::chown(folder.path("cache"), Some(ada), Some(GROUP)).unwrap();
    fs::set_permissions(folder.path("cache"), fs::Permissions::from_mode(0o2770)).unwrap();
    let run = |user: u32, arguments: &[&str]| {
        let ended = folder.ended(run_as(&folder, user, GROUP, arguments));
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    };
    run(ada, &["run"]);
    run(ada, &["run", "--set", "b.n=2"]);
    // Permissions that nothing gives by itself.
    for (kind, mode) in [("blobs", 0o440), ("trees", 0o640), ("records", 0o600)] {
        for path in folder.cached(kind) {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o2750))
                .unwrap();
        }
    }
    let broken = folder.cached("blobs").into_iter().find(|path| path.metadata().unwrap().len() > 0);
    fs::write(broken.unwrap(), "broken").unwrap();
    let mut before = BTreeMap::new();
    owned(&folder.path("cache"), ada, &mut before);
    assert!(before.len() > 30, "{}", before.len());
    for arguments in [
        &["run"][..],
        &["run", "--set", "b.n=3"],
        &["out", "b", "there"],
        &["cache", "verify", "--repair"],
        &["run"],
        &["cache", "gc", "--yes", "--grace", "0s", "--keep-runs", "1"],
        &["cache", "pin", "last"],
    ] {
        run(0, arguments);
    }
    let mut after = BTreeMap::new();
    owned(&folder.path("cache"), ada, &mut after);
    assert!(after.len() > 20, "{}", after.len());
    for (inode, now) in after {
        assert_eq!(before.get(&inode), Some(&now), "{:o}", now.0);
    }
}

/// Each of two stages waits until the other has begun: one process after the other would never come to an end.
#[test]
fn what_somebody_else_computes_is_put_aside_for_what_nobody_does() {
    let folder = Folder::empty();
    let meet = |me: &str, other: &str| {
        let (me, other) = (folder.path(me), folder.path(other));
        format!(
            "touch {}; for i in $(seq 400); do [ -e {} ] && break; sleep 0.05; done; [ -e {} ]; touch {{outputs.o}}",
            me.display(),
            other.display(),
            other.display()
        )
    };
    let stage = |name: &str, inputs: &str, run: &str| {
        format!(
            "  {name}: {{ kind: command, shell: true, inputs: {{ {inputs} }}, run: \"{run}\", outputs: [o] }}\n"
        )
    };
    let yaml = [
        "stages:\n".to_owned(),
        stage("a", "", &meet("first-a", "first-b")),
        stage("b", "", &meet("first-b", "first-a")),
        // What follows goes on in the same way, whoever has computed what it reads.
        stage("c", "i: a", &meet("second-c", "second-d")),
        stage("d", "i: b", &meet("second-d", "second-c")),
    ];
    folder.write("pipeline.yaml", yaml.concat());
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let mut command = folder.command(&["run", "--json", "-j", "1"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut executed = Vec::new();
    for run in runs {
        let ended = folder.ended(run.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        let mine = outcomes(&ended.json());
        let mine = mine.into_iter().filter(|(_, outcome)| outcome == "executed");
        executed.push(mine.map(|(stage, _)| stage).collect::<Vec<_>>());
    }
    assert!(executed.iter().all(|mine| mine.len() == 2), "{executed:?}");
    let mut all = executed.concat();
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d"]);
}

/// Each of two items waits until the other has begun: one process after the other would never come to an end.
#[test]
fn items_of_a_stage_that_somebody_else_computes_are_shared() {
    let folder = Folder::empty();
    let place = folder.path("");
    folder.write("data/one", "two");
    folder.write("data/two", "one");
    folder.write(
        "pipeline.yaml",
        format!(
            "stages:\n  s:\n    kind: command\n    shell: true\n    inputs: {{ i: {{ file: data }} }}\n    for_each: i\n    \
             outputs: {{ o: \"{{item}}\" }}\n    run: |\n      touch {0}met-{{item}}\n      other=$(cat {{inputs.i}})\n      \
             for i in $(seq 400); do [ -e {0}met-$other ] && break; sleep 0.05; done\n      [ -e {0}met-$other ]\n      \
             cp {{inputs.i}} {{outputs.o}}\n",
            place.display()
        ),
    );
    let runs: Vec<_> = (0..2)
        .map(|_| {
            let mut command = folder.command(&["run", "--json", "-j", "1"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut executed = 0;
    for run in runs {
        let ended = folder.ended(run.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        executed += usize::from(outcomes(&ended.json())["s"] == "executed");
    }
    // Whoever had the stage first has put it together.
    assert_eq!(executed, 1);
    assert_eq!(
        (folder.read("out/s/o/one"), folder.read("out/s/o/two")),
        ("two".into(), "one".into())
    );
}
