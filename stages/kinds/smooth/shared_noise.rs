//! How much of a pixel's noise its neighbours share.

/// The pixels next to one, of each two that are opposite the one that comes later.
pub(super) const OFFSETS: [(i64, i64); 4] = [(1, 0), (0, 1), (1, 1), (-1, 1)];

/// The correlation of the noise of pixels next to each other, in a field whose beam may cover several.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SharedNoise {
    /// By offset; `None` where no two spectra have enough channels in common to tell.
    pub(super) correlations: [Option<f64>; 4],
}

impl SharedNoise {
    /// The correlation of a pixel's noise with that of the one that is so far from it.
    pub(super) fn at(&self, (dx, dy): (i64, i64)) -> Option<f64> {
        let same = |offset: &(i64, i64)| *offset == (dx, dy) || *offset == (-dx, -dy);
        self.correlations[OFFSETS.iter().position(same)?]
    }
}

impl std::fmt::Display for SharedNoise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [x, y, up, down] = self.correlations.map(|found| match found {
            Some(found) => format!("{found:.3}"),
            None => "unknown".to_owned(),
        });
        write!(f, "{x} along x, {y} along y, {up} and {down} across the corners")
    }
}
