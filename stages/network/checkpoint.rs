//! A trained network as it is stored: tensors in safetensors format beside a JSON document.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::design::Design;
use super::error::CheckpointError;
use super::grid::Grid;
use super::hyperparameters::Hyperparameters;
use super::layout::TensorPlace;
use super::slots::{self, SlotsDesign, TargetTransform};

/// The version of the document and of the tensors' names and shapes.
pub(super) const FORMAT_VERSION: u32 = 2;
/// The version of the time when there was only the slot network; documents of it are still read.
const SLOTS_ONLY: u32 = 1;

/// How a network came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The kind of device that trained it.
    pub device: String,
    /// Epochs that were trained.
    pub epochs: usize,
    /// The epoch whose weights were kept.
    pub best_epoch: usize,
    /// Spectra that it learned from.
    pub training_rows: usize,
}

/// Everything about a trained network but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of this format.
    pub format_version: u32,
    /// Which network it is, and its shape.
    pub network: Design,
    /// How spectra must be scaled; the network does not look into it.
    pub scaler: serde_json::Value,
    /// How it was trained.
    pub hyperparameters: Hyperparameters,
    /// Where and how long.
    pub provenance: Provenance,
}

/// A trained network.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Everything but the weights.
    pub document: Document,
    pub(super) weights: Vec<f32>,
    pub(super) statistics: Vec<f32>,
}

impl Checkpoint {
    /// The bytes of the safetensors file and of the JSON document.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if a value of the document cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Vec<u8>), CheckpointError> {
        let layout = self.document.network.layout();
        let (weights, statistics) = (bytes_of(&self.weights), bytes_of(&self.statistics));
        let mut views = views(&layout.weights, "", &weights)?;
        views.extend(self::views(&layout.statistics, "", &statistics)?);
        let tensors = safetensors::serialize(views, None)?;
        let mut document =
            serde_json::to_vec_pretty(&self.document).map_err(CheckpointError::Document)?;
        document.push(b'\n');
        Ok((tensors, document))
    }

    /// Reads a checkpoint and checks every name, type, shape and number of it; the bytes may come from anyone.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] says what is wrong.
    pub fn from_bytes(tensors: &[u8], document: &[u8]) -> Result<Self, CheckpointError> {
        let document = Document::read(document)?;
        let tensors = SafeTensors::deserialize(tensors)?;
        let layout = document.network.layout();
        let places = || layout.weights.iter().chain(&layout.statistics);
        for name in tensors.names() {
            if !places().any(|place| place.name == name) {
                return Err(CheckpointError::Unexpected { name: name.to_owned() });
            }
        }
        Ok(Self {
            weights: read(&tensors, &layout.weights, "")?,
            statistics: read_statistics(&tensors, &layout.statistics, "")?,
            document,
        })
    }

    /// The learned values, in the order of [`Layout::weights`](super::Layout::weights).
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The running statistics, in the order of [`Layout::statistics`](super::Layout::statistics).
    pub fn statistics(&self) -> &[f32] {
        &self.statistics
    }
}

impl Document {
    fn read(bytes: &[u8]) -> Result<Self, CheckpointError> {
        /// Read first, so that another version's document is told from a broken one.
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let Version { format_version } =
            serde_json::from_slice(bytes).map_err(CheckpointError::Document)?;
        let document = match format_version {
            FORMAT_VERSION => {
                serde_json::from_slice::<Self>(bytes).map_err(CheckpointError::Document)?
            }
            SLOTS_ONLY => serde_json::from_slice::<SlotsDocument>(bytes)
                .map_err(CheckpointError::Document)?
                .into(),
            found => return Err(CheckpointError::Version { found, known: FORMAT_VERSION }),
        };
        document.network.check()?;
        Ok(document)
    }
}

/// The document of version [`SLOTS_ONLY`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotsDocument {
    #[serde(rename = "format_version")]
    _format_version: u32,
    architecture: slots::Architecture,
    grid: Grid,
    transform: TargetTransform,
    input_scale: f32,
    scaler: serde_json::Value,
    hyperparameters: Hyperparameters,
    provenance: Provenance,
}

impl From<SlotsDocument> for Document {
    fn from(old: SlotsDocument) -> Self {
        let SlotsDocument { architecture, grid, transform, input_scale, .. } = old;
        Self {
            format_version: FORMAT_VERSION,
            network: Design::Slots(SlotsDesign { architecture, grid, transform, input_scale }),
            scaler: old.scaler,
            hyperparameters: old.hyperparameters,
            provenance: old.provenance,
        }
    }
}

