//! CSV and ECSV.

use std::io::{self, BufWriter, Write};

use super::{About, Table, Values};

/// Writes a table with a line of names; with units, types and descriptions in comments before it if `enhanced` (astropy's APE 6, version 1.0 of ECSV).
///
/// Numbers have the digits that give them back exactly; what is no number is `nan` in ECSV, and an empty field in CSV.
pub(super) fn write(table: &Table, out: impl Write, enhanced: bool) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    if enhanced {
        write_header(table, &mut out)?;
    }
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(table.columns.iter().map(|column| column.name))?;
    for row in 0..table.rows() {
        let field = |values: &Values| match values {
            Values::Numbers(values) if values[row].is_finite() => values[row].to_string(),
            Values::Numbers(values) if enhanced && values[row].is_nan() => "nan".to_owned(),
            Values::Numbers(values) if enhanced => format!("{}", values[row]),
            Values::Numbers(_) => String::new(),
            Values::Integers(values) => values[row].to_string(),
            Values::Truths(values) => if values[row] { "True" } else { "False" }.to_owned(),
            Values::Texts(texts) => texts[row].clone(),
        };
        writer.write_record(table.columns.iter().map(|column| field(&column.values)))?;
    }
    writer.flush()
}

fn write_header(table: &Table, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "# %ECSV 1.0\n# ---\n# delimiter: ','\n# datatype:")?;
    for column in &table.columns {
        let datatype = match column.values {
            Values::Numbers(_) => "float64",
            Values::Integers(_) => "int64",
            Values::Truths(_) => "bool",
            Values::Texts(_) => "string",
        };
        let unit = if column.unit.is_empty() {
            String::new()
        } else {
            format!("unit: {}, ", quoted(&column.unit))
        };
        let description = quoted(column.description);
        let name = column.name;
        writeln!(
            out,
            "# - {{name: {name}, {unit}datatype: {datatype}, description: {description}}}"
        )?;
    }
    writeln!(out, "# meta: !!omap")?;
    for (keyword, value, meaning) in &table.about {
        match value {
            About::Text(text) => writeln!(out, "# - {keyword}: {} # {meaning}", quoted(text))?,
            About::Number(number) if number.is_finite() => {
                writeln!(out, "# - {keyword}: {number:?} # {meaning}")?;
            }
            About::Number(_) => writeln!(out, "# - {keyword}: .nan # {meaning}")?,
        }
    }
    writeln!(out, "# schema: astropy-2.0")
}

/// A YAML string in single quotes, on one line.
fn quoted(text: &str) -> String {
    let printable = |char: char| if char.is_control() { ' ' } else { char };
    let text: String = text.chars().map(printable).collect();
    format!("'{}'", text.replace('\'', "''"))
}
