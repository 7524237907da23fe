//! "Did you mean": the known word closest to a misspelt one.

/// Words longer than this are not looked up: the search takes time in proportion to the square of the length.
const LONGEST: usize = 64;

/// The one of `names` that was probably meant by `word`: within a third of its letters, the first of the closest.
pub fn closest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let folded = word.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for name in names {
        if name.len() > LONGEST || name.is_empty() {
            continue;
        }
        let longer = word.chars().count().max(name.chars().count());
        let allowed = (longer / 3).max(1);
        if name.len().abs_diff(word.len()) > allowed * 4 {
            continue;
        }
        let distance = strsim::osa_distance(&folded, &name.to_lowercase());
        if distance <= allowed
            && distance < longer
            && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn finds_a_slip_and_ignores_what_is_far() {
        let names = ["epochs", "learning_rate", "seed"];
        assert_eq!(closest("epoch", names), Some("epochs"));
        assert_eq!(closest("leaning_rate", names), Some("learning_rate"));
        assert_eq!(closest("sede", names), Some("seed"));
        assert_eq!(closest("SEED", names), Some("seed"));
        assert_eq!(closest("patience", names), None);
        assert_eq!(closest("", names), None);
        assert_eq!(closest("b", ["a"]), None);
    }
}
