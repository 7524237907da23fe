//! Text as the figures need it: widths in the bundled font, cut to fit, axis labels with units.

/// The advances of the bundled font for ASCII 32…126, in 1/2048 em.
const ADVANCES: [u16; 95] = [
    651, 821, 942, 1716, 1303, 1946, 1597, 563, 799, 799, 1024, 1716, 651, 739, 651, 690, 1303,
    1303, 1303, 1303, 1303, 1303, 1303, 1303, 1303, 1303, 690, 690, 1716, 1716, 1716, 1087, 2048,
    1401, 1405, 1430, 1577, 1294, 1178, 1587, 1540, 604, 604, 1343, 1141, 1767, 1532, 1612, 1235,
    1612, 1423, 1300, 1251, 1499, 1401, 2025, 1403, 1251, 1403, 799, 690, 799, 1716, 1024, 1024,
    1255, 1300, 1126, 1300, 1260, 721, 1300, 1298, 569, 569, 1186, 569, 1995, 1298, 1253, 1300,
    1300, 842, 1067, 803, 1298, 1212, 1675, 1212, 1212, 1075, 1303, 690, 1303, 1716,
];

/// The width of `text` in the bundled font at `size`, in pixels.
pub(super) fn width(text: &str, size: u32) -> f64 {
    let units: f64 = text
        .chars()
        .map(|c| {
            let ascii = (c as usize).checked_sub(32).and_then(|i| ADVANCES.get(i));
            match (ascii, c) {
                (Some(advance), _) => f64::from(*advance),
                (None, '⁰'..='⁹' | '²' | '³' | '¹' | '⁻') => 860.0,
                (None, '±' | '−' | '×' | '≤' | '≥') => 1716.0,
                (None, '\u{2e80}'..) => 2048.0,
                (None, _) => 1310.0,
            }
        })
        .sum();
    units / 2048.0 * f64::from(size)
}

/// `text`, shortened with an ellipsis where it is wider than `room`.
pub(super) fn fit(text: &str, size: u32, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_string();
    }
    let mut short = String::new();
    let mut used = width("…", size);
    for c in text.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        short.push(c);
    }
    format!("{}…", short.trim_end())
}

/// Characters that XML cannot hold become spaces, and a dollar sign stays one.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // The drawing library reads `$…$` as mathematics.
            '$' => out.push_str("\\$"),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// An axis label: the name, and in brackets the unit and a power of ten, where there are any.
pub(super) fn axis_label(name: &str, unit: &str, exponent: i32) -> String {
    match scaled_unit(unit, exponent).as_str() {
        "" => name.to_string(),
        unit => format!("{name} ({unit})"),
    }
}

/// A unit, and the power of ten by which the numbers beside it are to be multiplied; as one word where there is one in use.
pub(super) fn scaled_unit(unit: &str, exponent: i32) -> String {
    if exponent == 0 {
        return unit.to_string();
    }
    let plain = || format!("{} {unit}", power(exponent)).trim_end().to_string();
    prefixed(unit, exponent).unwrap_or_else(plain)
}

/// The name of the unit that is 10 to the power `exponent` times `unit`, where astronomers use that one.
pub(super) fn prefixed(unit: &str, exponent: i32) -> Option<String> {
    const PREFIXES: [(&str, i32, &str); 11] = [
        ("m/s", 3, "k"),
        ("m s-1", 3, "k"),
        ("Hz", 3, "k"),
        ("Hz", 6, "M"),
        ("Hz", 9, "G"),
        ("K", -3, "m"),
        ("K", -6, "µ"),
        ("Jy", -3, "m"),
        ("Jy", -6, "µ"),
        ("Jy/beam", -3, "m"),
        ("Jy/beam", -6, "µ"),
    ];
    PREFIXES.iter().filter(|(_, power, _)| *power == exponent).find_map(|(name, _, prefix)| {
        // The last of several factors takes it.
        let others = unit.strip_suffix(name)?;
        (others.is_empty() || others.ends_with(' ')).then(|| format!("{others}{prefix}{name}"))
    })
}

/// 10 to the power `exponent`, with a raised exponent.
pub(super) fn power(exponent: i32) -> String {
    let raised = exponent.to_string();
    let raised = raised.chars().map(|c| match c {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        _ => '⁹',
    });
    std::iter::once('1').chain(['0']).chain(raised).collect()
}

/// `count` with thin groups of three, as in `12,345`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        // "0" has an advance of 1303/2048 em.
        assert!((width("00", 10) - 2.0 * 13.03 / 2.048).abs() < 1e-12);
        assert!(width("−1", 9) > width("1", 9));
    }

    #[test]
    fn long_text_is_cut_to_the_room() {
        let cut = fit("a title that is far too long", 9, 60.0);
        assert!(cut.ends_with('…') && width(&cut, 9) <= 60.0);
        assert_eq!(fit("short", 9, 60.0), "short");
    }

    #[test]
    fn labels_name_unit_and_power() {
        assert_eq!(axis_label("Velocity", "km/s", 0), "Velocity (km/s)");
        assert_eq!(axis_label("Intensity", "", 0), "Intensity");
        assert_eq!(axis_label("Velocity", "m/s", 3), "Velocity (km/s)");
        assert_eq!(axis_label("Integrated intensity", "K m/s", 3), "Integrated intensity (K km/s)");
        assert_eq!(
            axis_label("Integrated intensity", "K m/s", -3),
            "Integrated intensity (10⁻³ K m/s)"
        );
        assert_eq!(
            axis_label("Integrated intensity", "K km/s", 3),
            "Integrated intensity (10³ K km/s)"
        );
        assert_eq!(axis_label("Intensity", "K", -3), "Intensity (mK)");
        assert_eq!(axis_label("Intensity", "K", 6), "Intensity (10⁶ K)");
        assert_eq!(axis_label("Frequency", "", 12), "Frequency (10¹²)");
    }

    #[test]
    fn hostile_text_is_made_harmless() {
        assert_eq!(clean("a\u{0}b$c"), "a b\\$c");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }
}
