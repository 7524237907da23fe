//! The layers of each crate, and what contradicts them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    modules::{self, ModulePath, Modules},
    names::uses,
};

/// The layers of the engine, from the lowest: each uses only those before it.
const ENGINE: [&str; 9] =
    ["base", "cache", "artifact", "stage", "graph", "load", "plan", "execute", "report"];

/// The rooms of the stages, likewise.
const STAGES: [&str; 6] = ["spectra", "network", "ensemble", "figures", "artifacts", "kinds"];

/// A crate: what it is called, its root, and its layers.
const CRATES: [(&str, &str, &[&str]); 4] = [
    ("engine", "engine/lib.rs", &ENGINE),
    ("stages", "stages/lib.rs", &STAGES),
    ("src", "src/lib.rs", &[]),
    ("child", "child/lib.rs", &[]),
];

/// The arrows of a crate: which file uses what of which other.
type Arrows = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// Prints the modules of every crate by layer, with the `arrows` if asked for; fails if an arrow points up or a circle closes.
pub(crate) fn show(root: &Path, arrows: bool) -> ExitCode {
    let mut faults = 0;
    for (name, file, layers) in CRATES {
        let modules = modules::read(&root.join(file));
        let all = arrows_of(&modules);
        print_layers(name, &modules, layers);
        let upward = upward(&all, layers);
        let circles = circles(&all);
        println!(
            "  {} files, {} arrows, {} of them upward, {} circles\n",
            files(&modules).len(),
            all.values().map(BTreeMap::len).sum::<usize>(),
            upward.len(),
            circles.len()
        );
        for (from, to) in &upward {
            let names: Vec<&str> = all[from][to].iter().map(String::as_str).collect();
            println!("  upward: {} -> {}: {}", from.display(), to.display(), names.join(", "));
        }
        for circle in &circles {
            println!("  circle of {}:", circle.len());
            for from in circle {
                for (to, names) in all[from].iter().filter(|(to, _)| circle.contains(*to)) {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    println!("    {} -> {}: {}", from.display(), to.display(), names.join(", "));
                }
            }
        }
        if arrows {
            for (from, targets) in &all {
                for (to, names) in targets {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    println!("  {} -> {}: {}", from.display(), to.display(), names.join(", "));
                }
            }
        }
        faults += upward.len() + circles.len();
    }
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The files of a crate with their lines.
fn files(modules: &Modules) -> BTreeMap<&PathBuf, usize> {
    let mut files = BTreeMap::new();
    for module in modules.values() {
        *files.entry(&module.file).or_default() += module.lines;
    }
    files
}

fn print_layers(name: &str, modules: &Modules, layers: &[&str]) {
    let mut rooms: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for (file, lines) in files(modules) {
        let mut parts: Vec<String> =
            file.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let file = parts.pop().unwrap_or_default();
        rooms.entry(parts.join("/")).or_default().push((file, lines));
    }
    println!("{name}");
    let place = |room: &str| {
        let first = room.split('/').next().unwrap_or_default();
        layers.iter().rev().position(|layer| *layer == first).map_or(0, |place| place + 1)
    };
    let mut rooms: Vec<_> = rooms.into_iter().collect();
    rooms.sort_by_key(|(room, _)| (place(room), room.clone()));
    for (room, files) in rooms {
        let lines: usize = files.iter().map(|(_, lines)| lines).sum();
        let files: Vec<String> = files
            .iter()
            .map(|(file, lines)| format!("{} {lines}", file.trim_end_matches(".rs")))
            .collect();
        println!("  {:24} {lines:6}  {}", format!("{room}/"), files.join(", "));
    }
}

fn arrows_of(modules: &Modules) -> Arrows {
    let mut arrows = Arrows::new();
    for (path, module) in modules {
        let targets: &mut BTreeMap<_, BTreeSet<String>> =
            arrows.entry(module.file.clone()).or_default();
        for (at, name) in uses(modules, path) {
            let to = &modules[&at as &ModulePath].file;
            if *to != module.file {
                targets.entry(to.clone()).or_default().insert(name);
            }
        }
    }
    arrows
}

/// The arrows that lead from a layer to a higher one.
fn upward(arrows: &Arrows, layers: &[&str]) -> Vec<(PathBuf, PathBuf)> {
    let layer = |file: &Path| {
        let first = file.iter().next().unwrap_or_default();
        // What is in no layer is above all.
        layers.iter().position(|layer| first == *layer).unwrap_or(layers.len())
    };
    let mut upward = Vec::new();
    for (from, targets) in arrows {
        for to in targets.keys().filter(|to| layer(to) > layer(from)) {
            upward.push((from.clone(), to.clone()));
        }
    }
    upward
}

/// The sets of files each of which leads to all others: Tarjan's strongly connected components of more than one.
fn circles(arrows: &Arrows) -> Vec<BTreeSet<PathBuf>> {
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = arrows
        .keys()
        .map(|start| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&PathBuf> = arrows[start].keys().collect();
            while let Some(file) = next.pop() {
                if seen.insert(file) {
                    next.extend(arrows.get(file).into_iter().flat_map(BTreeMap::keys));
                }
            }
            (start, seen)
        })
        .collect();
    let mut circles = BTreeSet::new();
    for (file, seen) in &reached {
        if seen.contains(file) {
            let circle = seen
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)));
            circles.insert(circle.map(|other| (*other).clone()).collect::<BTreeSet<PathBuf>>());
        }
    }
    circles.into_iter().collect()
}
