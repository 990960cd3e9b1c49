//! A header: 80-byte cards in their order, and what they mean.

use super::value::Value;

/// Bytes in a card.
pub const CARD_LENGTH: usize = 80;

/// Columns of a HISTORY or COMMENT card that hold text.
const COMMENTARY_LENGTH: usize = 72;

/// One line of a header, verbatim.
pub type Card = [u8; CARD_LENGTH];

/// The cards of one HDU in their order, without END. Keywords are looked up without regard to case; the first card of a
/// name counts. Names of HIERARCH cards are given with or without the word HIERARCH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    cards: Vec<Card>,
}

impl Header {
    /// A header without cards.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a card as it is.
    pub fn push_card(&mut self, card: Card) {
        self.cards.push(card);
    }

    /// The cards, verbatim and in order.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// The value and the comment of `keyword`, or None when there is no such card.
    pub fn get(&self, keyword: &str) -> Option<(Value, String)> {
        self.find(keyword).map(|index| self.value_at(index))
    }

    /// The number in `keyword`; None when it is missing or not a number.
    pub fn get_f64(&self, keyword: &str) -> Option<f64> {
        match self.get(keyword)?.0 {
            Value::Float(value) => Some(value),
            Value::Integer(value) => Some(value as f64),
            _ => None,
        }
    }

    /// As [`get_f64`](Self::get_f64), also of a number that was written as a string, perhaps with a unit after it: `'1.5'`,
    /// `'1.5D0 e-/ADU'`.
    pub fn get_number(&self, keyword: &str) -> Option<f64> {
        let of_text = || {
            let text = self.get_str(keyword)?;
            let (number, unit) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            let is_unit =
                |unit: &str| unit.is_empty() || unit.starts_with(['e', 'E', 'a', 'A', '[']);
            match Value::number(number).filter(|_| is_unit(unit.trim_start()))? {
                Value::Float(value) => Some(value),
                Value::Integer(value) => Some(value as f64),
                _ => None,
            }
        };
        self.get_f64(keyword).or_else(of_text)
    }

    /// The integer in `keyword` (also one written as 4.0); None when it is missing or not an integer.
    pub fn get_i64(&self, keyword: &str) -> Option<i64> {
        match self.get(keyword)?.0 {
            Value::Integer(value) => Some(value),
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 2f64.powi(63) => {
                Some(value as i64)
            }
            _ => None,
        }
    }

