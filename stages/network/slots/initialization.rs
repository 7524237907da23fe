//! The weights before the first step.

use super::model::Model;
use crate::network::random::{Purpose, generator, symmetric};

/// Uniform weights of variance 2 / inputs before a `ReLU` (He et al. 2015) and 1 / 3 of 1 / inputs before the heads;
/// normalisations begin as the identity.
pub(in crate::network) fn initial_weights(model: &Model, seed: u64) -> Vec<f32> {
    let mut weights = vec![0.0; model.layout.weight_count()];
    for (index, place) in model.layout.weights.iter().enumerate() {
        let values = &mut weights[place.range.clone()];
        if place.name.ends_with("normalization.weight") {
            values.fill(1.0);
        } else if let [inputs @ .., _] = &place.shape[..]
            && !inputs.is_empty()
        {
            let inputs: usize = inputs.iter().product();
            let gain = if place.name == "head.weight" { 1.0 } else { 6.0 };
            let limit = (gain / inputs as f64).sqrt() as f32;
            let mut generator = generator(seed, Purpose::Weights, [index as u64, 0], 0);
            for value in values {
                *value = limit * symmetric(&mut generator);
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::slots::Architecture;

    #[test]
    fn weights_have_the_promised_variance_and_depend_on_the_seed() {
        let model = Model::new(&Architecture::new(140, 2));
        let weights = initial_weights(&model, 1);
        assert_eq!(weights, initial_weights(&model, 1));
        assert_ne!(weights, initial_weights(&model, 2));
        let Some(place) = model.layout.weights.iter().find(|place| place.name == "dense0.weight")
        else {
            panic!("no dense layer")
        };
        let values = &weights[place.range.clone()];
        let variance = values.iter().map(|w| f64::from(w * w)).sum::<f64>() / values.len() as f64;
        let expected = 2.0 / place.shape[0] as f64;
        // Of some 100,000 values the variance is known to about 0.3 %.
        assert!((variance / expected - 1.0).abs() < 0.02);
    }
}
