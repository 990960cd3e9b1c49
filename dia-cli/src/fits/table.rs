//! Numbers from the columns of a binary table.

use super::error::FitsError;
use super::read::{FitsFile, Hdu, HduKind};

/// A column of a binary table, and where it lies in a row.
pub(super) struct Column {
    name: String,
    offset: usize,
    /// The letter of TFORM.
    kind: char,
    repeat: usize,
    scale: f64,
    zero: f64,
    null: Option<i64>,
    /// The letter of the elements of an array of variable length.
    element: Option<char>,
}

impl Column {
    /// Bytes of one element.
    fn width(kind: char) -> Option<usize> {
        Some(match kind {
            'L' | 'B' | 'A' => 1,
            'I' => 2,
            'J' | 'E' => 4,
            'K' | 'D' | 'C' | 'P' => 8,
            'M' | 'Q' => 16,
            _ => return None,
        })
    }

    /// Bytes in a row.
    fn length(&self) -> Option<usize> {
        if self.kind == 'X' {
            return Some(self.repeat.div_ceil(8));
        }
        self.repeat.checked_mul(Self::width(self.kind)?)
    }

    /// Bytes of an element of an array of variable length.
    pub(super) fn element_width(&self) -> usize {
        self.element.and_then(Self::width).unwrap_or(1)
    }

    /// The number in the column's bytes of one row; `None` where they hold none.
    fn number(&self, bytes: &[u8]) -> Option<f64> {
        let integer = match self.kind {
            'B' => Some(i64::from(*bytes.first()?)),
            'I' => Some(i64::from(i16::from_be_bytes(bytes.try_into().ok()?))),
            'J' => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            'K' => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
            _ => None,
        };
        if integer.is_some() && integer == self.null {
            return Some(f64::NAN);
        }
        let stored = match self.kind {
            'E' => f64::from(f32::from_be_bytes(bytes.try_into().ok()?)),
            'D' => f64::from_be_bytes(bytes.try_into().ok()?),
            _ => integer? as f64,
        };
        Some(self.zero + self.scale * stored)
    }
}

/// The rows of a binary table.
pub(super) struct Rows {
    /// Their number.
    pub(super) count: usize,
    /// Bytes of one.
    pub(super) length: usize,
    columns: Vec<Column>,
}

impl Rows {
    /// A column by its name, without regard to case.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Number of elements and offset in the heap of an array of variable length.
    pub(super) fn descriptor(
        &self,
        column: &Column,
        row: usize,
        data: &[u8],
    ) -> Option<(u64, u64)> {
        let begin = row.checked_mul(self.length)?.checked_add(column.offset)?;
        let bytes = data.get(begin..begin.checked_add(column.length()?)?)?;
        let (count, offset) = match column.kind {
            'P' => {
                let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
                let number = |at| number(at).map(|bytes| i32::from_be_bytes(bytes).into());
                (number(0)?, number(4)?)
            }
            'Q' => {
                let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok();
                let number = |at| number(at).map(i64::from_be_bytes);
                (number(0)?, number(8)?)
            }
            _ => return None,
        };
        Some((u64::try_from(count).ok()?, u64::try_from(offset).ok()?))
    }
}

impl FitsFile {
    /// How the rows of a binary table are made up; each column lies within them.
    ///
    /// # Errors
    /// [`FitsError::HeaderBad`] if the header is damaged.
    pub(super) fn rows(&self, hdu: &Hdu) -> Result<Rows, FitsError> {
        let bad = |reason: String| FitsError::HeaderBad {
            path: self.path.clone(),
            hdu: hdu.index,
            reason,
        };
        let count = |keyword: &str| {
            let value = hdu.header.get_i64(keyword);
            let value = value.and_then(|value| usize::try_from(value).ok());
            value.ok_or_else(|| bad(format!("{keyword} is no number of bytes, rows or columns")))
        };
        let (length, rows, fields) = (count("NAXIS1")?, count("NAXIS2")?, count("TFIELDS")?);
        let mut columns: Vec<Column> = Vec::new();
        let mut offset = 0;
        for field in 1..=fields.min(999) {
            let text = |stem: &str| hdu.header.get_str(&format!("{stem}{field}"));
            let form = text("TFORM").unwrap_or_default();
            let form = form.trim();
            let digits = form.chars().take_while(char::is_ascii_digit).count();
            let kind = form[digits..].chars().next();
            let (Some(kind), repeat) = (kind, form[..digits].parse().unwrap_or(1)) else {
                return Err(bad(format!("TFORM{field} is missing")));
            };
            let number = |stem: &str| hdu.header.get_f64(&format!("{stem}{field}"));
            let column = Column {
                name: text("TTYPE").unwrap_or_default().trim().to_owned(),
                offset,
                kind,
                repeat,
                scale: number("TSCAL").unwrap_or(1.0),
                zero: number("TZERO").unwrap_or(0.0),
                null: hdu.header.get_i64(&format!("TNULL{field}")),
                element: form[digits..].chars().nth(1),
            };
            let end = column.length().and_then(|length| offset.checked_add(length));
            offset = end.filter(|end| *end <= length).ok_or_else(|| {
                bad(format!("TFORM{field} is {form:?}, which the row does not hold"))
            })?;
            columns.push(column);
        }
        Ok(Rows { count: rows, length, columns })
    }

    /// The numbers in columns of the first binary table of the file, one for each row: those of each of `names`, without regard to case, or `None` for a
    /// column that is not there. Blank integers are NaN.
    ///
    /// # Errors
    /// [`FitsError::NoTable`] if there is no binary table; [`FitsError::HeaderBad`] if its header is damaged or a column of that name holds no single number per
    /// row; those of reading.
    pub fn read_numbers(&self, names: &[&str]) -> Result<Vec<Option<Vec<f64>>>, FitsError> {
        let is_table = |xtension: Option<String>| {
            xtension.is_some_and(|name| ["BINTABLE", "A3DTABLE"].contains(&name.trim()))
        };
        let hdu = self
            .hdus()
            .iter()
            .find(|hdu| hdu.kind == HduKind::Table && is_table(hdu.header.get_str("XTENSION")));
        let Some(hdu) = hdu else {
            return Err(FitsError::NoTable { path: self.path.clone(), available: self.describe() });
        };
        let bad = |reason: String| FitsError::HeaderBad {
            path: self.path.clone(),
            hdu: hdu.index,
            reason,
        };
        let rows = self.rows(hdu)?;
        let data = self.data(hdu)?;
        let wanted = |name: &&str| -> Result<Option<Vec<f64>>, FitsError> {
            let Some(column) = rows.column(name) else { return Ok(None) };
            let of_row = |row: &[u8]| {
                let bytes = &row[column.offset..column.offset + column.length()?];
                column.number(bytes).filter(|_| column.repeat == 1)
            };
            let all = data.chunks_exact(rows.length.max(1)).take(rows.count);
            all.map(of_row).collect::<Option<Vec<f64>>>().map(Some).ok_or_else(|| {
                let (form, repeat) = (column.kind, column.repeat);
                bad(format!("column {name} holds no single number per row (TFORM {repeat}{form})"))
            })
        };
        names.iter().map(wanted).collect()
    }
}
