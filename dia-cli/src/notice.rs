//! What was noticed on the way, and the verdict that follows.

use serde::Serialize;

/// How far a result can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing speaks against it.
    #[default]
    Pass,
    /// Something was estimated or is unusual: look at it.
    Warn,
    /// It is wrong, or cannot be told from what is wrong.
    Fail,
}

impl Level {
    /// In the words of header and terminal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }

    /// What it means for who wants to use the result.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Pass => "Nothing speaks against this result.",
            Self::Warn => {
                "Something about this result is doubtful: look at the reasons before it is used."
            }
            Self::Fail => "This result is not to be used.",
        }
    }
}

/// One thing that was noticed. Of level `Pass`, it tells what was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Notice {
    pub(crate) level: Level,
    /// A short name that does not change, for programs.
    pub(crate) code: &'static str,
    /// What was measured, where it is a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// What it would have to keep to for the level to be a better one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<f64>,
    /// The same in words, with file, value and remedy.
    pub(crate) text: String,
}

impl Notice {
    pub(crate) fn new(level: Level, code: &'static str, text: String) -> Self {
        Self { level, code, value: None, limit: None, text }
    }

    /// The same with the number that it is about, and its limit.
    pub(crate) fn measured(self, value: f64, limit: f64) -> Self {
        Self { value: Some(value), limit: Some(limit), ..self }
    }
}

/// The verdict on a result: the worst of what was noticed, and all that is not merely told.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    pub(crate) reasons: Vec<Notice>,
}

impl Verdict {
    pub(crate) fn of(notices: &[Notice]) -> Self {
        let reasons: Vec<Notice> =
            notices.iter().filter(|notice| notice.level > Level::Pass).cloned().collect();
        let level = reasons.iter().map(|reason| reason.level).max().unwrap_or_default();
        Self { level, reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::{Level, Notice, Verdict};

    #[test]
    fn a_verdict_is_the_worst_of_its_reasons() {
        let notice = |level| Notice::new(level, "code", "text".into());
        assert_eq!(Verdict::of(&[notice(Level::Pass)]), Verdict::default());
        let verdict = Verdict::of(&[notice(Level::Warn), notice(Level::Fail), notice(Level::Pass)]);
        assert_eq!((verdict.level, verdict.reasons.len()), (Level::Fail, 2));
    }
}
