//! A scalar of a pipeline, and what a plain one is taken for.

/// A scalar with its type, by the core schema of YAML 1.2 (<https://yaml.org/spec/1.2.2/#103-core-schema>), except
/// that a number with a leading zero is text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Atom<'n> {
    Null,
    Bool(bool),
    /// From the least `i64` to the largest `u64`.
    Integer(i128),
    /// May be infinite or not a number.
    Real(f64),
    Text(&'n str),
    /// A whole number that 64 bits can't hold.
    Huge(&'n str),
}

/// Types a plain scalar.
pub(crate) fn plain(text: &str) -> Atom<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Atom::Null,
        "true" | "True" | "TRUE" => return Atom::Bool(true),
        "false" | "False" | "FALSE" => return Atom::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Atom::Real(f64::NAN),
        _ => {}
    }
    let (negative, unsigned) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Atom::Real(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Atom::Text(text);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let written = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return match u64::from_str_radix(digits, radix) {
                Ok(n) if written => Atom::Integer(n.into()),
                Err(_) if written => Atom::Huge(text),
                _ => Atom::Text(text),
            };
        }
    }
    let bytes = unsigned.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    if whole > 1 && bytes[0] == b'0' {
        return Atom::Text(text);
    }
    if whole == bytes.len() {
        return match text.parse::<i128>() {
            Ok(n) if i128::from(i64::MIN) <= n && n <= i128::from(u64::MAX) => Atom::Integer(n),
            _ => Atom::Huge(text),
        };
    }
    let mut at = whole;
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return Atom::Text(text);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = if at + 1 + sign <= bytes.len() { digits(at + 1 + sign) } else { 0 };
        if exponent == 0 {
            return Atom::Text(text);
        }
        at += 1 + sign + exponent;
    }
    match text.parse() {
        Ok(number) if at == bytes.len() => Atom::Real(number),
        _ => Atom::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for text in ["", "~", "null", "NULL"] {
            assert_eq!(plain(text), Atom::Null, "{text}");
        }
        for text in [
            "yes", "no", "on", "off", "y", "0123", "00", "-007", "1_000", "1e", "1e+", ".", "-",
            "+", "-.", "1.2.3", "0x", "0xg", "-0x1", "0o8", "1:30", "e3", ".e3", "12a", "nan",
            "inf", "NaN", "𝟙", "tRue",
        ] {
            assert_eq!(plain(text), Atom::Text(text));
        }
        assert_eq!(plain("0"), Atom::Integer(0));
        assert_eq!(plain("-12"), Atom::Integer(-12));
        assert_eq!(plain("+12"), Atom::Integer(12));
        assert_eq!(plain("0x1F"), Atom::Integer(31));
        assert_eq!(plain("0o17"), Atom::Integer(15));
        assert_eq!(plain("18446744073709551615"), Atom::Integer(u64::MAX.into()));
        assert_eq!(plain("18446744073709551616"), Atom::Huge("18446744073709551616"));
        assert_eq!(plain("-9223372036854775809"), Atom::Huge("-9223372036854775809"));
        let endless = "9".repeat(10_000);
        assert_eq!(plain(&endless), Atom::Huge(&endless));
        for (text, value) in [
            ("1e-3", 0.001),
            ("0.001", 0.001),
            (".5", 0.5),
            ("-.5", -0.5),
            ("1.", 1.0),
            ("+1E3", 1000.0),
        ] {
            assert_eq!(plain(text), Atom::Real(value), "{text}");
        }
        assert_eq!(plain("-.inf"), Atom::Real(f64::NEG_INFINITY));
        assert!(matches!(plain(".nan"), Atom::Real(x) if x.is_nan()));
        assert_eq!(plain("1e999"), Atom::Real(f64::INFINITY));
    }
}
