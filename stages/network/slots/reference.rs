//! The network by its definition, in `f64` and with plain loops: what the fast one is checked against.

use super::model::{Model, NormalizationPlace};

/// What the heads say of a batch of `planes` (spectra × C × 2), normalised over the batch; `masks` multiply the features and
/// the result of each dense layer, as dropout does.
pub(in crate::network) fn outputs(
    model: &Model,
    weights: &[f64],
    planes: &[f64],
    masks: &[Vec<f64>],
) -> Vec<f64> {
    let spectra = planes.len() / (model.channels * crate::network::encoding::PLANES);
    let mut signal = planes.to_vec();
    for block in &model.blocks {
        let (layer, outputs) = (&block.convolution, block.convolution.outputs());
        let mut convolved = vec![0.0; spectra * layer.length * outputs];
        let mut first = block.weights.start;
        for (branch, &kernel) in layer.kernels.iter().enumerate() {
            for (index, value) in convolved.iter_mut().enumerate() {
                let (row, output) = (index / outputs, index % outputs);
                let (spectrum, position) = (row / layer.length, row % layer.length);
                let Some(filter) = output.checked_sub(branch * layer.filters) else {
                    continue;
                };
                if filter >= layer.filters {
                    continue;
                }
                for tap in 0..kernel {
                    let Some(source) = (position + tap).checked_sub(kernel / 2) else {
                        continue;
                    };
                    if source >= layer.length {
                        continue;
                    }
                    for input in 0..layer.inputs {
                        *value += signal[(spectrum * layer.length + source) * layer.inputs + input]
                            * weights
                                [first + (tap * layer.inputs + input) * layer.filters + filter];
                    }
                }
            }
            first += kernel * layer.inputs * layer.filters;
        }
        rectify(&mut convolved, weights, &block.normalization);
        let half = layer.length / 2;
        signal = (0..spectra * half * outputs)
            .map(|index| {
                let (row, f) = (index / outputs, index % outputs);
                let left = (row / half * layer.length + row % half * 2) * outputs + f;
                convolved[left].max(convolved[left + outputs])
            })
            .collect();
    }
    mask(&mut signal, &masks[0]);
    for (index, hidden) in model.hidden.iter().enumerate() {
        let weight = &weights[hidden.weights.clone()];
        signal = product(&signal, weight, hidden.dense.inputs, hidden.dense.outputs);
        rectify(&mut signal, weights, &hidden.normalization);
        mask(&mut signal, &masks[index + 1]);
    }
    let head = model.head;
    let weight = &weights[model.head_weights.clone()];
    let mut outputs = product(&signal, weight, head.inputs, head.outputs);
    for (index, value) in outputs.iter_mut().enumerate() {
        *value += weights[model.head_bias.start + index % head.outputs];
    }
    outputs
}

fn mask(values: &mut [f64], mask: &[f64]) {
    for (value, mask) in values.iter_mut().zip(mask) {
        *value *= mask;
    }
}

fn product(rows: &[f64], weights: &[f64], inputs: usize, outputs: usize) -> Vec<f64> {
    rows.chunks_exact(inputs)
        .flat_map(|row| {
            (0..outputs).map(move |o| (0..inputs).map(|i| row[i] * weights[i * outputs + o]).sum())
        })
        .collect()
}

fn rectify(values: &mut [f64], weights: &[f64], place: &NormalizationPlace) {
    let features = place.weight.len();
    let count = (values.len() / features) as f64;
    for f in 0..features {
        let of = || values.iter().skip(f).step_by(features);
        let mean = of().sum::<f64>() / count;
        let variance = of().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
        let scale = weights[place.weight.start + f] / (variance + 1e-5).sqrt();
        for value in values.iter_mut().skip(f).step_by(features) {
            *value = ((*value - mean) * scale + weights[place.bias.start + f]).max(0.0);
        }
    }
}
