//! How fast the layers of a detector work.

use std::time::Instant;

use super::{
    DetectorDesign,
    convolution::Finish,
    lanes::{Instructions, LANES},
    model::Model,
};

/// Rounds of which the fastest counts, so that what else the machine does matters little.
const ROUNDS: usize = 7;
/// Operations of a round: a few milliseconds.
const OPERATIONS: usize = 1 << 27;

impl DetectorDesign {
    /// Multiplications and additions that one core does in a second in each layer as in prediction, on spectra of
    /// `channels` channels. What the layers compute doesn't matter.
    pub fn throughput(&self, channels: usize) -> Vec<(&'static str, f64)> {
        let model = Model::new(&self.architecture, channels);
        let with = Instructions::best();
        model
            .convolutions()
            .map(|(name, convolution)| {
                let input = vec![0.5; convolution.input_size()];
                let weights = vec![0.01; convolution.weight_size()];
                let bias = vec![0.1; convolution.filters];
                let mut output = vec![0.0; convolution.output_size()];
                let finish = Finish { bias: Some(&bias), rectify: true };
                let step = convolution.filters * LANES;
                let operations = convolution.operations() * LANES;
                let times = OPERATIONS.div_ceil(operations);
                let seconds = (0..ROUNDS)
                    .map(|_| {
                        let began = Instant::now();
                        for _ in 0..times {
                            convolution.forward(with, &weights, &input, finish, &mut output, step);
                        }
                        began.elapsed().as_secs_f64()
                    })
                    .fold(f64::INFINITY, f64::min);
                (name, (times * operations) as f64 / seconds)
            })
            .collect()
    }
}