/// The little-endian bytes of values.
pub(super) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Named views of the parts of a flat array.
pub(super) fn views<'a>(
    places: &[TensorPlace],
    prefix: &str,
    bytes: &'a [u8],
) -> Result<Vec<(String, TensorView<'a>)>, CheckpointError> {
    places
        .iter()
        .map(|place| {
            let bytes = &bytes[4 * place.range.start..4 * place.range.end];
            let view = TensorView::new(Dtype::F32, place.shape.clone(), bytes)?;
            Ok((format!("{prefix}{}", place.name), view))
        })
        .collect()
}

/// Reads the tensors at `places` into one flat array.
pub(super) fn read(
    tensors: &SafeTensors,
    places: &[TensorPlace],
    prefix: &str,
) -> Result<Vec<f32>, CheckpointError> {
    let mut values = Vec::new();
    for place in places {
        let name = format!("{prefix}{}", place.name);
        let Ok(tensor) = tensors.tensor(&name) else {
            return Err(CheckpointError::Missing { name });
        };
        if tensor.dtype() != Dtype::F32 {
            return Err(CheckpointError::Type {
                name,
                found: format!("{:?}", tensor.dtype()),
                expected: "F32",
            });
        }
        if tensor.shape() != place.shape {
            return Err(CheckpointError::Shape {
                name,
                found: tensor.shape().to_vec(),
                expected: place.shape.clone(),
            });
        }
        let (words, _) = tensor.data().as_chunks::<4>();
        values.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
        if !values[place.range.clone()].iter().all(|v| v.is_finite()) {
            return Err(CheckpointError::Value { name });
        }
    }
    Ok(values)
}