    /// The string in `keyword`, with its CONTINUE cards; None when it is missing or not a string.
    pub fn get_str(&self, keyword: &str) -> Option<String> {
        match self.get(keyword)?.0 {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The logical value in `keyword`; None when it is missing or neither T nor F.
    pub fn get_bool(&self, keyword: &str) -> Option<bool> {
        match self.get(keyword)?.0 {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Whether there is a value card of this name.
    pub fn contains(&self, keyword: &str) -> bool {
        self.find(keyword).is_some()
    }

    /// The names of all value cards in order, for instance to list the `MP_*` planes of a mask.
    pub fn keywords(&self) -> impl Iterator<Item = String> + '_ {
        self.cards.iter().filter(|card| split_card(card).1.is_some()).map(keyword_of)
    }

    /// Sets `keyword` in its place, or appends it. An empty `comment` keeps the old one.
    ///
    /// Names longer than 8 characters, or with other characters than A-Z, 0-9, `-` and `_`, become HIERARCH cards; names
    /// are cut at 60 characters. Strings that do not fit one card go on in CONTINUE cards. Numbers that are not finite
    /// become undefined values. Characters outside printable ASCII become `?`.
    pub fn set(&mut self, keyword: &str, value: impl Into<Value>, comment: &str) {
        let place = self.find(keyword);
        let old_comment = place.map(|index| self.value_at(index).1).unwrap_or_default();
        let comment = if comment.is_empty() { &old_comment } else { comment };
        let cards = format_cards(keyword, value.into(), comment);
        let range =
            place.map_or(self.cards.len()..self.cards.len(), |index| index..self.end_of(index));
        self.cards.splice(range, cards);
    }

    /// Appends a card of this name, whether or not there is one. As in [`set`](Self::set) otherwise.
    pub(super) fn append(&mut self, keyword: &str, value: Value, comment: &str) {
        self.cards.extend(format_cards(keyword, value, comment));
    }

    /// Removes every card of this name, with its CONTINUE cards. Returns whether there was one.
    pub fn remove(&mut self, keyword: &str) -> bool {
        let wanted = normal_keyword(keyword);
        let before = self.cards.len();
        self.retain(|name| name != wanted);
        self.cards.len() < before
    }

    /// Keeps the cards whose name (HIERARCH names without the word) passes; CONTINUE cards share the fate of theirs.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let mut kept = true;
        self.cards.retain(|card| {
            let name = keyword_of(card);
            if name != "CONTINUE" {
                kept = keep(&name);
            }
            kept
        });
    }

    /// Appends HISTORY cards: one or more per line of `text`, wrapped to 72 columns.
    pub fn push_history(&mut self, text: &str) {
        self.push_commentary("HISTORY", text);
    }

    /// Appends COMMENT cards: one or more per line of `text`, wrapped to 72 columns.
    pub fn push_comment(&mut self, text: &str) {
        self.push_commentary("COMMENT", text);
    }

    /// Appends all cards of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.cards.extend_from_slice(&other.cards);
    }

    fn push_commentary(&mut self, keyword: &str, text: &str) {
        for line in text.lines() {
            let mut rest = printable(line);
            loop {
                // Break at the last blank that fits, or hard where there is none.
                let cut = match rest.get(..=COMMENTARY_LENGTH) {
                    None => rest.len(),
                    Some(window) => {
                        window.rfind(' ').filter(|&cut| cut > 0).unwrap_or(COMMENTARY_LENGTH)
                    }
                };
                self.cards.push(card(&format!("{keyword:8}{}", &rest[..cut])));
                rest = rest[cut..].trim_start().to_owned();
                if rest.is_empty() {
                    break;
                }
            }
        }
    }

    fn find(&self, keyword: &str) -> Option<usize> {
        let wanted = normal_keyword(keyword);
        self.cards.iter().position(|card| {
            let (name, field) = split_card(card);
            field.is_some() && name.eq_ignore_ascii_case(&wanted)
        })
    }

    /// The index after the card at `index` and its CONTINUE cards.
    pub(super) fn end_of(&self, index: usize) -> usize {
        let tail = &self.cards[index + 1..];
        index + 1 + tail.iter().take_while(|card| card.starts_with(b"CONTINUE")).count()
    }

    /// The value and the comment of the card at `index`.
    pub(super) fn value_at(&self, index: usize) -> (Value, String) {
        let (mut value, mut comment) =
            Value::parse(&split_card(&self.cards[index]).1.unwrap_or_default());
        if let Value::Text(text) = &mut value {
            for card in &self.cards[index + 1..self.end_of(index)] {
                let (Value::Text(part), more) = Value::parse(&card_text(&card[8..])) else { break };
                if !text.ends_with('&') {
                    break;
                }
                text.pop();
                text.push_str(&part);
                if !more.is_empty() {
                    comment = more;
                }
            }
        }
        (value, comment)
    }
}

/// The text of a card, one printable ASCII character per byte.
fn card_text(bytes: &[u8]) -> String {
    let printable = |&byte: &u8| match byte {
        b' '..=b'~' => byte as char,
        byte if byte.is_ascii_control() => ' ',
        _ => '?',
    };
    bytes.iter().map(printable).collect()
}

/// The keyword (without HIERARCH) and, for a value card, the text after the equals sign.
fn split_card(card: &Card) -> (String, Option<String>) {
    let text = card_text(card);
    if let Some(rest) = text.strip_prefix("HIERARCH ")
        && let Some((name, field)) = rest.split_once('=')
    {
        return (normal_keyword(name), Some(field.to_owned()));
    }
    let name = text[..8].trim_end();
    let commentary = matches!(name, "" | "COMMENT" | "HISTORY" | "CONTINUE" | "END");
    let field = (!commentary && card[8] == b'=').then(|| text[9..].to_owned());
    (name.to_owned(), field)
}

fn keyword_of(card: &Card) -> String {
    split_card(card).0.to_ascii_uppercase()
}

/// Upper case, single blanks, no HIERARCH.
fn normal_keyword(keyword: &str) -> String {
    let upper = keyword.to_ascii_uppercase();
    let words: Vec<_> = upper.split_whitespace().collect();
    match words.as_slice() {
        ["HIERARCH", rest @ ..] if !rest.is_empty() => rest.join(" "),
        all => all.join(" "),
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|char| if (' '..='~').contains(&char) { char } else { '?' }).collect()
}

fn card(text: &str) -> Card {
    let mut card = [b' '; CARD_LENGTH];
    for (slot, byte) in card.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
    card
}

/// The cards of one keyword in fixed format (FITS 4.0 §4.2), HIERARCH and CONTINUE included.
fn format_cards(keyword: &str, value: Value, comment: &str) -> Vec<Card> {
    let mut name = printable(&normal_keyword(keyword)).replace('=', "_");
    let plain =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let standard = name.len() <= 8 && name.bytes().all(plain);
    let comment = printable(comment);
    let finish =
        |body: String| card(&if comment.is_empty() { body } else { format!("{body} / {comment}") });
    let Value::Text(text) = value else {
        let text = printable(&value.text());
        // "HIERARCH ", " = " and the value fill the card.
        name.truncate((CARD_LENGTH - 12).saturating_sub(text.len()));
        let body = if standard {
            format!("{name:8}= {text:>20}")
        } else {
            format!("HIERARCH {name} = {text}")
        };
        return vec![finish(body)];
    };
    name.truncate(60);
    let mut body = if standard { format!("{name:8}= ") } else { format!("HIERARCH {name} = ") };
    let text = printable(&text).replace('\'', "''");
    let mut rest = text.as_str();
    let mut cards = Vec::new();
    // Two quotes close the last card; "&" and two quotes close the others, which never cut a doubled quote in two.
    while body.len() + rest.len() + 2 > CARD_LENGTH {
        let mut cut = CARD_LENGTH - 3 - body.len();
        let quotes = rest[..cut].bytes().rev().take_while(|&byte| byte == b'\'').count();
        cut -= quotes % 2;
        cards.push(card(&format!("{body}'{}&'", &rest[..cut])));
        rest = &rest[cut..];
        "CONTINUE  ".clone_into(&mut body);
    }
    let width = if standard && cards.is_empty() && !rest.is_empty() { 8 } else { 0 };
    let field = format!("{body}'{rest:width$}'");
    let column = if cards.is_empty() && standard { 30 } else { 0 };
    cards.push(finish(format!("{field:column$}")));
    cards
}
