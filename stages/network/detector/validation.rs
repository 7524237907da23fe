//! The loss on rows that are not learned from.

use rayon::prelude::*;

use super::{
    DetectorDesign,
    inference::{Inference, Settled},
    lanes::{Instructions, LANES},
    loss::Loss,
    model::Model,
};
use crate::network::{
    count::most_likely, examples::Examples, history::LossParts, hyperparameters::Hyperparameters,
    values::Values,
};

/// The sum of the losses of `rows` as in prediction, and how many counts are right.
pub(super) fn validate(
    design: &DetectorDesign,
    keys: &Hyperparameters,
    values: Values,
    examples: &Examples,
    rows: &[usize],
) -> (LossParts, usize) {
    let channels = examples.grid.channels;
    let model = Model::new(&design.architecture, channels);
    let settled = Settled::new(&model, values);
    let with = Instructions::best();
    let parts: Vec<(LossParts, usize)> = rows
        .par_chunks(LANES)
        .map_init(
            || {
                let inference = Inference::new(&model, &settled, channels, with);
                let unused = [inference.told.clone(), inference.counts.clone()];
                let loss = Loss::new(design, keys.loss, examples, with);
                (inference, loss, unused, vec![0.0; channels])
            },
            |(inference, loss, unused, observed), rows| {
                for (lane, &row) in rows.iter().enumerate() {
                    examples.observed(row, observed);
                    inference.read(lane, observed);
                }
                inference.run();
                judge(loss, examples, rows, &inference.told, &inference.counts, unused)
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

/// The sum of the losses of the spectra `rows`, at most a group, of which the network told `told` (length × 12 × lanes) and
/// `counts` (K + 1 × lanes), and how many counts are right.
pub(in crate::network) fn judge(
    loss: &mut Loss,
    examples: &Examples,
    rows: &[usize],
    told: &[f32],
    counts: &[f32],
    [unused_told, unused_counts]: &mut [Vec<f32>; 2],
) -> (LossParts, usize) {
    let parts = loss.evaluate(rows, told, counts, 1.0, unused_told, unused_counts);
    let mut right = 0;
    for (lane, &row) in rows.iter().enumerate() {
        let logits: Vec<f32> = counts.chunks_exact(LANES).map(|lanes| lanes[lane]).collect();
        right += usize::from(most_likely(&logits) == usize::from(examples.counts[row]));
    }
    (parts, right)
}
