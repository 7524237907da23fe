//! What a spectral axis is called, by its unit.

/// The name of an axis with this unit: `Velocity` for `km/s`, `Frequency` for `GHz`, `Wavelength`
/// for `nm`, and otherwise `Spectral axis`.
pub fn axis_name(unit: &str) -> &'static str {
    let unit = unit.trim();
    let lower = unit.to_lowercase();
    if lower.ends_with("hz") {
        "Frequency"
    } else if ["m/s", "km/s", "m s-1", "km s-1", "m.s-1", "km.s-1"].contains(&lower.as_str()) {
        "Velocity"
    } else if ["m", "cm", "mm", "um", "µm", "nm", "angstrom", "å"].contains(&lower.as_str()) {
        "Wavelength"
    } else if lower.ends_with("ev") {
        "Energy"
    } else {
        "Spectral axis"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_says_what_the_axis_is() {
        assert_eq!(axis_name("km/s"), "Velocity");
        assert_eq!(axis_name(" m/s"), "Velocity");
        assert_eq!(axis_name("GHz"), "Frequency");
        assert_eq!(axis_name("Angstrom"), "Wavelength");
        assert_eq!(axis_name("keV"), "Energy");
        assert_eq!(axis_name(""), "Spectral axis");
    }
}
