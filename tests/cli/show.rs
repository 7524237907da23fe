//! `pipe show`.

use crate::support::Folder;

#[test]
fn documents_tables_texts_and_arrays_are_shown() {
    let folder = Folder::new(
        "stages:\n  made:\n    kind: command\n    files: [make.sh]\n    \
         run: sh make.sh {outputs.d.json} {outputs.t.csv} {outputs.x.txt} {outputs.b}\n    outputs: [d.json, t.csv, x.txt, b]\n  \
         generate: { config: { count: 3, channels: 16 } }\n",
    );
    folder.write(
        "make.sh",
        "echo '{\"count\": 3, \"r2\": {\"mean\": 0.5}}' > $1\nprintf 'name,value\\na,1\\nlonger,2.5\\nc,3\\n' > $2\n\
         echo hello > $3\nprintf '\\377\\376' > $4\n",
    );
    folder.run(&[]);
    let show = |arguments: &[&str]| {
        let ended = folder.pipe(&[&["show"], arguments].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert_eq!(show(&["made.d.json"]), "count  3\nr2\n  mean  0.5\n");
    assert_eq!(
        show(&["made.t.csv", "--rows", "2"]),
        " name    value\n a           1\n longer    2.5\n… 1 more rows\n"
    );
    assert_eq!(show(&["made.x.txt"]), "hello\n");
    assert_eq!(show(&["made.b"]), "b: 2 B, not a text\n");
    assert!(show(&["made"]).contains("made.t.csv"));
    let arrays = show(&["generate.spectra"]);
    assert!(arrays.contains("float32") && arrays.contains("16"), "{arrays}");
    assert_eq!(folder.pipe(&["show", "made.t.csv", "--path", "none"]).code, Some(2));
    // The pipeline may be named before and after the command.
    for arguments in [
        ["show", "made.x.txt", "-f", "pipeline.yaml"],
        ["-f", "pipeline.yaml", "show", "made.x.txt"],
    ] {
        assert_eq!(folder.pipe(&arguments).stdout, "hello\n");
        let other = arguments.map(|word| if word == "pipeline.yaml" { "none.yaml" } else { word });
        assert_eq!(folder.pipe(&other).code, Some(2));
    }
}
