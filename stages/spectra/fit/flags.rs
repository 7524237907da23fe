//! What is questionable about a component or a fit.

/// A set of doubts about a component, or about a fit as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u32);

impl Flags {
    /// No doubt.
    pub const NONE: Self = Self(0);
    /// The component's mean and another's are nearer than half the sum of their full widths at half maximum.
    pub const BLENDED: Self = Self(1);
    /// A parameter of the component is at the end of the range that it may have.
    pub const AT_BOUND: Self = Self(2);
    /// The component is at least twice as wide as any other of its spectrum.
    pub const BROAD: Self = Self(4);
    /// Within two sigma of the component's mean, the residual has a dip of five times its noise or more, such as a wide
    /// component over two narrow lines leaves between them.
    pub const NEGATIVE_RESIDUAL: Self = Self(8);
    /// The reduced χ² is above 1 by more than four of its standard deviations, 4 √(2/ν): something is left that isn't
    /// noise.
    pub const POOR_CHI_SQUARED: Self = Self(16);
    /// The fit was cut off before it had converged.
    pub const NOT_CONVERGED: Self = Self(32);

    /// Every flag with its name, in order of its bit.
    pub const NAMES: [(Self, &'static str); 6] = [
        (Self::BLENDED, "blended"),
        (Self::AT_BOUND, "at_bound"),
        (Self::BROAD, "broad"),
        (Self::NEGATIVE_RESIDUAL, "negative_residual"),
        (Self::POOR_CHI_SQUARED, "poor_chi_squared"),
        (Self::NOT_CONVERGED, "not_converged"),
    ];

    /// The set as a number, a bit for each flag.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set that this number stands for.
    pub(crate) const fn of_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds `flag` where `doubtful`.
    #[must_use]
    pub fn with(self, flag: Self, doubtful: bool) -> Self {
        if doubtful { Self(self.0 | flag.0) } else { self }
    }

    /// The names of the flags in the set, separated by spaces.
    pub fn names(self) -> String {
        let set = Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag));
        set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_told_by_bits_and_names() {
        let set =
            Flags::NONE.with(Flags::BROAD, true).with(Flags::AT_BOUND, false) | Flags::BLENDED;
        assert_eq!((set.bits(), set.names().as_str()), (5, "blended broad"));
        assert!(set.contains(Flags::BROAD) && !set.contains(Flags::AT_BOUND));
        assert_eq!(Flags::NONE.names(), "");
        let bits: Vec<u32> = Flags::NAMES.iter().map(|(flag, _)| flag.bits()).collect();
        assert_eq!(bits, [1, 2, 4, 8, 16, 32]);
    }
}
