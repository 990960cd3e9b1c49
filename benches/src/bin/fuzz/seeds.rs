//! Good files of every kind, small, for damaged ones to be made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use dia_benches::readers::Reader;
use dia_cli::fits::{Field, HduData, HduOut, Header, write};
use tempfile::TempDir;

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    /// With the suffix that says what it is.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Good files, in a folder in which they were made.
pub(crate) struct Seeds(TempDir);

impl Seeds {
    /// Simulates a small pair, and lets the command make files of it.
    pub(crate) fn new() -> Result<Self> {
        let seeds = Self(tempfile::tempdir()?);
        for reader in Reader::ALL {
            fs::create_dir(seeds.at(reader.name()))?;
        }
        seeds.dia(&["simulate", "-o", ".", "--size", "128", "--seed", "5", "--density", "20"])?;
        let pair = ["subtract", "reference.fits", "target.fits", "--fail-on=never", "-q"];
        let model = ["--convolve=reference", "--half-width=5", "--basis=gauss", "-o"];
        seeds.dia(&[&pair[..], &model, &["scenes/scene.fits", "--planes=scene"]].concat())?;
        seeds.dia(&[&pair[..], &model, &["packed/packed.fits.fz"]].concat())?;
        seeds.write("at.csv", b"x,y\n40.5,50.25\n90,20\n")?;
        let night = ["night", "--reference", "reference.fits", "--targets", "target.fits", "-q"];
        seeds.dia(&[&night[..], &["--fail-on=never", "-o", "night"]].concat())?;
        fs::copy(seeds.at("at.csv"), seeds.at("night/at.csv"))?;
        fs::copy(seeds.at("night/night.json"), seeds.at("nights/night.json"))?;
        fs::copy(seeds.at("night/frames/target/done.json"), seeds.at("nights/done.json"))?;
        fs::copy(seeds.at("night/frames/target/sources.ecsv"), seeds.at("tables/sources.ecsv"))?;
        seeds.texts()?;
        seeds.images()?;
        Ok(seeds)
    }

    /// The folder for what is tried.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The finished night.
    pub(crate) fn night(&self) -> PathBuf {
        self.at("night")
    }

