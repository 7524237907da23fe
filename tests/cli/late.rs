//! A file system that shows late what other machines make: it remembers for half a minute that a file was not there.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Folder, not_tried, outcomes};

/// How many machines there are.
const HOSTS: usize = 3;

/// The folder `store` under another name, as a machine of its own would see it.
struct Mount(PathBuf);

impl Mount {
    fn new(store: &Path, at: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&at).unwrap();
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse".to_owned());
        }
        let mut command = Command::new("bindfs");
        command.args(["-o", "negative_timeout=30"]).args([store, &at]).stdin(Stdio::null());
        match command.output() {
            Ok(output) if output.status.success() => Ok(Self(at)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(format!("there is no bindfs: {error}")),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("fusermount3").arg("-u").arg(&self.0).status();
    }
}

/// Eight stages in a chain of twos, each of which notes that it ran.
fn pipeline(folder: &Folder) -> String {
    let log = folder.path("log");
    let mut yaml = "stages:\n".to_owned();
    for stage in 0..8 {
        let inputs =
            if stage % 2 == 1 { format!("inputs: {{ i: s{} }}", stage - 1) } else { String::new() };
        let reads = if stage % 2 == 1 { "cat {inputs.i} > /dev/null" } else { ":" };
        let _ = writeln!(
            yaml,
            "  s{stage}:\n    kind: command\n    shell: true\n    outputs: [o]\n    {inputs}\n    \
             run: {reads}; echo s{stage} >> {}; sleep 0.3; echo {stage} > {{outputs.o}}",
            log.display()
        );
    }
    yaml
}

#[test]
fn what_is_shown_late_is_computed_once_all_the_same() {
    let folder = Folder::empty();
    fs::create_dir(folder.path("store")).unwrap();
    let mut mounts = Vec::new();
    for host in 0..HOSTS {
        match Mount::new(&folder.path("store"), folder.path(&format!("host{host}/mount"))) {
            Ok(mount) => mounts.push(mount),
            Err(why) => return not_tried(&why),
        }
        folder.write(&format!("host{host}/pipeline.yaml"), pipeline(&folder));
    }
    let began = Instant::now();
    let runs: Vec<_> = (0..HOSTS)
        .map(|host| {
            let mut command = folder.command(&["run", "--json", "--set", "cache=mount/cache"]);
            command.current_dir(folder.path(&format!("host{host}")));
            command.env("PIPE_MACHINE", format!("host{host}")).stdout(Stdio::piped());
            let run = command.spawn().unwrap();
            thread::sleep(Duration::from_millis(40));
            run
        })
        .collect();
    for run in runs {
        let ended = folder.ended(run.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(outcomes(&ended.json()).len(), 8);
    }
    let mut ran: Vec<String> = folder.read("log").lines().map(str::to_owned).collect();
    ran.sort();
    let expected: Vec<String> = (0..8).map(|stage| format!("s{stage}")).collect();
    assert_eq!(ran, expected);
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "nobody waited for what was remembered to be forgotten"
    );
}
