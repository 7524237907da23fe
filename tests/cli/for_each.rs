//! Commands that run for each item of an input.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::Folder;

/// Doubles the number in each file of `numbers`, and writes a line into a file outside.
fn doubling(folder: &Folder, more: &str) -> String {
    format!(
        "\
stages:
  double:
    kind: command
    for_each: numbers
    inputs: {{ numbers: {{ file: numbers }}, factor: {{ file: factor }} }}
    shell: true
    run: |
      echo {{item}} >> {runs}
      echo doubling {{item.name}}{more}
      echo $(( $(cat {{inputs.numbers}}) * $(cat {{inputs.factor}}) )) > {{outputs.doubled}}
    outputs: {{ doubled: \"{{item.stem}}.out\" }}
  sum:
    kind: command
    inputs: {{ all: double }}
    run: sh -c 'cat $1/* | paste -sd+ | bc > $2' - {{inputs.all}} {{outputs.sum}}
    outputs: [sum]
",
        runs = folder.path("runs").display()
    )
}

fn folder(count: usize) -> Folder {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", doubling(&folder, ""));
    folder.write("factor", "2\n");
    for i in 0..count {
        folder.write(&format!("numbers/n{i}.txt"), format!("{i}\n"));
    }
    folder
}

/// For which items commands were run since the last time that this was asked.
fn ran(folder: &Folder) -> Vec<String> {
    let runs = fs::read_to_string(folder.path("runs")).unwrap_or_default();
    let _ = fs::remove_file(folder.path("runs"));
    let mut items: Vec<String> = runs.lines().map(str::to_owned).collect();
    items.sort();
    items
}

fn run(folder: &Folder) -> String {
    let ended = folder.pipe(&["run", "double"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[test]
fn only_items_that_are_new_or_changed_are_run() {
    let folder = folder(10);
    run(&folder);
    assert_eq!(ran(&folder).len(), 10);
    assert_eq!(folder.read("out/double/doubled/n7.out"), "14\n");
    run(&folder);
    assert_eq!(ran(&folder), Vec::<String>::new());
    folder.write("numbers/deeper/n10.txt", "10\n");
    let told = run(&folder);
    assert!(told.contains("10 of 11 items known"), "{told}");
    assert_eq!(ran(&folder), ["deeper/n10.txt"]);
    assert_eq!(folder.read("out/double/doubled/n10.out"), "20\n");
    folder.write("numbers/n3.txt", "33\n");
    run(&folder);
    assert_eq!(ran(&folder), ["n3.txt"]);
    assert_eq!(folder.read("out/double/doubled/n3.out"), "66\n");
    fs::remove_file(folder.path("numbers/n5.txt")).unwrap();
    run(&folder);
    assert_eq!(ran(&folder), Vec::<String>::new());
    assert!(!folder.path("out/double/doubled/n5.out").exists());
    // What all items read changes all of them, and put back nothing.
    folder.write("factor", "3\n");
    run(&folder);
    assert_eq!(ran(&folder).len(), 10);
    folder.write("factor", "2\n");
    run(&folder);
    assert_eq!(ran(&folder), Vec::<String>::new());
}

#[test]
fn what_items_made_is_a_folder_like_any_other() {
    let folder = folder(4);
    folder.run(&[]);
    assert_eq!(folder.read("out/sum/sum"), "12\n");
    assert_eq!(folder.pipe(&["show", "double.doubled", "--path", "n2.out"]).stdout, "4\n");
    assert!(folder.executed(&[]).is_empty());
}

#[test]
fn a_failure_names_the_item_and_keeps_the_others() {
    let folder = folder(6);
    folder.write("pipeline.yaml", doubling(&folder, "; test {item} != n2.txt || exit 3"));
    let failed = folder.pipe(&["run", "-j", "1"]);
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("stage `double`: for `n2.txt`: the command exited with code 3"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("| doubling n2.txt\n"), "{}", failed.stderr);
    assert_eq!(ran(&folder), ["n0.txt", "n1.txt", "n2.txt"]);
    let kept = folder.pipe(&["run", "-j", "1", "--keep-going"]);
    assert_eq!(kept.code, Some(1));
    assert_eq!(ran(&folder), ["n2.txt", "n3.txt", "n4.txt", "n5.txt"]);
    folder.write("numbers/n2.txt", "22\n");
    fs::rename(folder.path("numbers/n2.txt"), folder.path("numbers/two.txt")).unwrap();
    run(&folder);
    assert_eq!(ran(&folder), ["two.txt"]);
}

#[test]
fn a_killed_run_keeps_the_items_that_were_finished() {
    let folder = folder(8);
    let go = folder.path("go");
    let wait = format!(
        "; test {{item}} = n7.txt || exec 5>&1; test {{item}} != n7.txt || for i in $(seq 300); do test -e {} && break; sleep 0.1; done",
        go.display()
    );
    folder.write("pipeline.yaml", doubling(&folder, &wait));
    let mut child = folder
        .command(&["run", "-j", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    // All but the last are done and published, and that one waits.
    while folder.cached("records").len() < 7 {
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", folder.cached("records"));
        thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-9", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    child.wait().unwrap();
    folder.write("go", "");
    ran(&folder);
    run(&folder);
    assert_eq!(ran(&folder), ["n7.txt"]);
}

/// Each command waits for the other's sign.
#[test]
fn items_run_beside_each_other() {
    let folder = folder(2);
    let signs = folder.path("signs");
    fs::create_dir(&signs).unwrap();
    let meet = format!(
        "; touch {0}/{{item.stem}}; for i in $(seq 100); do test $(ls {0} | wc -l) = 2 && break; sleep 0.1; done; test $(ls {0} | wc -l) = 2",
        signs.display()
    );
    folder.write("pipeline.yaml", doubling(&folder, &meet));
    let ended = folder.pipe(&["run", "double", "-j", "2"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

const TABLE: &str = "\
stages:
  greet:
    kind: command
    for_each: people
    inputs: { people: { file: people.csv } }
    files: [greet.sh]
    config: { word: hello }
    run: sh greet.sh {config.word} {item.name} {item.age} {inputs.people} {outputs.text}
    outputs: { text: '{config.word}/{item.name}.txt' }
";

#[test]
fn the_rows_of_a_table_are_entries() {
    let folder = Folder::new(TABLE);
    folder.write("people.csv", "name,age\nAda,36\n\"Grace H.\",85\n");
    folder.write(
        "greet.sh",
        format!(
            "echo $2 >> {}; echo \"$1 $2, $3\" > $5; cat $4 >> $5",
            folder.path("runs").display()
        ),
    );
    folder.run(&[]);
    assert_eq!(ran(&folder), ["Ada", "Grace H."]);
    assert_eq!(
        folder.read("out/greet/text/hello/Grace H..txt"),
        "hello Grace H., 85\nname,age\nGrace H.,85\n"
    );
    // A row is what it holds, wherever it stands.
    folder.write("people.csv", "name,age\nEmmy,53\nGrace H.,85\nAda,36\n");
    folder.run(&[]);
    assert_eq!(ran(&folder), ["Emmy"]);
    let numbered = TABLE.replace("{item.name}.txt", "{item}.txt");
    folder.write("pipeline.yaml", numbered);
    folder.run(&[]);
    assert_eq!(ran(&folder).len(), 3);
    assert!(folder.read("out/greet/text/hello/2.txt").starts_with("hello Grace"));
    let listed = TABLE.replace("{ text: '{config.word}/{item.name}.txt' }", "[text]");
    folder.write("pipeline.yaml", listed);
    folder.run(&[]);
    assert!(folder.read("out/greet/text/2/text").starts_with("hello Grace"));
}

#[test]
fn equal_rows_are_run_once() {
    let folder = Folder::new(&TABLE.replace("{item.name}.txt", "{item.name}/{item.place}.txt"));
    folder.write("people.csv", "name,age,place\nAda,36,a\nAda,36,b\n");
    folder.write("greet.sh", format!("echo $2 >> {}; touch $5", folder.path("runs").display()));
    folder.run(&[]);
    assert_eq!(ran(&folder), ["Ada", "Ada"]);
    let listed = TABLE.replace("{ text: '{config.word}/{item.name}.txt' }", "[text]");
    folder.write("pipeline.yaml", listed.replace("{item.name} ", "one "));
    folder.write("people.csv", "name,age,place\nAda,36,a\nAda,36,a\n");
    folder.run(&[]);
    // A number that stands in a path is seen by the command.
    assert_eq!(ran(&folder), ["one", "one"]);
}

#[test]
fn what_is_made_of_an_output_follows_it() {
    let folder = Folder::new(
        "\
stages:
  made:
    kind: command
    matrix: { n: [1, 2] }
    run: sh -c 'mkdir $2; echo $1 > $2/a; echo 7 > $2/b' - {config.n} {outputs.d}
    outputs: [d]
  each:
    kind: command
    for_each: files
    inputs: { files: \"made.d[*]\" }
    run: sh -c 'cat $1 $1 > $2' - {inputs.files} {outputs.twice}
    outputs: { twice: \"{item}.twice\" }
",
    );
    folder.run(&[]);
    assert_eq!(folder.read("out/each/twice/n=2/a.twice"), "2\n2\n");
    let report = folder.pipe(&["run", "--json", "--set", "made.matrix.n=[1, 2, 3]"]).json();
    let each = report["stages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&each["parts"]["all"], &each["parts"]["known"]), (&6.into(), &4.into()));
}

#[test]
fn what_can_not_stand_together_is_named() {
    let folder = folder(3);
    folder.write("numbers/sub/n1.dat", "5\n");
    folder.write("table.csv", "a,b\n1,2\n");
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("`n1.txt` and `sub/n1.dat` both make `n1.out` of output `doubled`"),
        "{}",
        ended.stderr
    );
    assert!(ran(&folder).is_empty(), "it is told before anything is run");
    for (yaml, part) in [
        (
            doubling(&folder, " {item.size}"),
            "`{item.size}` is nothing that the items of `numbers` have: they have stem, name",
        ),
        (
            doubling(&folder, "").replace("{ file: numbers }", "{ file: table.csv }"),
            "`{item.name}` is nothing that the items of `numbers` have: they have a, b",
        ),
        (
            doubling(&folder, "").replace("{item.stem}.out", "{item.stem}/../../x"),
            "the path of `doubled` can't be used",
        ),
    ] {
        folder.write("pipeline.yaml", yaml);
        let ended = folder.pipe(&["run"]);
        assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn misuse_is_told_at_its_place() {
    let folder = folder(1);
    let good = doubling(&folder, "");
    for (from, to, part) in [
        ("for_each: numbers", "for_each: number", "did you mean `numbers`?"),
        (
            "for_each: numbers",
            "for_each: [numbers]",
            "`for_each` must name an input, but is a list",
        ),
        ("    for_each: numbers\n", "", "`outputs` must be a list of names, but is a mapping"),
        (
            "{ doubled: \"{item.stem}.out\" }",
            "[doubled]\n    matrix: { x: [1] }\n    for_eech: x",
            "did you mean `for_each`?",
        ),
        ("{item.stem}.out", "{inputs.factor}", "can't hold the path of an input or output"),
        ("{item.stem}.out", "/abs", "it is absolute"),
        ("echo {item}", "echo {item.a.b}", "`{item.a.b}` is no part of an item"),
    ] {
        assert!(good.contains(from), "{from}");
        folder.write("pipeline.yaml", good.replace(from, to));
        let ended = folder.pipe(&["plan"]);
        assert_eq!(ended.code, Some(2), "{to}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}
