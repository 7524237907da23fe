//! The lines that tell of a stage or a run.

use std::{fmt::Write as _, time::Duration};

use pipe_engine::{Failure, Outcome, PartCount, RunReport, StageReport, Wait};

use crate::cli::{
    folders,
    text::{self, ERROR, GOOD, QUIET, WARNING, styled},
};

/// How much of what a command printed is shown when it fails, in lines.
const LOG_LINES: usize = 40;

/// The width of the column of names.
pub(crate) fn name_width<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    const MOST: usize = 48;
    names.map(|name| name.chars().count()).max().unwrap_or(0).min(MOST)
}

/// `executed  train     41.2 s  learning_rate 0.001 → 0.002`. The reason of a reuse only if `all_reasons`.
pub(crate) fn stage(report: &StageReport, width: usize, all_reasons: bool) -> String {
    let (style, word) = match report.outcome {
        Outcome::Executed => (GOOD, "executed"),
        Outcome::Reused => (QUIET, "reused"),
        Outcome::Failed => (ERROR, "failed"),
        Outcome::Skipped => (WARNING, "skipped"),
        Outcome::WouldExecute => (GOOD, "execute"),
        Outcome::WouldReuse => (QUIET, "reuse"),
        Outcome::Unknown => (WARNING, "unknown"),
    };
    let time = match report.outcome {
        Outcome::Executed | Outcome::Failed => seconds(report.seconds),
        _ => String::new(),
    };
    let mut reason = match report.outcome {
        Outcome::Reused | Outcome::WouldReuse if !all_reasons => String::new(),
        _ => text::one_line(&report.reason).into_owned(),
    };
    if let Some(PartCount { all, known, unit }) = report.parts.filter(|parts| parts.known > 0) {
        let _ = write!(reason, "; {known} of {all} {unit} known");
    }
    let word = styled(style, format_args!("{word:8}"));
    let planned =
        matches!(report.outcome, Outcome::WouldExecute | Outcome::WouldReuse | Outcome::Unknown);
    let line = if planned {
        format!("{word}  {:width$}  {}", report.name, styled(QUIET, &reason))
    } else {
        format!("{word}  {:width$}  {time:>9}  {}", report.name, styled(QUIET, &reason))
    };
    if reason.is_empty() {
        let empty = styled(QUIET, "");
        return line.trim_end_matches(&empty).trim_end().to_owned();
    }
    line
}

/// The fingerprint and the digests of the outputs, indented.
pub(crate) fn digests(report: &StageReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(fingerprint) = report.fingerprint {
        lines.push(styled(QUIET, format_args!("          fingerprint {}", fingerprint.hex())));
    }
    for (output, digest) in &report.outputs {
        lines.push(styled(QUIET, format_args!("          {output} {}", digest.hex())));
    }
    lines
}

/// Why a stage failed, with the end of what it printed.
pub(crate) fn failure(stage: &str, failure: &Failure) -> String {
    let mut text = format!("stage `{stage}`: {}", failure.message.trim_end());
    let log = failure.log.as_deref().unwrap_or("").trim_end();
    if !log.is_empty() {
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(LOG_LINES);
        if skipped > 0 {
            let _ = write!(text, "\n  … {skipped} lines before");
        }
        for line in &lines[skipped..] {
            text.push_str("\n  ");
            text.push_str(styled(QUIET, "|").as_str());
            text.push(' ');
            text.push_str(&text::plain(line));
        }
    }
    text
}

/// For whom a stage waits, and from the second time on what to do about it.
pub(crate) fn waits(stage: &str, wait: &Wait<'_>) -> String {
    let Wait { owner, since, lease } = *wait;
    let owner = text::one_line(owner);
    if since < Duration::from_mins(1) {
        return format!("`{stage}` waits: {owner} is computing the same");
    }
    format!(
        "`{stage}` has waited {} for {owner}, which is computing the same; if that hangs or is gone, `pipe run --ignore-lease` \
         computes it here, too (its lease is {})",
        seconds(since.as_secs_f64()),
        folders::from_here(lease).display()
    )
}

/// `9 stages: 2 to execute, 7 to reuse`.
pub(crate) fn counts(report: &RunReport, words: &[(Outcome, &str)]) -> String {
    let stages = report.stages.len();
    let parts: Vec<String> = words
        .iter()
        .map(|(outcome, word)| (report.count(*outcome), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let plural = if stages == 1 { "stage" } else { "stages" };
    format!("{stages} {plural}: {}", parts.join(", "))
}

/// `9 stages: 2 executed, 7 reused in 43.1 s`.
pub(crate) fn summary(report: &RunReport) -> String {
    let words = [
        (Outcome::Executed, "executed"),
        (Outcome::Reused, "reused"),
        (Outcome::Failed, "failed"),
        (Outcome::Skipped, "skipped"),
    ];
    let stopped = if report.interrupted { "; interrupted" } else { "" };
    format!("{} in {}{stopped}", counts(report, &words), seconds(report.seconds))
}

/// A duration for people.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 99.95 => format!("{s:.1} s"),
        s => {
            let whole = s.round() as u64;
            match (whole / 3600, whole / 60 % 60, whole % 60) {
                (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
                (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let cases = [
            (0.004, "0.00 s"),
            (9.99, "9.99 s"),
            (41.23, "41.2 s"),
            (192.0, "3m 12s"),
            (7260.0, "2h 01m"),
        ];
        for (duration, text) in cases {
            assert_eq!(seconds(duration), text);
        }
    }

    #[test]
    fn a_log_keeps_its_last_lines_and_loses_its_controls() {
        let log = (0..100).map(|i| format!("\u{1b}[31m{i}\r{i}!")).collect::<Vec<_>>().join("\n");
        let failed =
            Failure { message: "it broke".into(), log: Some(log), whole_log: None, system: false };
        let text = text::render(&failure("s", &failed), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "stage `s`: it broke");
        assert_eq!(lines[1], "  … 60 lines before");
        assert_eq!((lines[2], lines[41], lines.len()), ("  | 60!", "  | 99!", 42));
    }
}
