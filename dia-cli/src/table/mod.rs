//! Tables of measurements, in the format that the name of their file says, and positions from such files.

mod positions;
mod text;

use std::path::Path;

use anyhow::{Result, bail};

use crate::fits::{self, Field, HduData, HduOut, Header};

pub use positions::Positions;
pub(crate) use positions::read_positions;

/// Columns of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns in their order.
    pub columns: Vec<Column>,
    /// What is said of the whole table, as (keyword of at most 8 characters, value, meaning).
    pub about: Vec<(&'static str, About, &'static str)>,
}

/// A value that belongs to a whole table.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// Words.
    Text(String),
    /// A number.
    Number(f64),
}

/// A column of a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, which dia-cli/README.md explains.
    pub name: &'static str,
    /// As the FITS standard writes units; empty for none.
    pub unit: String,
    /// One line.
    pub description: &'static str,
    /// One value for each row.
    pub values: Values,
}

/// The values of a [`Column`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// NaN where there is no number.
    Numbers(Vec<f64>),
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Truth values.
    Truths(Vec<bool>),
    /// Words.
    Texts(Vec<String>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Truths(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }
}

/// How a table is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Enhanced character-separated values (astropy's APE 6): units and descriptions in comments.
    Ecsv,
    Csv,
    /// A binary table in the first extension, gzipped if the name says so.
    Fits,
}

impl Format {
    /// By the suffix of a file's name.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").filter(|name| name.contains(".fit")).unwrap_or(&name);
        Ok(match name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("ecsv") => Self::Ecsv,
            Some("csv") => Self::Csv,
            Some("fits" | "fit" | "fts") => Self::Fits,
            _ => bail!(
                "{}: the name of a table ends with .ecsv, .csv, .fits or .fits.gz, which says how it is stored",
                path.display()
            ),
        })
    }
}

impl Table {
    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// Writes the table under a temporary name, and renames it.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        debug_assert!(self.columns.iter().all(|column| column.values.len() == self.rows()));
        match Format::of(path)? {
            Format::Ecsv => fits::write_atomically(path, |file| text::write(self, file, true))?,
            Format::Csv => fits::write_atomically(path, |file| text::write(self, file, false))?,
            Format::Fits => self.write_fits(path)?,
        }
        Ok(())
    }

    fn write_fits(&self, path: &Path) -> Result<()> {
        let widest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0).max(1);
        let field = |column: &Column| Field {
            name: column.name.to_owned(),
            form: match &column.values {
                Values::Numbers(_) => "D".to_owned(),
                Values::Integers(_) => "K".to_owned(),
                Values::Truths(_) => "L".to_owned(),
                Values::Texts(texts) => format!("{}A", widest(texts)),
            },
            unit: column.unit.clone(),
            description: column.description.to_owned(),
        };
        let fields: Vec<Field> = self.columns.iter().map(field).collect();
        let mut bytes = Vec::new();
        for row in 0..self.rows() {
            for column in &self.columns {
                match &column.values {
                    Values::Numbers(values) => bytes.extend(values[row].to_be_bytes()),
                    Values::Integers(values) => bytes.extend(values[row].to_be_bytes()),
                    Values::Truths(values) => bytes.push(if values[row] { b'T' } else { b'F' }),
                    Values::Texts(texts) => {
                        let width = widest(texts);
                        let text = texts[row].bytes().chain(std::iter::repeat(b' '));
                        bytes.extend(text.take(width));
                    }
                }
            }
        }
        let width = |column: &Column| match &column.values {
            Values::Numbers(_) | Values::Integers(_) => 8,
            Values::Truths(_) => 1,
            Values::Texts(texts) => widest(texts),
        };
        let width: usize = self.columns.iter().map(width).sum();
        let mut header = Header::new();
        for (keyword, value, meaning) in &self.about {
            match value {
                About::Text(text) => header.set(keyword, text.as_str(), meaning),
                About::Number(number) => header.set(keyword, *number, meaning),
            }
        }
        let empty = Header::new();
        let rows = HduData::Rows(&bytes, &fields);
        let hdus = [
            HduOut { name: "", header: &empty, image: None },
            HduOut { name: "SOURCES", header: &header, image: Some((self.rows(), width, rows)) },
        ];
        fits::write(path, &hdus)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
