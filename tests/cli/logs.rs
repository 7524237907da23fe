//! `pipe logs`.

use crate::support::Folder;

const TALK: &str = "\
stages:
  talk:
    kind: command
    config: { n: 1 }
    shell: true
    run: |
      echo working on {config.n}; echo careful >&2; test {config.n} -lt 9 || exit 1
      echo {config.n} > {outputs.o}
    outputs: [o]
  silent: { kind: command, inputs: { o: talk }, run: \"cp {inputs.o} {outputs.o}\", outputs: [o] }
  generate: { config: { count: 3, channels: 16 } }
";

#[test]
fn what_a_command_printed_is_kept_with_its_result() {
    let folder = Folder::new(TALK);
    let never = folder.pipe(&["logs", "talk"]);
    assert_eq!(never.code, Some(2));
    folder.run(&["--name", "one"]);
    folder.run(&["--set", "talk.n=2"]);
    // Reused now, it still says what it said when it was executed.
    folder.run(&[]);
    let logs = |arguments: &[&str]| {
        let ended = folder.pipe(&[&["logs"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        (ended.stdout, ended.stderr)
    };
    assert_eq!(logs(&["talk"]).0, "working on 1\ncareful\n");
    assert_eq!(logs(&["talk", "--run", "~1"]).0, "working on 2\ncareful\n");
    assert_eq!(logs(&["talk", "--run", "one"]).0, "working on 1\ncareful\n");
    assert_eq!(logs(&["silent"]), (String::new(), "`silent` printed nothing\n".into()));
    assert!(logs(&["generate"]).1.contains("is no command"));
}

#[test]
fn what_a_command_printed_before_it_failed_is_kept_with_the_run() {
    let folder = Folder::new(TALK);
    folder.run(&[]);
    assert_eq!(folder.pipe(&["run", "--set", "talk.n=9"]).code, Some(1));
    assert_eq!(folder.pipe(&["logs", "talk"]).stdout, "working on 9\ncareful\n");
    // A run that had nothing to do with it doesn't hide it.
    folder.run(&["generate"]);
    assert_eq!(folder.pipe(&["logs", "talk"]).stdout, "working on 9\ncareful\n");
    assert_eq!(folder.pipe(&["logs", "talk", "--run", "~2"]).stdout, "working on 1\ncareful\n");
    let skipped = folder.pipe(&["logs", "silent", "--run", "~1"]);
    assert_eq!(skipped.code, Some(2));
    assert!(skipped.stderr.contains("`talk` did not succeed"), "{}", skipped.stderr);
}

#[test]
fn a_log_that_can_not_be_told_is_an_error() {
    let folder = Folder::new(TALK);
    folder.run(&["talk"]);
    let unknown = folder.pipe(&["logs", "tlak"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `talk`?"), "{}", unknown.stderr);
    let never = folder.pipe(&["logs", "silent"]);
    assert_eq!(never.code, Some(2));
    assert!(never.stderr.contains("was never run"), "{}", never.stderr);
    let not_there = folder.pipe(&["logs", "silent", "--run", "last"]);
    assert_eq!(not_there.code, Some(2), "{}", not_there.stdout);
    for record in folder.cached("records") {
        std::fs::remove_file(record).unwrap();
    }
    let gone = folder.pipe(&["logs", "talk"]);
    assert_eq!(gone.code, Some(2));
    assert!(gone.stderr.contains("no longer in the cache"), "{}", gone.stderr);
}
