//! From the stages as declared to the stages that run: each once for every combination that it stands for.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use super::{
    command,
    complaint::{Complaint, Report},
    config,
    declaration::{Context, Declaration, Declared, Schemas},
    inputs::{Given, Used},
    matrix::{self, STAGES, Space},
    node::{Key, Node},
    overrides::Selected,
    reference::Selector,
    select,
};
use crate::{
    base::parallel,
    graph::{CANDIDATES, Input, METRICS, Member, StageNode, Task, combination::Combination},
};

/// After so many combinations of a stage that are wrong the rest aren't looked at.
const WRONG: usize = 1000;

/// What was declared, checked as far as it can be without combinations.
pub(super) struct Declarations<'d, 'a> {
    pub(super) stages: &'d [Declaration<'a>],
    /// The inputs of each stage.
    pub(super) inputs: &'d [Vec<(String, Given)>],
    /// The stages, each after those that it needs; incomplete if there are loops.
    pub(super) order: &'d [usize],
    pub(super) context: &'d Context<'d>,
}

/// The stages and their order. `None` if there was a complaint.
pub(super) fn stages(
    declared: &Declarations<'_, '_>,
    schemas: &Schemas,
    report: &mut Report,
) -> Option<(Vec<StageNode>, Vec<usize>)> {
    let checked = parallel::map(declared.stages, parallel::processors(), |stage| {
        let mut found = Report::default();
        (Tasks::check(stage, declared, schemas, &mut found), found)
    });
    let mut tasks: Vec<Tasks<'_, '_>> = Vec::with_capacity(checked.len());
    for (task, found) in checked {
        report.take(found);
        tasks.push(task);
    }
    let spaces = declared.spaces(report);
    let mut numbers: Vec<Range<usize>> = Vec::with_capacity(spaces.len());
    let mut count = 0_usize;
    for (declaration, space) in declared.stages.iter().zip(&spaces) {
        let end = count.saturating_add(space.count());
        if end > STAGES && count <= STAGES {
            let message = format!(
                "a pipeline has at most {STAGES} stages, and with the combinations of `{}` this one has {end}",
                declaration.name
            );
            report.push(Complaint::new(declaration.place, message));
        }
        numbers.push(count..end);
        count = end;
    }
    for (i, stage) in declared.stages.iter().enumerate() {
        check_selected(stage, &spaces[i], report);
    }
    if count > STAGES || declared.order.len() < declared.stages.len() {
        return None;
    }
    let expansion = Expansion { declared, spaces: &spaces, numbers: &numbers };
    let mut nodes = Vec::with_capacity(count);
    let mut sound = true;
    for (i, tasks) in tasks.iter_mut().enumerate() {
        for k in 0..spaces[i].count() {
            let inputs = expansion.inputs(i, k, report);
            let combination = spaces[i].combination(k);
            let task = match &combination {
                // The only one of its stage: nobody asks for it again.
                None => tasks.take_sole(),
                Some(combination) => tasks.task(combination, declared, schemas, report),
            };
            let (Some(inputs), Some(task)) = (inputs, task) else {
                sound = false;
                break;
            };
            let declaration = &declared.stages[i];
            let name = match &combination {
                Some(combination) => format!("{}[{combination}]", declaration.name),
                None => declaration.name.clone(),
            };
            let (declared, place) = (declaration.name.clone(), declaration.place);
            nodes.push(StageNode { name, declared, combination, task, inputs, place });
        }
    }
    let order = declared.order.iter().flat_map(|&i| numbers[i].clone()).collect();
    sound.then_some((nodes, order))
}

