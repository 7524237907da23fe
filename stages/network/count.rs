//! What a network says of the number of components: logits of each count, from 0.

/// −log softmax(logits) at `class`; writes `weight` times its gradient.
pub(super) fn cross_entropy(
    logits: &[f32],
    class: usize,
    weight: f64,
    gradient: &mut [f32],
) -> f64 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponential = |logit: f32| libm::exp(f64::from(logit) - f64::from(greatest));
    let total: f64 = logits.iter().map(|&logit| exponential(logit)).sum();
    for (index, (gradient, &logit)) in gradient.iter_mut().zip(logits).enumerate() {
        let truth = if index == class { 1.0 } else { 0.0 };
        *gradient = (weight * (exponential(logit) / total - truth)) as f32;
    }
    libm::log(total) + f64::from(greatest) - f64::from(logits[class])
}

/// Writes softmax(logits).
pub(super) fn softmax(logits: &[f32], probabilities: &mut [f64]) {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for (probability, &logit) in probabilities.iter_mut().zip(logits) {
        *probability = libm::exp(f64::from(logit) - f64::from(greatest));
        total += *probability;
    }
    for probability in probabilities {
        *probability /= total;
    }
}

/// The index of the greatest logit; the first of equals.
pub(super) fn most_likely(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best
}
