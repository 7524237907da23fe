//! What a command can do to others, to its inputs and to itself, and what becomes of it.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Folder, not_tried};

/// A pipeline of one command, which a shell reads.
fn command(run: &str) -> Folder {
    let script = run.replace('\n', "\n      ");
    Folder::new(&format!(
        "stages:\n  x:\n    kind: command\n    shell: true\n    outputs: [o]\n    run: |\n      {script}\n"
    ))
}

/// Waits until `done`, for a minute at most.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what} doesn't come");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes whose command line holds `text`.
fn processes(text: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn what_a_command_leaves_behind_is_ended_before_its_outputs_are_taken() {
    // In its group, in a session of its own, ignoring what asks it to end, without its environment.
    let ways = [
        "sh -c 'sleep 3; echo late >> $1; echo late >> $2' ROOT/alive {outputs.o} ROOT/alive &",
        "setsid sh -c 'sleep 3; echo late >> $1; echo late >> $2' ROOT/alive {outputs.o} ROOT/alive &",
        "setsid sh -c 'trap \"\" TERM HUP; sleep 3; echo late >> $1; echo late >> $2' ROOT/alive {outputs.o} ROOT/alive &",
        "(setsid env -i sh -c 'sleep 3; echo late >> $1; echo late >> $2' ROOT/alive {outputs.o} ROOT/alive &) &",
    ];
    let folders: Vec<_> = ways
        .iter()
        .map(|way| {
            let folder = command(&format!("echo good > {{outputs.o}}\n{way}\nsleep 0.1"));
            let root = folder.path("").canonicalize().unwrap();
            let yaml = folder.read("pipeline.yaml");
            folder.write("pipeline.yaml", yaml.replace("ROOT", root.to_str().unwrap()));
            folder
        })
        .collect();
    for (folder, way) in folders.iter().zip(ways) {
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(0), "{way}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("left processes behind, which were ended: "),
            "{way}: {}",
            ended.stderr
        );
        assert_eq!(processes(folder.path("alive").to_str().unwrap()), 0, "{way}");
    }
    thread::sleep(Duration::from_millis(3500));
    for (folder, way) in folders.iter().zip(ways) {
        assert!(!folder.path("alive").exists(), "{way}");
        assert_eq!(folder.read("out/x/o"), "good\n", "{way}");
        assert!(folder.pipe(&["cache", "verify"]).stdout.contains("sound"), "{way}");
    }
}