/// Complains about overrides of combinations that there are not.
fn check_selected(stage: &Declaration<'_>, space: &Space, report: &mut Report) {
    for over in &stage.selected {
        let words: Vec<&str> = over.path.iter().map(|key| key.name.as_ref()).collect();
        let key = words.join(".");
        let axis = stage.axes.iter().flatten().find(|axis| matrix::overlap(&axis.key.name, &key));
        if let Some(axis) = axis {
            let message =
                format!("`{key}` is an axis of the matrix: each combination has its value");
            report.push(
                Complaint::new(over.place, message)
                    .label(axis.key.span, "the axis")
                    .help(format!("set the axis: `{}.matrix.{}=[…]`", stage.name, axis.key.name)),
            );
            continue;
        }
        if space.combinations().any(|combination| over.selector.matches(&combination)) {
            continue;
        }
        let message = format!("`{}` has no such combination", stage.name);
        report.push(Complaint::new(over.place, message).help(hint(&stage.name, space)));
    }
}

/// What can be written instead of a combination that there isn't.
fn hint(stage: &str, space: &Space) -> String {
    const MOST: usize = 6;
    if !space.has_axes() {
        return format!("`{stage}` has no matrix: write `{stage}` alone");
    }
    let labels: Vec<String> =
        space.combinations().take(MOST).map(|combination| format!("[{combination}]")).collect();
    let more = if space.count() > MOST { ", …" } else { "" };
    format!("there are {}{more}", labels.join(", "))
}

impl Declarations<'_, '_> {
    /// The axes of each stage.
    fn spaces(&self, report: &mut Report) -> Vec<Space> {
        let mut spaces = vec![Space::default(); self.stages.len()];
        for &i in self.order {
            let mut space = Space::default();
            for (_, given) in &self.inputs[i] {
                if let Given::Output(used) = given
                    && used.selector.is_none()
                {
                    space.inherit(&spaces[used.stage], used.place, report);
                }
            }
            if let Some(axes) = &self.stages[i].axes {
                space.own(axes, report);
            }
            spaces[i] = space;
        }
        spaces
    }
}

/// What turns the inputs as declared into those of one combination.
struct Expansion<'e, 'd, 'a> {
    declared: &'e Declarations<'d, 'a>,
    spaces: &'e [Space],
    /// The numbers of the stages that each declared stage stands for.
    numbers: &'e [Range<usize>],
}

