//! The loss on rows that are not learned from.

use rayon::prelude::*;

use super::{
    dense::ROWS,
    examples::Examples,
    history::LossParts,
    loss::Loss,
    model::{Inference, Model},
    predictor::most_likely,
    training::Training,
};

/// The sum of the losses of `rows` as in prediction, and how many counts are right.
pub(super) fn validate(
    training: &Training,
    model: &Model,
    examples: &Examples,
    rows: &[usize],
) -> (LossParts, usize) {
    let settled = model.settled(&training.weights, &training.statistics);
    let keys = training.hyperparameters;
    let width = model.head.outputs;
    let parts: Vec<(LossParts, usize)> = rows
        .par_chunks(ROWS)
        .map_init(
            || {
                let loss = Loss::new(keys.loss, training.transform, examples);
                (Inference::new(model), loss, vec![0.0; width])
            },
            |(inference, loss, unused), rows| {
                let spectra = rows.iter().map(|&row| examples.spectrum(row));
                let outputs =
                    inference.run(&training.weights, &settled, training.input_scale, spectra);
                let (mut total, mut right) = (LossParts::default(), 0);
                for (outputs, &row) in outputs.chunks_exact(width).zip(rows) {
                    total.add(&loss.evaluate(row, outputs, unused));
                    let count = most_likely(&outputs[3 * model.slots..]);
                    right += usize::from(count == usize::from(examples.counts[row]));
                }
                (total, right)
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
