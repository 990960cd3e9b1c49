//! Positions to measure at, from a table.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Format;
use crate::fits::FitsFile;

/// Names of the columns that hold x and y, in the order in which they are looked for, without regard to case.
const NAMES: [(&str, &str); 2] = [("x", "y"), ("xcentroid", "ycentroid")];

/// The positions (x, y) of all rows, in pixels, 0 in the middle of the first; NaN where a field is empty or says so.
///
/// # Errors
/// Names file, row and column of what is no number, or the columns that are there if x and y are not.
pub(crate) fn read_positions(path: &Path) -> Result<Vec<(f64, f64)>> {
    let shown = path.display();
    match Format::of(path)? {
        Format::Fits => {
            let file = FitsFile::open(path)?;
            for (x, y) in NAMES {
                if let [Some(x), Some(y)] = file.read_numbers(&[x, y])?.as_slice() {
                    return Ok(x.iter().copied().zip(y.iter().copied()).collect());
                }
            }
            bail!("{shown}: the table has no columns x and y; {REMEDY}")
        }
        Format::Ecsv | Format::Csv => read_text(path),
    }
}

const REMEDY: &str =
    "name the pixel coordinates of the target, 0 in the middle of the first pixel, x and y";

fn read_text(path: &Path) -> Result<Vec<(f64, f64)>> {
    let shown = path.display();
    let open = || File::open(path).with_context(|| format!("cannot read the positions {shown}"));
    let delimiter = delimiter(BufReader::new(open()?))
        .with_context(|| format!("cannot read the positions {shown}"))?;
    let mut reader = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .from_reader(BufReader::new(open()?));
    let headers = reader.headers().with_context(|| format!("cannot read the positions {shown}"))?;
    ensure!(
        !headers.is_empty(),
        "{shown} is empty; give a table whose first line names its columns, x and y among them"
    );
    let place = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let columns = NAMES.iter().find_map(|(x, y)| Some((place(x)?, place(y)?)));
    let Some((x, y)) = columns else {
        let all: Vec<&str> = headers.iter().collect();
        bail!("{shown}: the columns are {}, and not x and y; {REMEDY}", all.join(", "))
    };
    let mut positions = Vec::new();
    for (row, record) in reader.records().enumerate() {
        let record = record.with_context(|| format!("{shown}: row {} cannot be read", row + 1))?;
        let number = |column: usize, name: &str| -> Result<f64> {
            let text = record.get(column).unwrap_or_default();
            if text.is_empty() {
                return Ok(f64::NAN);
            }
            text.parse().ok().with_context(|| {
                format!(
                    "{shown}: {name} in row {} is {text:?}, which is no number; mend it, or leave it empty for a row without a measurement",
                    row + 1
                )
            })
        };
        positions.push((number(x, "x")?, number(y, "y")?));
    }
    Ok(positions)
}

/// A comma, or what an ECSV header says; a blank where such a header says nothing.
fn delimiter(reader: impl BufRead) -> std::io::Result<u8> {
    let mut enhanced = false;
    for line in reader.lines() {
        let line = line?;
        let Some(comment) = line.strip_prefix('#') else { break };
        enhanced |= comment.trim_start().starts_with("%ECSV");
        if let Some(said) = comment.trim_start().strip_prefix("delimiter:") {
            return Ok(if said.contains(',') { b',' } else { b' ' });
        }
    }
    Ok(if enhanced { b' ' } else { b',' })
}
