//! The detector by its definition, in `f64` and with plain loops: what the fast one is checked against.

use super::{
    convolution::Convolution,
    model::{Model, Plain},
    normalization::Way,
};

/// A signal: spectra, each (length × features).
type Signal = Vec<Vec<f64>>;

/// What the heads say of a batch of `planes` (C × 2 of each spectrum), normalised over the batch: (length × 12) and the logits.
pub(super) fn outputs(model: &Model, weights: &[f64], planes: &Signal) -> (Signal, Signal) {
    let length = model.head.convolution.length;
    let mut inputs: Vec<Signal> = (0..=model.layers.len())
        .map(|layer| {
            let convolution = model.reader(layer);
            vec![vec![0.0; convolution.length * convolution.inputs]; planes.len()]
        })
        .collect();
    for (input, planes) in inputs[0].iter_mut().zip(planes) {
        input[..planes.len()].copy_from_slice(planes);
    }
    let mut bottom = Signal::new();
    for (index, layer) in model.layers.iter().enumerate() {
        let mut result =
            convolved(&layer.convolution, &weights[layer.weights.clone()], &inputs[index]);
        rectify(&mut result, &weights[layer.scale.clone()], &weights[layer.shift.clone()]);
        let features = layer.convolution.filters;
        for reader in &layer.readers {
            let to = *model.reader(reader.layer);
            for (input, result) in inputs[reader.layer].iter_mut().zip(&result) {
                for position in 0..to.length {
                    for f in 0..features {
                        let at = |position: usize| result[position * features + f];
                        input[position * to.inputs + reader.feature + f] = match reader.way {
                            Way::Copy => at(position),
                            Way::Pool => at(2 * position).max(at(2 * position + 1)),
                            Way::Repeat => at(position / 2),
                        };
                    }
                }
            }
        }
        if index == model.bottom {
            bottom = result;
        }
    }
    let top = &inputs[model.layers.len()];
    let told = applied(&model.head, weights, top);
    let pools: Signal = bottom
        .iter()
        .zip(top)
        .map(|(bottom, top)| {
            let mut all = pooled(bottom, model.layers[model.bottom].convolution.filters);
            all.extend(pooled(top, model.head.convolution.inputs));
            all
        })
        .collect();
    let mut hidden = applied(&model.hidden, weights, &pools);
    hidden.iter_mut().flatten().for_each(|value| *value = value.max(0.0));
    let counts = applied(&model.count, weights, &hidden);
    assert!(told.iter().all(|told| told.len() == length * model.head.convolution.filters));
    (told, counts)
}

fn pooled(signal: &[f64], features: usize) -> Vec<f64> {
    let column = |f: usize| signal.iter().skip(f).step_by(features).copied();
    let length = (signal.len() / features) as f64;
    let greatest = (0..features).map(|f| column(f).fold(f64::MIN, f64::max));
    greatest.chain((0..features).map(|f| column(f).sum::<f64>() / length)).collect()
}

fn convolved(layer: &Convolution, weights: &[f64], inputs: &Signal) -> Signal {
    let mut outputs = vec![vec![0.0; layer.length * layer.filters]; inputs.len()];
    for (input, output) in inputs.iter().zip(&mut outputs) {
        for (index, output) in output.iter_mut().enumerate() {
            let (position, filter) = (index / layer.filters, index % layer.filters);
            for tap in 0..layer.kernel {
                let Some(source) = (position + tap).checked_sub(layer.kernel / 2) else {
                    continue;
                };
                if source >= layer.length {
                    continue;
                }
                for feature in 0..layer.inputs {
                    *output += input[source * layer.inputs + feature]
                        * weights[(tap * layer.inputs + feature) * layer.filters + filter];
                }
            }
        }
    }
    outputs
}

fn applied(layer: &Plain, weights: &[f64], inputs: &Signal) -> Signal {
    let mut outputs = convolved(&layer.convolution, &weights[layer.weights.clone()], inputs);
    let bias = &weights[layer.bias.clone()];
    for output in &mut outputs {
        for (index, value) in output.iter_mut().enumerate() {
            *value += bias[index % bias.len()];
        }
    }
    outputs
}

fn rectify(signal: &mut Signal, scale: &[f64], shift: &[f64]) {
    let features = scale.len();
    for f in 0..features {
        let of = || signal.iter().flat_map(|values| values.iter().skip(f).step_by(features));
        let count = of().count() as f64;
        let mean = of().sum::<f64>() / count;
        let variance = of().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
        let factor = scale[f] / (variance + 1e-5).sqrt();
        for value in
            signal.iter_mut().flat_map(|values| values.iter_mut().skip(f).step_by(features))
        {
            *value = ((*value - mean) * factor + shift[f]).max(0.0);
        }
    }
}
