//! A spectrum made of components, channel by channel.

use super::{Axis, Component};

/// Beyond this many sigmas a component adds less than rounding does: 10⁻¹⁴ of its amplitude.
const REACH: f64 = 8.0;

/// Adds components to the values at the channels of `axis`, in the order in which they are given.
pub fn add_components(axis: &Axis, components: &[Component], values: &mut [f64]) {
    for component in components {
        let reach = REACH * component.sigma / axis.width();
        let centre = axis.channel(component.mean);
        let (first, last) = (libm::ceil(centre - reach), libm::floor(centre + reach));
        // Written so that what isn't a number adds nothing.
        if !(last >= 0.0 && first < values.len() as f64) {
            continue;
        }
        let first = first.max(0.0) as usize;
        let end = (last as usize + 1).min(values.len());
        for (channel, value) in (first..).zip(&mut values[first.min(end)..end]) {
            *value += component.value(axis.value(channel as f64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_the_sum_of_its_components_wherever_they_matter() {
        for step in [0.5, -0.5] {
            let axis = Axis { start: 10.0, step, channels: 60, unit: String::new() };
            let component = |amplitude, mean, sigma| Component { amplitude, mean, sigma };
            let found = [
                component(2.0, 10.0 + 20.0 * step, 1.5),
                component(-1.0, 10.0, 0.75),
                component(3.0, 10.0 + 62.0 * step, 2.0),
                component(1.0, 1e6, 2.0),
                component(1.0, -1e6, 2.0),
                component(f64::NAN, 12.0, f64::NAN),
            ];
            let mut values = vec![0.0; 60];
            add_components(&axis, &found, &mut values);
            for (channel, value) in values.iter().enumerate() {
                let x = axis.value(channel as f64);
                let sum: f64 = found[..5].iter().map(|component| component.value(x)).sum();
                assert!((value - sum).abs() < 1e-12, "{channel}: {value} {sum}");
            }
        }
    }
}
