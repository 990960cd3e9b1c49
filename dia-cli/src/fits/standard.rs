//! Cards as the standard wants them (FITS 4.0, §4.1 and §4.2): what other programs wrote otherwise is mended before it is copied.

use super::{
    header::{Card, Header},
    value::Value,
};

/// A header of legal cards only.
///
/// Names in lower case are put into upper case; values that break the rules (an unclosed string, `1.5e3`, unquoted text) are
/// written anew; what still is no card with a value (an illegal name, an equals sign out of place) is kept as a COMMENT. Returns the
/// header and how many cards were mended so.
pub fn mended(header: &Header) -> (Header, usize) {
    let (mut legal, mut count) = (Header::new(), 0);
    let cards = header.cards();
    let mut index = 0;
    while index < cards.len() {
        let next = header.end_of(index);
        let group = &cards[index..next];
        if group.iter().enumerate().all(|(place, card)| is_legal(card, place > 0)) {
            for card in group {
                legal.push_card(*card);
            }
        } else {
            count += 1;
            mend(header, index, &mut legal);
        }
        index = next;
    }
    (legal, count)
}

/// The cards with bytes that are no text, as they can be shown: what they said is lost.
pub fn damaged(header: &Header) -> Vec<String> {
    let damaged = header.cards().iter().filter(|card| !is_text(card));
    damaged.map(|card| card.escape_ascii().to_string().trim_end().to_owned()).collect()
}

/// Letters of other alphabets are text; other bytes beyond ASCII, and zeros, are damage.
pub(super) fn is_text(card: &Card) -> bool {
    !card.contains(&0) && std::str::from_utf8(card).is_ok()
}

/// Whether the name of a damaged card may have been one of those without which pixels are read wrongly.
pub(super) fn may_shape_pixels(card: &Card) -> bool {
    const NAMES: [&str; 21] = [
        "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT",
        "GROUPS", "BSCALE", "BZERO", "BLANK", "BSOFTEN", "BOFFSET", "ZIMAGE", "ZBITPIX", "ZNAXIS",
        "ZNAXIS1", "ZNAXIS2", "EXTNAME",
    ];
    NAMES.iter().any(|name| {
        let name = format!("{name:8}");
        let pairs = card.iter().zip(name.bytes());
        pairs.into_iter().all(|(found, wanted)| *found == wanted || !(b' '..=b'~').contains(found))
    })
}

/// Appends the card at `index` and those that continue it, as legal ones.
fn mend(header: &Header, index: usize, legal: &mut Header) {
    let text = printable(&header.cards()[index]);
    let name = text[..8].trim_end().to_ascii_uppercase();
    if matches!(name.as_str(), "COMMENT" | "HISTORY" | "") {
        let mut card = [b' '; 80];
        card.copy_from_slice(text.as_bytes());
        card[..8].make_ascii_uppercase();
        legal.push_card(card);
        return;
    }
    let (name, (value, comment)) = match text.split_once('=') {
        // A name and its value, with the sign in its place or not.
        Some((name, _)) if text.as_bytes()[8] == b'=' || text.starts_with("HIERARCH ") => {
            (name.to_owned(), header.value_at(index))
        }
        Some((name, field)) => (name.to_owned(), Value::parse(field)),
        None => (String::new(), (Value::Undefined, String::new())),
    };
    let name = name.trim().to_ascii_uppercase();
    let plain = name.len() <= 8 && is_name(&name) && !matches!(name.as_str(), "END" | "CONTINUE");
    if !plain && !name.starts_with("HIERARCH ") {
        legal.push_comment(text.trim_end());
        return;
    }
    let value = match value {
        Value::Other(text) if !is_complex(&text) => Value::Text(text),
        value => value,
    };
    legal.append(&name, value, &comment);
}

/// Whether the standard allows this card; `continues`: one that goes on with the string of the card before it.
fn is_legal(card: &Card, continues: bool) -> bool {
    if !card.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return false;
    }
    let text = printable(card);
    let name = text[..8].trim_end();
    match name {
        "COMMENT" | "HISTORY" | "" => return true,
        "CONTINUE" => return continues && is_string(text[8..].trim_start()),
        "END" => return false,
        _ => {}
    }
    if let Some(rest) = text.strip_prefix("HIERARCH ") {
        return rest.split_once('=').is_some_and(|(_, field)| is_value(field.trim_start()));
    }
    is_name(name) && &text[8..10] == "= " && is_value(text[10..].trim_start())
}

fn is_name(name: &str) -> bool {
    let legal =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    !name.is_empty() && name.bytes().all(legal)
}

/// A value, perhaps none, and perhaps a comment.
fn is_value(field: &str) -> bool {
    if field.starts_with('\'') {
        return is_string(field);
    }
    let token = field.split('/').next().unwrap_or_default().trim_end();
    matches!(token, "" | "T" | "F") || is_number(token) || is_complex(token)
}

/// A quoted string, closed, with nothing but a comment after it.
fn is_string(field: &str) -> bool {
    let Some(inner) = field.strip_prefix('\'') else { return false };
    let rest = inner.replace("''", "  ");
    rest.split_once('\'').is_some_and(|(_, rest)| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with('/')
    })
}

/// A sign, digits with or without a point, and an exponent by E or D.
fn is_number(token: &str) -> bool {
    let unsigned = token.strip_prefix(['+', '-']).unwrap_or(token);
    let (mantissa, exponent) = match unsigned.split_once(['E', 'D']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|text| text.strip_prefix(['+', '-']).unwrap_or(text));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|text| !text.is_empty() && digits(text))
}

/// Two numbers in parentheses.
fn is_complex(token: &str) -> bool {
    let inner = token.strip_prefix('(').and_then(|token| token.strip_suffix(')'));
    let parts = inner.and_then(|inner| inner.split_once(','));
    parts.is_some_and(|(real, imaginary)| is_number(real.trim()) && is_number(imaginary.trim()))
}

/// The card with a question mark for each byte that FITS does not allow.
fn printable(card: &Card) -> String {
    card.iter()
        .map(|&byte| if (b' '..=b'~').contains(&byte) { byte as char } else { '?' })
        .collect()
}
