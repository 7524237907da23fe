//! A workspace whose commands misbehave at random, with a cache that somebody attacks at random: nothing outside changes, and
//! nothing wrong is ever reused.
//!
//! `PIPE_SOAK_SECONDS=3600 cargo test --release --test cli -- --ignored soak` goes on for an hour; `PIPE_SOAK_SEED` names
//! another order of things.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    hostile_cache::{state, victim},
    support::{Ended, Folder},
};

/// Numbers at random, always the same for a seed (Marsaglia 2003, xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

/// What a command does besides its work, or in place of it, and whether it may come to a result.
const WAYS: [(&str, bool); 9] = [
    ("WORK", true),
    ("WORK", true),
    ("WORK", true),
    ("(sleep 0.3; echo evil >> {outputs.o}; echo evil >> {inputs.i}) & WORK", true),
    ("setsid sh -c 'trap \"\" TERM; sleep 30; echo evil >> \"$0\"' {outputs.o} & WORK", true),
    ("WORK; chmod u+w {inputs.i}; echo evil >> {inputs.i}", false),
    ("WORK; rm -f {inputs.i}; echo evil > {inputs.i}", false),
    ("WORK; kill -9 $$", false),
    ("echo half > {outputs.o}; exit 3", false),
];
const WORK: &str = "cat {inputs.i} > {outputs.o}; echo {config.n} >> {outputs.o}";

/// A pipeline of three stages with what each does, what the last makes, and whether all can.
fn pipeline(random: &mut Random, honest: bool, source: &str) -> (String, String, bool) {
    let (mut yaml, mut made, mut sound) = ("stages:\n".to_owned(), source.to_owned(), true);
    let mut input = "{ file: source }".to_owned();
    for name in ["a", "b", "c"] {
        let (way, works) = if honest { WAYS[0] } else { random.of(&WAYS) };
        let n = random.below(3);
        yaml += "  ";
        yaml += name;
        yaml += ":\n    kind: command\n    shell: true\n    outputs: [o]\n    inputs: { i: ";
        yaml += &input;
        let script = way.replace("WORK", WORK);
        let _ = write!(yaml, " }}\n    config: {{ n: {n} }}\n    run: |\n      {script}\n");
        let _ = writeln!(made, "{n}");
        sound &= works;
        input = format!("{name}.o");
    }
    (yaml, made, sound)
}

fn all_below(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut files, mut folders, mut open) = (Vec::new(), Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
                open.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    folders.sort();
    (files, folders)
}

/// Does something to the cache; gives what is to be put back where the cache can't be used with it.
fn attack(random: &mut Random, cache: &Path, victim: &Path) -> Option<(PathBuf, PathBuf)> {
    let (mut files, folders) = all_below(cache);
    // A folder without it is no cache, and is left alone.
    files.retain(|file| !file.ends_with("format"));
    if files.is_empty() || folders.is_empty() {
        return None;
    }
    let file = random.of(&files);
    match random.below(8) {
        0 => _ = fs::remove_file(&file),
        1 => {
            // As many bytes, and other ones; not of what a link leads to.
            if !fs::symlink_metadata(&file).is_ok_and(|meta| meta.is_file()) {
                return None;
            }
            let Ok(mut bytes) = fs::read(&file) else { return None };
            if let Some(byte) = bytes.first_mut() {
                *byte ^= 1;
            }
            let _ = fs::set_permissions(&file, fs::Permissions::from_mode(0o644));
            let _ = fs::write(&file, bytes);
        }
        2 => {
            let _ = fs::remove_file(&file);
            let mode = rustix::fs::Mode::from_raw_mode(0o666);
            let _ = rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode);
        }
        3 => {
            let _ = fs::remove_file(&file);
            let _ = symlink(victim.join("thesis.tex"), &file);
        }
        4 => {
            let _ = fs::remove_file(&file);
            let _ = fs::create_dir(&file);
        }
        5 => {
            let folder = random.of(&folders);
            let aside = cache.with_file_name("aside");
            fs::rename(&folder, &aside).unwrap();
            symlink(victim, &folder).unwrap();
            return Some((folder, aside));
        }
        6 => {
            for folder in folders.iter().filter(|folder| folder.parent().unwrap().ends_with("runs"))
            {
                let stamp = 4_102_444_800_000_000_000_u64 + random.below(1000) as u64;
                let _ = fs::write(folder.join(format!("{stamp:020}-00000000-base.json")), "junk");
            }
        }
        _ => {
            let lease = format!("{:064x}", random.below(1 << 30));
            let _ = fs::write(cache.join("leases").join(lease), "{}\n");
        }
    }
    None
}

/// Runs the program, which mustn't wait for ever for anything.
fn in_time(folder: &Folder, arguments: &[&str]) -> Ended {
    let mut timeout = folder.program("timeout", &["-k", "1", "60", env!("CARGO_BIN_EXE_pipe")]);
    folder.ended(timeout.args(arguments).output().unwrap())
}

fn is_sane(ended: &Ended) -> bool {
    ended.code.is_some_and(|code| code <= 3) && !ended.stderr.contains("panicked")
}

#[test]
#[ignore = "it takes as long as one likes"]
fn soak() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("it is a number"))
    };
    let seed = number("PIPE_SOAK_SEED", 1);
    let until = Instant::now() + Duration::from_secs(number("PIPE_SOAK_SECONDS", 60));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let folder = Folder::empty();
    let cache = folder.path("cache");
    let victim = victim(&folder);
    let precious = state(&victim);
    let (mut rounds, mut attacks) = (0, 0);
    while Instant::now() < until {
        rounds += 1;
        let source = format!("source {}\n", random.below(3));
        folder.write("source", &source);
        let (yaml, made, sound) = pipeline(&mut random, false, &source);
        folder.write("pipeline.yaml", &yaml);
        let mut put_back = None;
        if random.below(2) == 0 {
            attacks += 1;
            put_back = attack(&mut random, &cache, &victim);
        }
        let command: &[&str] = match random.below(6) {
            0 => &["cache", "gc", "--yes", "--grace", "0s", "--keep-runs", "2"],
            1 => &["cache", "verify", "--repair"],
            2 => &["status"],
            _ => &["run", "-k"],
        };
        let ended = in_time(&folder, command);
        let what = || {
            format!(
                "seed {seed}, round {rounds}, {command:?}:\n{yaml}\n{}{}",
                ended.stdout, ended.stderr
            )
        };
        assert!(is_sane(&ended), "{}", what());
        if let Some((place, aside)) = put_back {
            // The link may have been put away, and a folder made in its place.
            if place.is_symlink() {
                fs::remove_file(&place).unwrap();
            }
            if fs::rename(&aside, &place).is_err() {
                fs::remove_dir_all(&aside).unwrap();
            }
        }
        if command[0] == "run" && ended.code == Some(0) {
            assert!(sound, "{}", what());
            assert_eq!(folder.read("out/c/o"), made, "{}", what());
        }
        assert_eq!(folder.read("source"), source, "{}", what());
        assert!(state(&victim) == precious, "{}", what());
        // Whatever was done, honest work comes to what it should.
        if random.below(3) == 0 {
            let (yaml, made, _) = pipeline(&mut random, true, &source);
            folder.write("pipeline.yaml", &yaml);
            let ended = in_time(&folder, &["run"]);
            assert_eq!(ended.code, Some(0), "{}{}{}", what(), ended.stdout, ended.stderr);
            assert_eq!(folder.read("out/c/o"), made, "{}{}", what(), ended.stderr);
        }
    }
    println!("{rounds} rounds, {attacks} attacks");
}
