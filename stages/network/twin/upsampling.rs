//! Twice as many positions, and two signals side by side: the way up in a network that first went down.

use dfdx::prelude::*;

use super::signal::Signal;

/// Doubles a signal: each position twice.
pub(super) fn double<D: Device<f32>, T: Tape<f32, D>>(
    signal: Signal<D, T>,
) -> Result<Signal<D, T>, D::Err> {
    let (spectra, length, features) = (signal.spectra(), signal.length, signal.features);
    let once = signal.positions()?;
    // dfdx can't join a tensor with itself; times one, it is another.
    let again = once.with_empty_tape().try_mul(1.0)?;
    let twice = (once, again).try_concat_along(Axis::<1>)?;
    let values = twice.try_reshape_like(&(spectra, 2 * length * features))?;
    Ok(Signal { values, length: 2 * length, features })
}

/// The features of two signals of one length, side by side at each position.
pub(super) fn beside<D: Device<f32>, T: Tape<f32, D>>(
    left: Signal<D, T>,
    right: Signal<D, T>,
) -> Result<Signal<D, T>, D::Err> {
    let spectra = left.spectra();
    let both = (left.positions()?, right.positions()?).try_concat_along(Axis::<1>)?;
    Signal::of_positions(both, spectra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::twin::comparison::{gradients, signal, traced};

    #[test]
    fn positions_double_and_their_gradients_add() {
        let input = signal(&[1.0, 2.0, 3.0, 4.0], 2, 2);
        let Ok(result) = double(traced(&input)) else { panic!("no result") };
        assert_eq!((result.length, result.features), (4, 2));
        assert_eq!(result.values.as_vec(), [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0]);
        let upstream = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0, 1000.0, 2000.0];
        let gradients = gradients(result.values, &upstream);
        assert_eq!(gradients.get(&input.values).as_vec(), [11.0, 22.0, 1100.0, 2200.0]);
    }

    #[test]
    fn features_stand_side_by_side() {
        let (left, right) = (signal(&[1.0, 2.0], 2, 1), signal(&[3.0, 4.0, 5.0, 6.0], 2, 2));
        let Ok(result) = beside(traced(&left), traced(&right)) else { panic!("no result") };
        assert_eq!((result.length, result.features), (2, 3));
        assert_eq!(result.values.as_vec(), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        let gradients = gradients(result.values, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(gradients.get(&left.values).as_vec(), [1.0, 4.0]);
        assert_eq!(gradients.get(&right.values).as_vec(), [2.0, 3.0, 5.0, 6.0]);
    }
}
