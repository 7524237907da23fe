//! The loss on rows that are not learned from.

use rayon::prelude::*;

use super::{
    SlotsDesign,
    dense::ROWS,
    loss::Loss,
    model::{Inference, Model},
};
use crate::network::{
    count::most_likely, examples::Examples, history::LossParts, hyperparameters::Hyperparameters,
    values::Values,
};

/// The sum of the losses of `rows` as in prediction, and how many counts are right.
pub(in crate::network) fn validate(
    design: &SlotsDesign,
    keys: &Hyperparameters,
    values: Values,
    examples: &Examples,
    rows: &[usize],
) -> (LossParts, usize) {
    let model = Model::new(&design.architecture);
    let settled = model.settled(values.weights, values.statistics);
    let width = model.head.outputs;
    let parts: Vec<(LossParts, usize)> = rows
        .par_chunks(ROWS)
        .map_init(
            || {
                let loss = Loss::new(keys.loss, design.transform, examples);
                (Inference::new(&model), loss, vec![0.0; width])
            },
            |(inference, loss, unused), rows| {
                let spectra = rows.iter().map(|&row| examples.spectrum(row));
                let outputs = inference.run(values.weights, &settled, design.input_scale, spectra);
                judge(loss, examples, rows, outputs, unused)
            },
        )
        .collect();
    let (mut total, mut right) = (LossParts::default(), 0);
    for (part, count) in &parts {
        total.add(part);
        right += count;
    }
    (total, right)
}

/// The sum of the losses of `rows`, of which the heads said `outputs`, and how many counts are right.
pub(in crate::network) fn judge(
    loss: &mut Loss,
    examples: &Examples,
    rows: &[usize],
    outputs: &[f32],
    unused: &mut [f32],
) -> (LossParts, usize) {
    let (mut total, mut right) = (LossParts::default(), 0);
    for (outputs, &row) in outputs.chunks_exact(unused.len()).zip(rows) {
        total.add(&loss.evaluate(row, outputs, unused));
        let count = most_likely(&outputs[3 * examples.slots..]);
        right += usize::from(count == usize::from(examples.counts[row]));
    }
    (total, right)
}
