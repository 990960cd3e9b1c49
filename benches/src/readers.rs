//! The readers of everything that comes from outside, so that damaged files can be put to them: whatever a file
//! holds, a reader gives a result or an error, soon, and never panics.

use std::path::Path;
use std::process::{Command, Stdio};

use dia_align::wcs::Wcs;
use dia_cli::fits::{FitsFile, FitsSpec, damaged, mended};
use dia_cli::{Input, InputOptions, Positions, Role, Scenery};

/// A kind of file, and what reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// FITS files: headers, images, masks, tables, and what `dia subtract` makes of them before it subtracts.
    Headers,
    /// Tile-compressed FITS files, whose pixels CFITSIO unpacks.
    Packed,
    /// Tables of positions as text.
    Tables,
    /// World coordinates in the cards of a header.
    Coordinates,
    /// Differences with all that is needed to measure on them later, and a measurement.
    Scenes,
    /// The records that a night leaves, in the place of which a file is put.
    Nights,
}

impl Reader {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Headers, Self::Packed, Self::Tables, Self::Coordinates, Self::Scenes, Self::Nights];

    /// Its name on the command line, and that of the folder of its files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Packed => "packed",
            Self::Tables => "tables",
            Self::Coordinates => "coordinates",
            Self::Scenes => "scenes",
            Self::Nights => "nights",
        }
    }

    /// Reads a file to its end; errors are welcome.
    ///
    /// What may end a process, and the command, are run by `helper`, the program `fuzz`. `night` is the folder of a
    /// finished night with one frame, for [`Reader::Nights`]: it puts a file whose name begins with `done` in the
    /// place of the frame's record, and any other in that of the night's.
    ///
    /// # Panics
    /// Only for a bug in a reader, or if the night cannot be written to.
    pub fn read(self, path: &Path, night: &Path, helper: &Path) {
        match self {
            Self::Headers => headers(path),
            Self::Packed => run(Command::new(helper).arg("read").arg(path)),
            Self::Tables => drop(Positions::read(path)),
            Self::Coordinates => coordinates(path),
            Self::Scenes => scene(path),
            Self::Nights => records(path, night, helper),
        }
    }
}

/// A FITS file: all of its headers, images and tables, and what is made of it as an image.
pub fn headers(path: &Path) {
    if let Ok(file) = FitsFile::open(path) {
        for (index, hdu) in file.hdus().iter().enumerate() {
            let _ = (hdu.label(), hdu.shape(), damaged(&hdu.header), mended(&hdu.header));
            for keyword in hdu.header.keywords() {
                let _ = (hdu.header.get(&keyword), hdu.header.get_number(&keyword));
            }
            let _ = (file.read_image::<f32>(index), file.read_integers(index));
        }
        let _ = file.read_numbers(&["x", "y", "ra", "dec"]);
    }
    let spec = FitsSpec { path: path.to_owned(), selector: None, plane: None };
    let _ = Input::<f32>::read(&spec, Role::Target, &InputOptions::default());
}

fn coordinates(path: &Path) {
    let Ok(bytes) = std::fs::read(path) else { return };
    let Ok(wcs) = Wcs::from_cards(&String::from_utf8_lossy(&bytes)) else { return };
    for (x, y) in [(0.0, 0.0), (511.0, 3.0), (1e9, -1e9), (f64::NAN, 1.0)] {
        if let Some((longitude, latitude)) = wcs.pixel_to_sky(x, y) {
            let _ = wcs.sky_to_pixel(longitude, latitude);
        }
    }
    let _ = (wcs.sky_to_pixel(120.0, -30.0), wcs.sky_to_pixel(f64::INFINITY, 95.0));
    let _ = wcs.map_to(&wcs, (512, 512));
}

fn scene(path: &Path) {
    let Ok(scene) = Scenery::read(path) else { return };
    let _ = scene.detections(5.0);
    let _ = scene.fluxes(Positions::Pixels(vec![(20.0, 20.0), (-3.0, 1e9)]), &[3.0]);
}

fn records(path: &Path, night: &Path, helper: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let place = if name.starts_with("done") { "frames/target/done.json" } else { "night.json" };
    let place = night.join(place);
    let whole = std::fs::read(&place).expect("a finished night");
    std::fs::copy(path, &place).expect("the night can be written to");
    let mut command = Command::new(helper);
    command.args(["dia", "lightcurves"]).arg(night).arg("--at").arg(night.join("at.csv"));
    run(command.arg("-o").arg(night.join("curves.csv")));
    std::fs::write(&place, whole).expect("the night can be written to");
}

/// Runs a command, which may fail and must not end in another way.
fn run(command: &mut Command) {
    let ended = command.stdout(Stdio::null()).output().expect("the command runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().take(3).collect::<Vec<_>>().join(" ");
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{}: {said}", ended.status);
}