impl Expansion<'_, '_, '_> {
    /// The inputs of the combination `k` of the stage `i`.
    fn inputs(&self, i: usize, k: usize, report: &mut Report) -> Option<BTreeMap<String, Input>> {
        let mut inputs = BTreeMap::new();
        let mut sound = true;
        for (name, given) in &self.declared.inputs[i] {
            let input = match given {
                Given::File(input) => Some(input.clone()),
                Given::Output(used) => match &used.selector {
                    None => {
                        let part = &self.spaces[used.stage];
                        let stage =
                            self.numbers[used.stage].start + self.spaces[i].project(k, part);
                        Some(Input::Output { stage, output: used.output.clone() })
                    }
                    Some(Selector::All) => self.gathered(used, report),
                    Some(selector) => self.one(used, selector, report),
                },
            };
            match input {
                Some(input) => _ = inputs.insert(name.clone(), input),
                None => sound = false,
            }
        }
        let members = |name: &str| match inputs.get(name) {
            Some(Input::Gathered { members, .. }) => {
                Some(members.iter().map(|member| member.combination.clone()).collect::<Vec<_>>())
            }
            _ => None,
        };
        if matches!(self.declared.stages[i].kind, Declared::Select)
            && let (Some(candidates), Some(metrics)) = (members(CANDIDATES), members(METRICS))
            && !select::same(&candidates, &metrics)
        {
            let place = |name: &str| {
                let found = self.declared.inputs[i].iter().find(|(input, _)| input == name);
                match found {
                    Some((_, Given::Output(used))) => Some((used.place, used.stage)),
                    _ => None,
                }
            };
            if let (Some((span, other)), Some((first, stage))) = (place(METRICS), place(CANDIDATES))
            {
                let axes = |stage: usize| {
                    let names: Vec<&str> = self.spaces[stage].names().collect();
                    format!("{} combinations of {}", self.spaces[stage].count(), names.join(", "))
                };
                let message = "the candidates and the metrics have different combinations";
                report.push(
                    Complaint::new(span, message).here(axes(other)).label(first, axes(stage)),
                );
            }
            sound = false;
        }
        sound.then_some(inputs)
    }

    fn gathered(&self, used: &Used, report: &mut Report) -> Option<Input> {
        let space = &self.spaces[used.stage];
        let stage = &self.declared.stages[used.stage].name;
        if !space.has_axes() {
            let message = format!("`{stage}` has no matrix, so there is nothing to gather");
            let help = format!("write `{stage}.{}`", used.output);
            report.push(Complaint::new(used.place, message).help(help));
            return None;
        }
        let members = self.numbers[used.stage].clone().zip(space.combinations());
        let members = members.map(|(stage, combination)| Member { stage, combination }).collect();
        Some(Input::Gathered { stage: stage.clone(), output: used.output.clone(), members })
    }

    fn one(&self, used: &Used, selector: &Selector, report: &mut Report) -> Option<Input> {
        let space = &self.spaces[used.stage];
        let matching: Vec<usize> = space
            .combinations()
            .enumerate()
            .filter(|(_, combination)| selector.matches(combination))
            .map(|(k, _)| k)
            .collect();
        if let [k] = matching.as_slice() {
            let stage = self.numbers[used.stage].start + k;
            return Some(Input::Output { stage, output: used.output.clone() });
        }
        let stage = &self.declared.stages[used.stage].name;
        let unknown = match selector {
            Selector::Having(pairs) => {
                pairs.iter().find(|(axis, _)| !space.names().any(|name| name == axis))
            }
            Selector::All => None,
        };
        let complaint = match unknown {
            Some((axis, _)) if space.has_axes() => {
                let message = format!("`{stage}` has no axis `{axis}`");
                let meant = report.meant(axis, space.names());
                Complaint::new(used.place, message).suggest(meant, || {
                    format!("its axes are {}", space.names().collect::<Vec<_>>().join(", "))
                })
            }
            _ if matching.is_empty() => {
                let message = format!("`{stage}` has no such combination");
                Complaint::new(used.place, message).help(hint(stage, space))
            }
            _ => {
                let message = format!(
                    "{} combinations of `{stage}` are meant here, and one is needed",
                    matching.len()
                );
                let axes: Vec<String> = space.names().map(|name| format!("{name}=…")).collect();
                Complaint::new(used.place, message)
                    .help(format!("name all axes: `[{}]`", axes.join(",")))
            }
        };
        report.push(complaint);
        None
    }
}

/// The tasks of a stage: one for each combination of its own axes, more where some combinations are overridden.
struct Tasks<'d, 'a> {
    declaration: &'d Declaration<'a>,
    /// By the numbers of the values on the stage's own axes, and the overrides that hold.
    known: HashMap<(Vec<usize>, Vec<usize>), Option<Task>>,
    /// The one of a stage without axes of its own.
    sole: Option<Task>,
    /// Whether the matrix itself is sound.
    sound: bool,
}

impl<'d, 'a> Tasks<'d, 'a> {
    /// Makes the tasks of the combinations of the stage's own axes, and complains about what is wrong with them.
    fn check(
        declaration: &'d Declaration<'a>,
        declared: &Declarations<'_, '_>,
        schemas: &Schemas,
        report: &mut Report,
    ) -> Self {
        let mut tasks = Self { declaration, known: HashMap::new(), sole: None, sound: false };
        let Some(axes) = &declaration.axes else { return tasks };
        let config = declaration.fields.get("config").map(|entry| &entry.value);
        if !matrix::check_config(&declaration.name, axes, config, report) {
            return tasks;
        }
        tasks.sound = true;
        if axes.is_empty() {
            tasks.sole = tasks.read(&[], &[], declared, schemas, report);
            return tasks;
        }
        let mut space = Space::default();
        space.own(axes, report);
        // One past the most stages is enough to know that there are too many, and so many that are wrong are enough to
        // know what is: each looks for what was meant at every word that it can't place.
        let mut wrong = 0;
        for k in 0..space.count().min(STAGES + 1) {
            let combination = space.combination(k);
            let digits = tasks.digits(combination.as_ref());
            let task = tasks.make(digits, Vec::new(), declared, schemas, report);
            wrong += usize::from(task.is_none());
            if wrong == WRONG {
                break;
            }
        }
        tasks
    }