/// [`read`] for running statistics, whose variances must not be negative.
pub(super) fn read_statistics(
    tensors: &SafeTensors,
    places: &[TensorPlace],
    prefix: &str,
) -> Result<Vec<f32>, CheckpointError> {
    let values = read(tensors, places, prefix)?;
    for place in places {
        let negative = values[place.range.clone()].iter().any(|value| *value < 0.0);
        if negative && place.name.ends_with("variance") {
            return Err(CheckpointError::Value { name: format!("{prefix}{}", place.name) });
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::examples::Examples;
    use crate::network::fixture::{Spectra, brief, started, started_detector, train};
    use crate::network::{Predictor, Training};

    fn checkpoint() -> Checkpoint {
        trained(started)
    }

    fn trained(start: fn(&Examples, Hyperparameters) -> Training) -> Checkpoint {
        let spectra = Spectra::new(60, 40, 2);
        let mut training = start(&spectra.examples(), brief());
        train(&mut training, &spectra.examples(), 1);
        training.checkpoint(serde_json::json!({"kind": "noise-rms"}), "cpu")
    }

    fn written(checkpoint: &Checkpoint) -> (Vec<u8>, Vec<u8>) {
        match checkpoint.to_bytes() {
            Ok(bytes) => bytes,
            Err(error) => panic!("{error}"),
        }
    }

    /// The tensors, changed by hand and written again.
    fn changed(
        tensors: &[u8],
        change: impl Fn(&str, &mut Vec<usize>, &mut Dtype, &mut Vec<u8>) -> bool,
    ) -> Vec<u8> {
        let Ok(read) = SafeTensors::deserialize(tensors) else { panic!("unreadable") };
        let owned: Vec<_> = read
            .tensors()
            .into_iter()
            .filter_map(|(name, view)| {
                let (mut shape, mut dtype) = (view.shape().to_vec(), view.dtype());
                let mut data = view.data().to_vec();
                change(&name, &mut shape, &mut dtype, &mut data)
                    .then_some((name, shape, dtype, data))
            })
            .collect();
        let views = owned.iter().map(|(name, shape, dtype, data)| {
            match TensorView::new(*dtype, shape.clone(), data) {
                Ok(view) => (name.clone(), view),
                Err(error) => panic!("{error}"),
            }
        });
        match safetensors::serialize(views, None) {
            Ok(bytes) => bytes,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn bytes_round_trip_exactly_and_are_stable() {
        for start in [started, started_detector] {
            round_trip(&trained(start));
        }
    }

    fn round_trip(checkpoint: &Checkpoint) {
        let (tensors, document) = written(checkpoint);
        let read = Checkpoint::from_bytes(&tensors, &document);
        let Ok(read) = read else { panic!("{read:?}") };
        assert_eq!(&read, checkpoint);
        assert_eq!(written(&read), (tensors, document));
        let spectra = Spectra::new(9, 40, 2);
        let grid = Grid { start: 100.0, step: 2.0, channels: 40 };
        let predict =
            |of: &Checkpoint| Predictor::new(of).predict(&spectra.values, &spectra.noise, &grid);
        assert_eq!(format!("{:?}", predict(&read)), format!("{:?}", predict(checkpoint)));
    }

    /// The document as it was written when there was one network.
    #[test]
    fn checkpoints_of_the_first_version_are_read() {
        let checkpoint = checkpoint();
        let (tensors, document) = written(&checkpoint);
        let Ok(mut old) = serde_json::from_slice::<serde_json::Value>(&document) else {
            panic!("no JSON")
        };
        old["format_version"] = 1.into();
        let Some(network) = old.as_object_mut().and_then(|old| old.remove("network")) else {
            panic!("no network")
        };
        for key in ["architecture", "grid", "transform", "input_scale"] {
            old[key] = network["slots"][key].clone();
        }
        if let Some(loss) = old["hyperparameters"]["loss"].as_object_mut() {
            loss.remove("detection_weight");
        }
        let read = Checkpoint::from_bytes(&tensors, old.to_string().as_bytes());
        let Ok(read) = read else { panic!("{read:?}") };
        assert_eq!(read, checkpoint);
    }

    #[test]
    fn a_detector_s_document_is_checked() {
        let (tensors, document) = written(&trained(started_detector));
        let Ok(text) = String::from_utf8(document) else { panic!("not text") };
        let read = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            Checkpoint::from_bytes(&tensors, text.replacen(from, to, 1).as_bytes())
        };
        assert!(matches!(read("\"width\": 5", "\"width\": 6"), Err(CheckpointError::Shape { .. })));
        assert!(matches!(
            read("\"width\": 5", "\"width\": 500"),
            Err(CheckpointError::Architecture(_))
        ));
        assert!(matches!(
            read("\"typical_count\": ", "\"typical_count\": -"),
            Err(CheckpointError::Value { name }) if name == "typical_count"
        ));
        assert!(matches!(read("detector", "slots"), Err(CheckpointError::Document(_))));
    }

    #[test]
    fn every_damage_to_tensors_is_named() {
        let (tensors, document) = written(&checkpoint());
        let read = |tensors: &[u8]| Checkpoint::from_bytes(tensors, &document);
        let bias = "head.bias";
        let missing = changed(&tensors, |name, _, _, _| name != bias);
        assert!(matches!(read(&missing), Err(CheckpointError::Missing { name }) if name == bias));
        let retyped = changed(&tensors, |name, _, dtype, _| {
            if name == bias {
                *dtype = Dtype::I32;
            }
            true
        });
        assert!(matches!(read(&retyped), Err(CheckpointError::Type { name, .. }) if name == bias));
        let reshaped = changed(&tensors, |name, shape, _, _| {
            if name == bias {
                shape.insert(0, 1);
            }
            true
        });
        assert!(
            matches!(read(&reshaped), Err(CheckpointError::Shape { name, .. }) if name == bias)
        );
        let poisoned = changed(&tensors, |name, _, _, data| {
            if name == bias {
                data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            }
            true
        });
        assert!(matches!(read(&poisoned), Err(CheckpointError::Value { name }) if name == bias));
        let negative = changed(&tensors, |name, _, _, data| {
            if name.ends_with("variance") {
                data[..4].copy_from_slice(&(-1f32).to_le_bytes());
            }
            true
        });
        assert!(matches!(read(&negative), Err(CheckpointError::Value { .. })));
        for cut in [0, 4, 100, tensors.len() / 2, tensors.len() - 1] {
            assert!(matches!(read(&tensors[..cut]), Err(CheckpointError::Tensors(_))));
            assert!(Training::from_bytes(&tensors[..cut]).is_err());
        }
        assert!(Training::from_bytes(&tensors).is_err());
    }

    #[test]
    fn every_damage_to_the_document_is_named() {
        let (tensors, document) = written(&checkpoint());
        let Ok(text) = String::from_utf8(document) else { panic!("not text") };
        let read = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            Checkpoint::from_bytes(&tensors, text.replacen(from, to, 1).as_bytes())
        };
        assert!(matches!(
            read("\"format_version\": 2", "\"format_version\": 3"),
            Err(CheckpointError::Version { found: 3, known: 2 })
        ));
        assert!(matches!(read("\"slots\": 2", "\"slots\": 3"), Err(CheckpointError::Shape { .. })));
        assert!(matches!(
            read("\"blocks\": 2", "\"blocks\": 1"),
            Err(CheckpointError::Unexpected { .. })
        ));
        assert!(matches!(
            read("\"filters\": 3", "\"filters\": 99999999999"),
            Err(CheckpointError::Architecture(_))
        ));
        assert!(matches!(read("\"scale\": ", "\"scale\": -"), Err(CheckpointError::Value { .. })));
        assert!(matches!(
            read("\"step\": 2.0", "\"step\": 0.0"),
            Err(CheckpointError::Value { .. })
        ));
        assert!(matches!(read("{", "["), Err(CheckpointError::Document(_))));
        assert!(matches!(read("\"seed\"", "\"sead\""), Err(CheckpointError::Document(_))));
    }
}
