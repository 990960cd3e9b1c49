//! Damage: a few changes to a good file, of bytes, of cards of a header, of numbers in a text, and of the order of parts.

use rand::Rng;

use super::seeds::Seed;

/// A source of random numbers.
trait Random: Rng {
    fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound.max(1) as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

impl<R: Rng> Random for R {}

/// What stands at the ends of ranges, or is no number.
const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "7",
    "8",
    "16",
    "255",
    "-32",
    "-64",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e-320",
    "nan",
    "inf",
    "-inf",
    "",
    "'text'",
    "T",
];

/// Words that mean something in a header.
const KEYWORDS: [&str; 30] = [
    "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "XTENSION",
    "EXTEND", "BSCALE", "BZERO", "BLANK", "TFIELDS", "TFORM1", "TSCAL1", "TNULL1", "ZIMAGE",
    "ZBITPIX", "ZNAXIS1", "ZTILE1", "ZCMPTYPE", "BUNIT", "GAIN", "EXTNAME", "CONTINUE", "HIERARCH",
    "END", "DIAHW", "GROUPS",
];

const CARD: usize = 80;

/// One of the good files with one to eight changes.
pub(crate) fn damaged(good: &[Seed], random: &mut impl Rng) -> Seed {
    let Seed { name, mut bytes } = good[random.below(good.len())].clone();
    let is_fits = bytes.starts_with(b"SIMPLE");
    for _ in 0..=random.below(8) {
        if bytes.is_empty() {
            break;
        }
        match (random.below(10), is_fits) {
            (0..=4, true) => card(&mut bytes, random),
            (0..=4, false) => number(&mut bytes, random),
            (5, _) => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            (6, _) => {
                let (at, byte) = (random.below(bytes.len()), random.below(256) as u8);
                bytes[at] = byte;
            }
            (7, _) => part(&mut bytes, random),
            (8, _) => bytes.truncate(random.below(bytes.len() + 1)),
            _ => {
                // The end of another file.
                let other = &good[random.below(good.len())].bytes;
                bytes.truncate(random.below(bytes.len() + 1));
                bytes.extend(&other[random.below(other.len() + 1)..]);
            }
        }
    }
    Seed { name, bytes }
}

/// Changes a card among those of the headers, most often near the beginning of one.
fn card(bytes: &mut [u8], random: &mut impl Rng) {
    let headers: Vec<usize> = bytes
        .chunks_exact(CARD)
        .enumerate()
        .filter(|(_, card)| card[8..10] == *b"= ")
        .map(|(place, _)| place * CARD)
        .collect();
    let Some(&at) = headers.get(random.below(headers.len())) else { return };
    let field = |bytes: &mut [u8], text: &str| {
        let value = format!("{text:>20}");
        bytes[at + 10..at + 30].copy_from_slice(&value.as_bytes()[..20]);
    };
    match random.below(6) {
        0..=2 => field(bytes, random.one_of(&NUMBERS)),
        3 => {
            let keyword = format!("{:8}", random.one_of(&KEYWORDS));
            bytes[at..at + 8].copy_from_slice(keyword.as_bytes());
        }
        4 => {
            let other = headers[random.below(headers.len())];
            let copy = bytes[other..other + CARD].to_vec();
            bytes[at..at + CARD].copy_from_slice(&copy);
        }
        _ => bytes[at..at + CARD].fill(b' '),
    }
}

/// Puts another number in the place of one in a text.
fn number(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    let of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let from = random.below(bytes.len());
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit) else { return };
    let start = from + start;
    let length = bytes[start..].iter().take_while(|byte| of_number(byte)).count();
    let text = random.one_of(&NUMBERS);
    bytes.splice(start..start + length, text.bytes());
}

/// Leaves out, doubles or fills a part.
fn part(bytes: &mut Vec<u8>, random: &mut impl Rng) {
    let start = random.below(bytes.len());
    let end = (start + 1 + random.below(200)).min(bytes.len());
    match random.below(3) {
        0 => drop(bytes.drain(start..end)),
        1 => {
            let copy = bytes[start..end].to_vec();
            bytes.splice(start..start, copy);
        }
        _ => {
            let byte = [0, 0xff, b' ', b'9'][random.below(4)];
            bytes[start..end].fill(byte);
        }
    }
}
