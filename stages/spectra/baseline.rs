//! What a prediction has to beat: the same answer for every spectrum.

use super::Component;

/// Learns, from training truth, the one answer to give for every spectrum.
///
/// The number of components is the most frequent one (the smaller of two equally frequent
/// ones). Slot by slot, in order of mean, the parameters are the means over the training spectra
/// that have such a slot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConstantGuess {
    /// The number of spectra by number of components.
    counts: Vec<u64>,
    /// The number of spectra that have this slot, and the sums of the three parameters.
    sums: Vec<(u64, [f64; 3])>,
}

impl ConstantGuess {
    /// Takes in the true components of a training spectrum.
    pub fn push(&mut self, truth: &[Component]) {
        let mut sorted = truth.to_vec();
        sorted.sort_by(|a, b| a.mean.total_cmp(&b.mean));
        if self.counts.len() <= sorted.len() {
            self.counts.resize(sorted.len() + 1, 0);
            self.sums.resize(sorted.len(), (0, [0.0; 3]));
        }
        self.counts[sorted.len()] += 1;
        for ((n, sums), c) in self.sums.iter_mut().zip(&sorted) {
            *n += 1;
            for (sum, value) in sums.iter_mut().zip([c.amplitude, c.mean, c.sigma]) {
                *sum += value;
            }
        }
    }

    /// The most frequent number of components; 0 if there were no spectra.
    pub fn majority_count(&self) -> usize {
        let most = self.counts.iter().copied().max();
        self.counts.iter().position(|&n| Some(n) == most).unwrap_or(0)
    }

    /// The answer with the most frequent number of components.
    pub fn components(&self) -> Vec<Component> {
        self.slots().into_iter().take(self.majority_count()).collect()
    }

    /// The mean component of every slot, however many: the best constant guess of the
    /// parameters of active slots, whatever the count.
    pub fn slots(&self) -> Vec<Component> {
        self.sums
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|&(n, [amplitude, mean, sigma])| Component {
                amplitude: amplitude / n as f64,
                mean: mean / n as f64,
                sigma: sigma / n as f64,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(amplitude: f64, mean: f64, sigma: f64) -> Component {
        Component { amplitude, mean, sigma }
    }

    #[test]
    fn the_guess_is_the_majority_and_the_mean() {
        let mut guess = ConstantGuess::default();
        guess.push(&[component(1.0, 10.0, 2.0)]);
        guess.push(&[component(5.0, 40.0, 1.0), component(3.0, 20.0, 4.0)]);
        guess.push(&[component(2.0, 30.0, 3.0)]);
        guess.push(&[]);
        assert_eq!(guess.majority_count(), 1);
        assert_eq!(guess.components(), [component(2.0, 20.0, 3.0)]);
        assert_eq!(guess.slots()[1], component(5.0, 40.0, 1.0));
    }

    #[test]
    fn without_training_spectra_it_guesses_nothing() {
        assert_eq!(ConstantGuess::default().components(), []);
    }
}