    /// The good files of a reader.
    pub(crate) fn of(&self, reader: Reader) -> Vec<Seed> {
        let files = fs::read_dir(self.at(reader.name())).into_iter().flatten().flatten();
        let mut seeds: Vec<Seed> = files
            .filter_map(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                Some(Seed { name, bytes: fs::read(file.path()).ok()? })
            })
            .collect();
        seeds.sort_by(|a, b| a.name.cmp(&b.name));
        seeds
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.at(name), bytes).with_context(|| format!("cannot write {name}"))
    }

    /// Runs the command here.
    fn dia(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.arg("dia").args(words).current_dir(self.folder()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "dia {} failed: {said}", words.join(" "));
        Ok(())
    }

    fn texts(&self) -> Result<()> {
        self.write("tables/plain.csv", b"x,y\n1.5,2.5\n# a remark\n,3\nnan,-4e2\n")?;
        self.write("tables/sky.csv", b"id,RA,Dec\n\"a,b\",120.5,-30\n2,0,90\n")?;
        self.write(
            "tables/blank.ecsv",
            b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: xcentroid, datatype: float64}\n# - {name: ycentroid, datatype: float64}\nxcentroid ycentroid\n1.5 2.5\n3 4\n",
        )?;
        let plain = "CTYPE1  = 'RA---TAN'\nCTYPE2  = 'DEC--TAN'\nCRPIX1  = 256.5\nCRPIX2  = 200.0\nCRVAL1  = 150.1\nCRVAL2  = -33.5\n";
        let matrix = "CD1_1   = -1.0E-4\nCD1_2   = 2.0E-6\nCD2_1   = 2.0E-6\nCD2_2   = 1.0E-4\n";
        let turned = "CDELT1  = -1.0E-4\nCDELT2  = 1.0E-4\nCROTA2  = 30.0\nLONPOLE = 180.0\nLATPOLE = 0.0\nRADESYS = 'FK5'\nEQUINOX = 2000.0\n";
        let sip = "A_ORDER = 2\nA_2_0   = 1.0E-6\nA_0_2   = 2.0E-7\nB_ORDER = 3\nB_1_1   = -1.0E-6\nB_3_0   = 1.0E-9\nAP_ORDER= 1\nAP_1_0  = 1.0E-7\n";
        let tpv =
            "PV1_0   = 0.0\nPV1_1   = 1.0\nPV1_4   = 1.0E-3\nPV2_1   = 1.0\nPV2_7   = -2.0E-3\n";
        self.write("coordinates/tan.txt", format!("{plain}{matrix}").as_bytes())?;
        let sin = plain.replace("TAN", "SIN");
        self.write("coordinates/sin.txt", format!("{sin}{turned}PV2_1   = 0.01\n").as_bytes())?;
        let with_sip = plain.replace("TAN", "TAN-SIP");
        self.write("coordinates/sip.txt", format!("{with_sip}{matrix}{sip}").as_bytes())?;
        let with_tpv = plain.replace("TAN", "TPV");
        self.write("coordinates/tpv.txt", format!("{with_tpv}{matrix}{tpv}").as_bytes())?;
        for projection in ["STG", "ARC", "ZEA", "CAR", "NCP"] {
            let cards = format!("{}{turned}", plain.replace("TAN", projection));
            self.write(&format!("coordinates/{projection}.txt"), cards.as_bytes())?;
        }
        Ok(())
    }

    /// Images of every kind of pixel, with what headers may say of them.
    fn images(&self) -> Result<()> {
        let (height, width) = (24, 20);
        let value = |i: usize| (i * 7919 % 211) as f32 + 300.0;
        let pixels: Vec<f32> = (0..height * width).map(value).collect();
        let double: Vec<f64> = pixels.iter().map(|v| f64::from(*v)).collect();
        let bits: Vec<i16> = (0..height * width).map(|i| i16::from(i % 37 == 0)).collect();
        let unsigned: Vec<u16> = pixels.iter().map(|v| *v as u16).collect();
        let mut header = Header::new();
        for (keyword, number) in
            [("GAIN", 1.5), ("RDNOISE", 4.0), ("SATURATE", 60_000.0), ("EXPTIME", 30.0)]
        {
            header.set(keyword, number, "");
        }
        header.set("BUNIT", "adu", "");
        header.set("DATE-OBS", "2026-01-02T03:04:05", "");
        let mut mask = Header::new();
        mask.set("MP_BAD", 0_i64, "bad");
        let plane =
            |name, header, data| HduOut { name, header, image: Some((height, width, data)) };
        let empty = Header::new();
        let planes = [
            plane("SCI", &header, HduData::F32(&pixels)),
            plane("DQ", &mask, HduData::I16(&bits)),
            plane("ERR", &empty, HduData::F64(&double)),
        ];
        write(&self.at("headers/planes.fits"), &planes)?;
        write(&self.at("headers/zipped.fits.gz"), &planes)?;
        write(&self.at("headers/unsigned.fits"), &[plane("", &header, HduData::U16(&unsigned))])?;
        let field = |name: &str, form: &str| Field {
            name: name.into(),
            form: form.into(),
            unit: "pix".into(),
            description: String::new(),
        };
        let fields = [field("x", "D"), field("y", "E"), field("n", "K"), field("name", "3A")];
        let mut rows = Vec::new();
        for row in 0..5_u8 {
            rows.extend(f64::from(row).to_be_bytes());
            rows.extend(f32::from(row).to_be_bytes());
            rows.extend(i64::from(row).to_be_bytes());
            rows.extend(b"abc");
        }
        let table = HduOut {
            name: "SOURCES",
            header: &empty,
            image: Some((5, 23, HduData::Rows(&rows, &fields))),
        };
        let none = HduOut { name: "", header: &header, image: None };
        write(&self.at("headers/table.fits"), &[none, table])?;
        Ok(())
    }
}