#[test]
fn commands_that_run_beside_each_other_end_what_is_their_own_only() {
    let folder = Folder::new(
        "stages:\n  quick:\n    kind: command\n    shell: true\n    outputs: [o]\n    \
         run: sleep 0.3; echo quick > {outputs.o}\n  slow:\n    kind: command\n    shell: true\n    outputs: [o]\n    \
         run: (setsid sh -c 'sleep 1; echo child > $1' - {outputs.o} &); sleep 2; test -s {outputs.o}\n",
    );
    let ended = folder.pipe(&["run", "-j", "2"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(folder.read("out/slow/o"), "child\n");
}

#[test]
fn whatever_a_command_does_to_a_file_of_the_users_it_stays_where_and_as_it_was() {
    for run in [
        "mv {inputs.raw} {outputs.o}",
        "gzip -c {inputs.raw} > {outputs.o}; gzip -f {inputs.raw}",
        "cp {inputs.raw} {outputs.o}; rm -f {inputs.raw}",
        "echo x > {outputs.o}; : > {inputs.raw}",
        "echo x > {outputs.o}; echo more >> {inputs.raw}",
        "echo x > {outputs.o}; sed -i s/one/two/ {inputs.raw}",
        "echo x > {outputs.o}; chmod 000 {inputs.raw}",
        "cp {inputs.raw} {outputs.o}; cp {inputs.raw} b; : > {inputs.raw}; cat b > {inputs.raw}",
    ] {
        let folder = command(run);
        let yaml = folder.read("pipeline.yaml");
        folder.write(
            "pipeline.yaml",
            yaml.replace("    outputs", "    inputs: { raw: { file: data/raw.txt } }\n    outputs"),
        );
        folder.write("data/raw.txt", "one\n");
        let before = fs::metadata(folder.path("data/raw.txt")).unwrap();
        let ended = folder.pipe(&["run"]);
        let after = fs::metadata(folder.path("data/raw.txt")).unwrap();
        assert_eq!(folder.read("data/raw.txt"), "one\n", "{run}: {}", ended.stderr);
        let state = |meta: &fs::Metadata| (meta.ino(), meta.mode(), meta.mtime_nsec());
        assert_eq!(state(&after), state(&before), "{run}");
        assert_eq!(fs::read_dir(folder.path("data")).unwrap().count(), 1, "{run}");
        // Who removes its own name for it harms nobody; who writes to it is told.
        let removes =
            ["mv", "gzip", "cp {inputs.raw} {outputs.o}; rm"].iter().any(|r| run.starts_with(r));
        assert_eq!(ended.code, Some(i32::from(!removes)), "{run}: {}", ended.stderr);
        assert!(
            removes || ended.stderr.contains("changed its input `raw`"),
            "{run}: {}",
            ended.stderr
        );
    }
}

#[test]
fn an_input_from_the_cache_that_is_changed_fails_the_stage_also_when_it_is_put_back() {
    // What is large is handed out by a link; then it is its bytes that count.
    for (size, small) in [(1, true), (500_000, true), (5_000_000, false)] {
        for change in [
            "chmod u+w {inputs.x} && echo y >> {inputs.x}",
            "cp -p {inputs.x} back; chmod u+w {inputs.x}; : > {inputs.x}; cat back > {inputs.x}; touch -r back {inputs.x}",
        ]
        .into_iter()
        .take(if small { 2 } else { 1 })
        {
            let folder = Folder::new(&format!(
                "stages:\n  first:\n    kind: command\n    shell: true\n    outputs: [x]\n    \
                 run: head -c {size} /dev/zero > {{outputs.x}}\n  next:\n    kind: command\n    inputs: {{ x: first }}\n    \
                 shell: true\n    outputs: [o]\n    run: \"{change}; cp {{inputs.x}} {{outputs.o}}\"\n  other:\n    \
                 kind: command\n    inputs: {{ x: first }}\n    run: cp {{inputs.x}} {{outputs.o}}\n    outputs: [o]\n"
            ));
            let ended = folder.pipe(&["run", "next"]);
            assert_eq!(ended.code, Some(1), "{change}: {}{}", ended.stdout, ended.stderr);
            assert!(ended.stderr.contains("changed its input `x`"), "{change}: {}", ended.stderr);
            let ended = folder.pipe(&["run", "other"]);
            assert_eq!(ended.code, Some(0), "{change}: {}", ended.stderr);
            assert_eq!(fs::read(folder.path("out/other/o")).unwrap(), vec![0; size], "{change}");
        }
    }
}

#[test]
fn a_sandbox_is_its_users_own_and_at_the_same_place_every_time() {
    let folder = command("pwd > {outputs.o}\nstat -c '%a %u' .. >> {outputs.o}");
    let mut permissions = fs::metadata(folder.path("")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o2775);
    fs::set_permissions(folder.path(""), permissions).unwrap();
    let run = || {
        let mut shell = folder.program("sh", &["-c", "umask 002; exec \"$0\" run"]);
        shell.arg(env!("CARGO_BIN_EXE_pipe"));
        let ended = folder.ended(shell.output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        folder.read("out/x/o")
    };
    let first = run();
    let user = rustix::process::geteuid().as_raw();
    // A group's bit may come from the folder above.
    let mode = first.lines().nth(1).unwrap().trim_start_matches('2');
    assert_eq!(mode, format!("700 {user}"));
    // Nobody else can move or remove it in the folder that the group writes to.
    assert_eq!(fs::metadata(folder.path("cache/tmp")).unwrap().mode() & 0o7777, 0o3775);
    fs::remove_dir_all(folder.path("cache/records")).unwrap();
    assert_eq!(run(), first);
    assert_eq!(fs::read_dir(folder.path("cache/tmp")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_planted_sandbox_is_not_used() {
    let folder = command("ls -A > {outputs.o}; echo done >> {outputs.o}");
    folder.run(&[]);
    // Where the last one was; as root, for somebody else.
    let ended = folder.pipe(&["run", "-v"]);
    let fingerprint =
        ended.stdout.lines().find_map(|line| line.trim().strip_prefix("fingerprint "));
    let name = format!("s{}-{}", rustix::process::geteuid().as_raw(), &fingerprint.unwrap()[..12]);
    for mode in [0o777, 0o700] {
        fs::remove_dir_all(folder.path("cache/records")).unwrap();
        let planted = folder.path("cache/tmp").join(&name);
        fs::create_dir_all(planted.join("work/planted")).unwrap();
        fs::set_permissions(&planted, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        folder.run(&[]);
        assert_eq!(folder.read("out/x/o"), "done\n");
        fs::remove_dir_all(planted).unwrap();
    }
}

#[test]
fn a_terminal_is_out_of_reach() {
    let folder = command("cat /dev/tty > {outputs.o}");
    let program = env!("CARGO_BIN_EXE_pipe");
    let Ok(mut script) = folder
        .program("script", &["-qec", &format!("{program} run"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        return not_tried("there is no `script` to make a terminal");
    };
    let mut told = String::new();
    script.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(script.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("/dev/tty"), "{told}");
}

#[test]
fn who_is_to_go_on_after_its_terminal_hangs_up_goes_on() {
    let folder = command("kill -HUP $PPID; sleep 0.3; echo done > {outputs.o}");
    let mut shell = folder.program("sh", &["-c", "trap '' HUP; exec \"$0\" run"]);
    shell.arg(env!("CARGO_BIN_EXE_pipe"));
    let ended = folder.ended(shell.output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(folder.read("out/x/o"), "done\n");
    let folder = command("kill -HUP $PPID; sleep 1; echo done > {outputs.o}");
    // Whoever runs the tests may be one who goes on.
    let mut usual = folder.program("env", &["--default-signal=HUP"]);
    usual.args([env!("CARGO_BIN_EXE_pipe"), "run"]);
    let ended = folder.ended(usual.output().unwrap());
    assert_eq!(ended.code, Some(130), "else it is told to stop");
}

#[test]
fn a_second_interrupt_ends_what_ignores_the_first_and_what_was_printed_is_kept() {
    let folder = command(
        "trap '' TERM INT\necho begun\n: > $PIPE_SANDBOX/begun\n: {outputs.o}\nwhile :; do sleep 1; done",
    );
    let mut run =
        folder.command(&["run"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let begun = || folder.cached("tmp").iter().any(|path| path.ends_with("begun"));
    wait_for("the command", begun);
    signal(&run, Signal::INT);
    thread::sleep(Duration::from_millis(200));
    assert!(run.try_wait().unwrap().is_none(), "it waits for the command");
    signal(&run, Signal::INT);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let sandboxes = fs::read_dir(folder.path("cache/tmp")).unwrap().count();
    assert_eq!(sandboxes, 0, "nothing is left");
    let logs = folder.pipe(&["logs", "x"]);
    assert_eq!((logs.code, logs.stdout.as_str()), (Some(0), "begun\n"), "{}", logs.stderr);
}

#[test]
fn a_killed_run_takes_its_command_with_it_and_the_next_one_what_that_left() {
    let folder = command(
        "if [ -e ROOT/second ]; then echo ok > {outputs.o}; exit; fi\n\
         setsid sh -c 'trap \"\" TERM HUP; echo $$ > $0; sleep 300' ROOT/stray &\n\
         sleep 300",
    );
    let root = folder.path("").canonicalize().unwrap();
    let yaml = folder.read("pipeline.yaml");
    folder.write("pipeline.yaml", yaml.replace("ROOT", root.to_str().unwrap()));
    let mut run =
        folder.command(&["run"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let stray = || fs::read_to_string(folder.path("stray")).unwrap_or_default().trim().to_owned();
    wait_for("the stray", || !stray().is_empty());
    let process = std::path::Path::new("/proc").join(stray());
    assert!(process.exists());
    run.kill().unwrap();
    run.wait().unwrap();
    folder.write("second", "");
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Whoever took over the orphan may not have looked for its end yet.
    let state = fs::read_to_string(process.join("stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
    assert_eq!(folder.read("out/x/o"), "ok\n");
    assert_eq!(fs::read_dir(folder.path("cache/tmp")).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_long_line_is_kept_on_disk_and_only_its_end_in_memory() {
    for code in [0, 1] {
        let folder = command(&format!(
            "head -c 300000000 /dev/zero | tr '\\0' x; echo end; : > {{outputs.o}}; exit {code}"
        ));
        let mut shell = folder.program("sh", &["-c", "ulimit -v 500000; exec \"$0\" run -j 1"]);
        shell.arg(env!("CARGO_BIN_EXE_pipe"));
        let ended = folder.ended(shell.output().unwrap());
        assert_eq!(ended.code, Some(code), "{}", &ended.stderr[..ended.stderr.len().min(2000)]);
        assert!(ended.stderr.len() < 100_000);
        let mut shell = folder.program("sh", &["-c", "ulimit -v 300000; \"$0\" logs x | wc -c"]);
        shell.arg(env!("CARGO_BIN_EXE_pipe"));
        assert_eq!(folder.ended(shell.output().unwrap()).stdout.trim(), "300000004");
    }
}

#[test]
fn a_run_under_way_is_seen_from_any_shell() {
    let folder = command(
        "echo begun\nwhile ! [ -e ROOT/go ]; do sleep 0.05; done\necho going\necho done > {outputs.o}",
    );
    let root = folder.path("").canonicalize().unwrap();
    let yaml = folder.read("pipeline.yaml");
    folder.write("pipeline.yaml", yaml.replace("ROOT", root.to_str().unwrap()));
    let mut run = folder.command(&["run", "-v"]);
    run.env("PIPE_HEARTBEAT_MS", "50").stderr(Stdio::piped()).stdout(Stdio::null());
    let run = run.spawn().unwrap();
    wait_for("the run", || folder.pipe(&["status"]).stdout.contains("under way: process "));
    let status = folder.pipe(&["status"]).stdout;
    assert!(status.lines().last().unwrap().trim().starts_with("x  since "), "{status}");
    let logs = folder.command(&["logs", "-f", "x"]).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    folder.write("go", "");
    let logs = folder.ended(logs.wait_with_output().unwrap());
    assert_eq!(logs.code, Some(0));
    assert_eq!(logs.stdout, "begun\ngoing\n");
    let run = folder.ended(run.wait_with_output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr.contains("x | begun\n") && run.stderr.contains("x | going\n"),
        "{}",
        run.stderr
    );
    assert!(!folder.pipe(&["status"]).stdout.contains("under way"));
}

#[test]
fn a_program_that_the_system_may_have_ended_for_want_of_memory_is_told_as_such() {
    for run in [": {outputs.o}; kill -9 $$", ": {outputs.o}; sh -c 'kill -9 $$' || exit $?"] {
        let ended = command(run).pipe(&["run"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("memory"), "{run}: {}", ended.stderr);
    }
}