    /// The task of a stage that has no combinations.
    fn take_sole(&mut self) -> Option<Task> {
        self.sole.take()
    }

    /// The task of a combination.
    fn task(
        &mut self,
        combination: &Combination,
        declared: &Declarations<'_, '_>,
        schemas: &Schemas,
        report: &mut Report,
    ) -> Option<Task> {
        if !self.sound {
            return None;
        }
        let digits = self.digits(Some(combination));
        let over = |(_, over): &(usize, &Selected<'_>)| over.selector.matches(combination);
        let selected: Vec<usize> =
            self.declaration.selected.iter().enumerate().filter(over).map(|(i, _)| i).collect();
        if digits.is_empty() && selected.is_empty() {
            return self.sole.clone();
        }
        self.make(digits, selected, declared, schemas, report)
    }

    /// The numbers of the values on the stage's own axes.
    fn digits(&self, combination: Option<&Combination>) -> Vec<usize> {
        let axes = self.declaration.axes.iter().flatten();
        axes.map(|axis| {
            let pair = combination
                .and_then(|all| all.values.iter().find(|(name, _)| *name == axis.key.name));
            let found = pair
                .and_then(|(_, value)| axis.values.iter().position(|(_, other)| other == value));
            found.unwrap_or(0)
        })
        .collect()
    }

    /// Makes the task of a combination, unless it is known.
    fn make(
        &mut self,
        digits: Vec<usize>,
        selected: Vec<usize>,
        declared: &Declarations<'_, '_>,
        schemas: &Schemas,
        report: &mut Report,
    ) -> Option<Task> {
        if let Some(known) = self.known.get(&(digits.clone(), selected.clone())) {
            return known.clone();
        }
        let task = self.read(&digits, &selected, declared, schemas, report);
        self.known.entry((digits, selected)).or_insert(task).clone()
    }

    fn read(
        &self,
        digits: &[usize],
        selected: &[usize],
        declared: &Declarations<'_, '_>,
        schemas: &Schemas,
        report: &mut Report,
    ) -> Option<Task> {
        let declaration = self.declaration;
        let given = declaration.fields.get("config").map(|entry| &entry.value);
        let axes = declaration.axes.iter().flatten().zip(digits);
        let mut values: Vec<(&Key<'_>, &Node<'_>)> =
            axes.map(|(axis, &digit)| (&axis.key, &axis.values[digit].0)).collect();
        let keys: Vec<Key<'_>> = selected
            .iter()
            .map(|&over| {
                let words: Vec<&str> =
                    declaration.selected[over].path.iter().map(|key| &*key.name).collect();
                let span = declaration.selected[over].place;
                Key { name: words.join(".").into(), span }
            })
            .collect();
        let overrides = selected.iter().map(|&over| &declaration.selected[over].value);
        values.extend(keys.iter().zip(overrides));
        let filled;
        let config = if values.is_empty() {
            given
        } else {
            filled = matrix::filled(given, &values, declaration.place);
            Some(&filled)
        };
        // Combinations share most of what is wrong with them: it is said once.
        let mut found = Report::default();
        let task = match &declaration.kind {
            Declared::Kind(kind) => {
                config::config(kind, config, declaration.place, schemas, &mut found)
                    .map(|config| Task::Kind { kind: kind.clone(), config })
            }
            Declared::Command(outputs) => {
                let outputs = outputs.as_deref();
                command::read(declaration, config, outputs, declared.context, &mut found)
                    .map(Task::Command)
            }
            Declared::Select => {
                select::read(declaration, declared.stages, &mut found).map(Task::Select)
            }
            Declared::Unknown => None,
        };
        report.take(found);
        task
    }
}
