//! The value of one card: parsing and fixed-format text.

/// The value of a header card. Numbers carry the units that the card's comment states.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A keyword without a value.
    Undefined,
    /// T or F.
    Bool(bool),
    /// An integer that fits 64 signed bits.
    Integer(i64),
    /// A real number, or an integer beyond 64 bits.
    Float(f64),
    /// A quoted string, without trailing blanks.
    Text(String),
    /// Anything else (complex numbers, unquoted text), as it stands in the card.
    Other(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undefined => f.write_str("undefined"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) | Self::Other(value) => f.write_str(value),
        }
    }
}

impl From<f64> for Value {
    /// A number that is not finite has no FITS form and becomes undefined.
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Float(value) } else { Self::Undefined }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl Value {
    /// Parses the text after the value indicator; returns the value and the comment.
    pub(super) fn parse(field: &str) -> (Self, String) {
        let field = field.trim();
        if let Some(rest) = field.strip_prefix('\'') {
            let (text, rest) = unquote(rest);
            return (Self::Text(text), comment(rest));
        }
        let end = field.find('/').unwrap_or(field.len());
        let token = field[..end].trim();
        let value = match token {
            "" => Self::Undefined,
            "T" => Self::Bool(true),
            "F" => Self::Bool(false),
            _ => Self::number(token).unwrap_or_else(|| Self::Other(token.to_owned())),
        };
        (value, comment(&field[end..]))
    }

    /// Fortran writes the exponent with D; Rust alone would also take "inf" and "nan".
    pub(super) fn number(token: &str) -> Option<Self> {
        if let Ok(integer) = token.parse() {
            return Some(Self::Integer(integer));
        }
        let allowed = |byte: u8| byte.is_ascii_digit() || b"+-.eEdD".contains(&byte);
        if !token.bytes().all(allowed) {
            return None;
        }
        let number: f64 = token.replace(['d', 'D'], "E").parse().ok()?;
        number.is_finite().then_some(Self::Float(number))
    }

    /// The card text of a value that is not a string: at most 20 characters where the digits allow it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Undefined => String::new(),
            Self::Bool(value) => if *value { "T" } else { "F" }.to_owned(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => float_text(*value),
            Self::Text(text) | Self::Other(text) => text.clone(),
        }
    }
}

/// Reads to the closing quote, with '' for a quote; returns the string without trailing blanks and what follows it.
fn unquote(field: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = field.char_indices().peekable();
    let mut end = field.len();
    while let Some((index, char)) = chars.next() {
        if char != '\'' {
            text.push(char);
        } else if chars.next_if(|&(_, next)| next == '\'').is_some() {
            text.push('\'');
        } else {
            end = index + 1;
            break;
        }
    }
    text.truncate(text.trim_end_matches(' ').len());
    (text, &field[end..])
}

fn comment(rest: &str) -> String {
    rest.split_once('/').map_or("", |(_, comment)| comment).trim().to_owned()
}

/// The shortest digits that read back to the same number, with a point, as plain or exponential text.
fn float_text(value: f64) -> String {
    let plain = format!("{value:?}");
    let scientific = format!("{value:e}");
    let shortest = if plain.contains('e') || plain.len() > 20 { scientific } else { plain };
    match shortest.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => shortest,
    }
}
