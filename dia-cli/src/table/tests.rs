use std::fs;

use super::{About, Column, Format, Positions, Table, Values, read_positions};

fn pixels(positions: Positions) -> Vec<(f64, f64)> {
    match positions {
        Positions::Pixels(pixels) => pixels,
        Positions::Sky(places) => panic!("{places:?} are no pixels"),
    }
}

fn table() -> Table {
    let column = |name, unit: &str, values| Column {
        name,
        unit: unit.to_owned(),
        description: "what it is, the user's",
        values,
    };
    Table {
        columns: vec![
            column("id", "", Values::Integers(vec![1, 2, 3])),
            column("x", "pix", Values::Numbers(vec![1.5, f64::NAN, -0.1])),
            column("y", "pix", Values::Numbers(vec![2.25, 3.0, 1e-300])),
            column("isNegative", "", Values::Truths(vec![true, false, true])),
            column(
                "flagNames",
                "",
                Values::Texts(vec!["EDGE|SHARP".into(), String::new(), "a, \"b\"".into()]),
            ),
        ],
        about: vec![
            ("THRESH", About::Number(5.0), "threshold"),
            ("BY", About::Text("it's".into()), "maker"),
        ],
    }
}

#[test]
fn a_table_goes_through_every_format_with_its_positions() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["t.ecsv", "t.csv", "t.fits", "t.fits.gz"] {
        let path = folder.path().join(name);
        table().write(&path).unwrap();
        let positions = pixels(read_positions(&path).unwrap());
        assert_eq!((positions.len(), positions[0]), (3, (1.5, 2.25)), "{name}");
        assert!(positions[1].0.is_nan() && positions[1].1 == 3.0);
        assert_eq!(positions[2], (-0.1, 1e-300));
    }
    let text = fs::read_to_string(folder.path().join("t.ecsv")).unwrap();
    for line in [
        "# %ECSV 1.0",
        "# - {name: x, unit: 'pix', datatype: float64, description: 'what it is, the user''s'}",
        "# - THRESH: 5.0 # threshold",
        "# - BY: 'it''s' # maker",
        "id,x,y,isNegative,flagNames",
        "1,1.5,2.25,True,EDGE|SHARP",
        "2,nan,3,False,",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let text = fs::read_to_string(folder.path().join("t.csv")).unwrap();
    assert!(
        text.starts_with("id,x,y,isNegative,flagNames\n1,1.5,2.25,True,EDGE|SHARP\n2,,3,False,\n")
    );
}

#[test]
fn positions_that_cannot_be_read_name_file_row_column_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let error = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        format!("{:#}", read_positions(&path).unwrap_err())
    };
    let message = error("a.csv", "name,l,b\nA,1,2\n");
    assert!(
        message.contains("a.csv") && message.contains("name, l, b") && message.contains("x and y"),
        "{message}"
    );
    let message = error("b.csv", "x,y\n1,2\n3,four\n");
    assert!(
        message.contains("b.csv: y in row 2 is \"four\"") && message.contains("leave it empty"),
        "{message}"
    );
    let message = error("c.csv", "x,y\n1,2,3\n");
    assert!(message.contains("row 1 cannot be read"), "{message}");
    let message = error("g.csv", "RA,Dec\n1,2\n3,95\n");
    assert!(message.contains("row 2 is at ra 3, dec 95"), "{message}");
    assert!(error("d.csv", "").contains("is empty"), "{}", error("d.csv", ""));
    assert!(error("e.txt", "x y").contains(".ecsv, .csv, .fits"));
    assert!(error("f.fits", "x,y").contains("not a FITS file"));
    let missing = format!("{:#}", read_positions(&folder.path().join("none.csv")).unwrap_err());
    assert!(missing.contains("none.csv"), "{missing}");
}

#[test]
fn blanks_separate_where_an_ecsv_header_says_nothing_and_capitals_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.ecsv");
    fs::write(&path, "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: X, datatype: float64}\nX Y\n1.5 2.5\nnan inf\n").unwrap();
    let positions = pixels(read_positions(&path).unwrap());
    assert_eq!(positions[0], (1.5, 2.5));
    assert!(positions[1].0.is_nan() && positions[1].1.is_infinite());
    assert_eq!(Format::of(std::path::Path::new("a.b/T.FITS.GZ")).unwrap(), Format::Fits);
    assert!(Format::of(std::path::Path::new("a.csv.gz")).is_err());
}

#[test]
fn places_on_the_sky_are_read_where_there_are_no_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.csv");
    fs::write(&path, "RA,Dec\n10.5,-20.25\n,\n").unwrap();
    let Positions::Sky(places) = read_positions(&path).unwrap() else { panic!("no places") };
    assert_eq!(places[0], (10.5, -20.25));
    assert!(places.len() == 2 && places[1].0.is_nan());
    fs::write(&path, "RA,Dec,x,y\n10.5,-20.25,3,4\n").unwrap();
    assert_eq!(pixels(read_positions(&path).unwrap()), [(3.0, 4.0)]);
}
