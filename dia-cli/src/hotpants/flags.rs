//! The flags of HOTPANTS: one table, and the parser that reads a command line by it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use Takes::{Fixed, Gaussians, Kernels};
use Use::{Ignored, Refused, Used};

/// How many values follow a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// So many.
    Fixed(usize),
    /// A number N, and then N pairs of a degree and a width.
    Gaussians,
    /// A number N, and then N files.
    Kernels,
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It has its meaning.
    Used,
    /// It has none here, and is named on the standard error.
    Ignored,
    /// The result would be another one: it is an error.
    Refused,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// Without the dash, in lower case.
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) of_use: Use,
    /// What it says, for the list of flags.
    pub(super) meaning: &'static str,
}

const fn flag(name: &'static str, takes: Takes, of_use: Use, meaning: &'static str) -> Flag {
    Flag { name, takes, of_use, meaning }
}

/// All flags.
pub(super) const FLAGS: &[Flag] = &[
    flag("inim", Fixed(1), Used, "image (target), FILE or FILE[EXT]"),
    flag("tmplim", Fixed(1), Used, "template (reference), FILE or FILE[EXT]"),
    flag("outim", Fixed(1), Used, "difference to write"),
    flag("tu", Fixed(1), Used, "upper valid count of the template (25000)"),
    flag("tuk", Fixed(1), Ignored, "upper valid count of the template for the kernel"),
    flag("tl", Fixed(1), Used, "lower valid count of the template (0)"),
    flag("tg", Fixed(1), Used, "gain of the template in e-/ADU (1)"),
    flag("tr", Fixed(1), Used, "read noise of the template in e- (0)"),
    flag("tp", Fixed(1), Used, "pedestal of the template in ADU (0)"),
    flag("tni", Fixed(1), Used, "noise (sigma) of the template"),
    flag("tmi", Fixed(1), Used, "mask of the template: all but 0 is bad"),
    flag("iu", Fixed(1), Used, "upper valid count of the image (25000)"),
    flag("iuk", Fixed(1), Ignored, "upper valid count of the image for the kernel"),
    flag("il", Fixed(1), Used, "lower valid count of the image (0)"),
    flag("ig", Fixed(1), Used, "gain of the image in e-/ADU (1)"),
    flag("ir", Fixed(1), Used, "read noise of the image in e- (0)"),
    flag("ip", Fixed(1), Used, "pedestal of the image in ADU (0)"),
    flag("ini", Fixed(1), Used, "noise (sigma) of the image"),
    flag("imi", Fixed(1), Used, "mask of the image: all but 0 is bad"),
    flag("ki", Fixed(1), Refused, "take the kernel of another difference"),
    flag("r", Fixed(1), Used, "half-width of the kernel (by the seeing)"),
    flag("kcs", Fixed(1), Ignored, "step of the convolution"),
    flag("ft", Fixed(1), Ignored, "threshold for stamps"),
    flag("sft", Fixed(1), Ignored, "factor of that threshold where stamps are few"),
    flag("nft", Fixed(1), Ignored, "fraction of stamps that is few"),
    flag("mins", Fixed(1), Ignored, "spread of the input mask"),
    flag("mous", Fixed(1), Ignored, "spread of the output mask"),
    flag("omi", Fixed(1), Used, "mask to write"),
    flag("gd", Fixed(4), Used, "region: xmin xmax ymin ymax"),
    flag("nrx", Fixed(1), Ignored, "regions in x"),
    flag("nry", Fixed(1), Ignored, "regions in y"),
    flag("rf", Fixed(1), Ignored, "file of regions"),
    flag("rkw", Fixed(2), Ignored, "keywords of regions"),
    flag("nsx", Fixed(1), Ignored, "stamps in x"),
    flag("nsy", Fixed(1), Ignored, "stamps in y"),
    flag("ssf", Fixed(1), Ignored, "file of stamps"),
    flag("cmp", Fixed(1), Ignored, "file of stamps"),
    flag("afssc", Fixed(1), Ignored, "whether further stamps are looked for"),
    flag("nss", Fixed(1), Ignored, "centroids in a stamp"),
    flag("rss", Fixed(1), Ignored, "half-width of a centroid's surroundings"),
    flag("savexy", Fixed(1), Ignored, "file of the stamps that were used"),
    flag("c", Fixed(1), Used, "which is convolved: t(emplate), i(mage) or b(oth are tried)"),
    flag("n", Fixed(1), Used, "unit of the difference: t(emplate), i(mage) or u(nconvolved) (t)"),
    flag("fom", Fixed(1), Ignored, "by what the image to convolve is chosen"),
    flag("sconv", Fixed(0), Ignored, "all regions are convolved alike"),
    flag("ko", Fixed(1), Used, "degree of the kernel's variation (by the data)"),
    flag("bgo", Fixed(1), Used, "degree of the background (2)"),
    flag("ssig", Fixed(1), Ignored, "threshold of clipping in statistics"),
    flag("ks", Fixed(1), Ignored, "threshold of clipping of stamps"),
    flag("kfm", Fixed(1), Ignored, "part of the kernel that a good pixel needs"),
    flag("okn", Fixed(0), Ignored, "noise of pixels near bad ones is rescaled"),
    flag("fi", Fixed(1), Used, "value of pixels without difference (1e-30)"),
    flag("fin", Fixed(1), Used, "the same of the noise (0)"),
    flag("convvar", Fixed(0), Ignored, "the variance is convolved, as it always is here"),
    flag("oni", Fixed(1), Used, "noise (sigma) to write"),
    flag("ond", Fixed(1), Used, "difference over noise to write"),
    flag("nim", Fixed(0), Used, "noise as a layer of the difference"),
    flag("ndm", Fixed(0), Used, "difference over noise as a layer"),
    flag("oci", Fixed(1), Used, "convolved image to write"),
    flag("cim", Fixed(0), Used, "convolved image as a layer"),
    flag("allm", Fixed(0), Used, "all layers"),
    flag("nc", Fixed(0), Used, "what exists is not overwritten"),
    flag("hki", Fixed(0), Used, "kernel as the last layers"),
    flag("oki", Fixed(1), Used, "kernel to write"),
    flag("sht", Fixed(0), Ignored, "images of 16 bits"),
    flag("obs", Fixed(1), Ignored, "BSCALE of these"),
    flag("obz", Fixed(1), Ignored, "BZERO of these"),
    flag("nsht", Fixed(0), Ignored, "noise of 16 bits"),
    flag("nbs", Fixed(1), Ignored, "BSCALE of that"),
    flag("nbz", Fixed(1), Ignored, "BZERO of that"),
    flag("ng", Gaussians, Ignored, "Gaussians of the kernel"),
    flag("pca", Kernels, Ignored, "files of the kernel's basis"),
    flag("ef", Fixed(1), Ignored, "file of efficiencies"),
    flag("sum", Fixed(0), Refused, "the sum of the images"),
    flag("v", Fixed(1), Used, "what is said: 0, 1 or 2 (1)"),
];

/// What was given.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    /// Reads the words after the name of the command. Flags are the same in upper and lower case, and the last of a name counts.
    pub(super) fn parse(words: &[String]) -> Result<Self> {
        let mut given = BTreeMap::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix('-')
                .with_context(|| format!("unexpected word on the command line: {word}"))?;
            let flag = FLAGS
                .iter()
                .find(|flag| flag.name.eq_ignore_ascii_case(name))
                .with_context(|| format!("unknown option: {word}"))?;
            let mut next = || {
                words
                    .next()
                    .cloned()
                    .with_context(|| format!("{word} lacks a value: {}", flag.meaning))
            };
            let mut values = Vec::new();
            let count = match flag.takes {
                Fixed(count) => count,
                Gaussians | Kernels => {
                    let first = next()?;
                    let count: usize = first
                        .parse()
                        .with_context(|| format!("{word} {first}: expected a whole number"))?;
                    values.push(first);
                    if flag.takes == Gaussians { count.saturating_mul(2) } else { count }
                }
            };
            for _ in 0..count {
                values.push(next()?);
            }
            ensure!(
                flag.of_use != Refused,
                "{word} ({}) cannot be done here; leave it out",
                flag.meaning
            );
            given.insert(flag.name, values);
        }
        let given = Self(given);
        for name in ["inim", "tmplim", "outim"] {
            ensure!(given.has(name), "-{name} is required");
        }
        Ok(given)
    }

    /// Whether the flag was there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Its first value.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    /// Its first value as a number.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.numbers(name)?.first().copied())
    }

    /// Its values as numbers, which are finite; none if it was not there.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let values = self.0.get(name).map_or(&[][..], Vec::as_slice);
        let number = |text: &String| match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => bail!("-{name} {text}: expected a number"),
        };
        values.iter().map(number).collect()
    }

    /// Its value as a whole number that is not negative.
    pub(super) fn whole(&self, name: &str) -> Result<Option<usize>> {
        let Some(number) = self.number(name)? else { return Ok(None) };
        ensure!(number >= 0.0, "-{name} {number}: must not be negative");
        Ok(Some(number as usize))
    }

    /// Its first letter, which must be one of `letters`.
    pub(super) fn letter(&self, name: &str, letters: &str) -> Result<Option<char>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let letter = text.chars().next().filter(|letter| letters.contains(*letter));
        ensure!(letter.is_some(), "-{name} {text}: expected one of the letters {letters}");
        Ok(letter)
    }

    /// The flags that were given and have no meaning here.
    pub(super) fn ignored(&self) -> Vec<&'static str> {
        let ignored = FLAGS.iter().filter(|flag| flag.of_use == Ignored && self.has(flag.name));
        ignored.map(|flag| flag.name).collect()
    }
}

/// The list of flags.
pub(super) fn usage() -> String {
    let line = |flag: &Flag| {
        let unused = if flag.of_use == Ignored { " (without effect)" } else { "" };
        format!("   -{:8} {}{unused}\n", flag.name, flag.meaning)
    };
    let lines = FLAGS.iter().filter(|flag| flag.of_use != Refused).map(line);
    let first = "usage: hotpants -inim IMAGE -tmplim TEMPLATE -outim DIFFERENCE [options]\n";
    std::iter::once(first.to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::{FLAGS, Given};

    /// Options as pipelines and scripts give them, after the three that all have.
    const LINES: &[&str] = &[
        "",
        "-n i -c t",
        "-c t -n i -v 0",
        "-c t -n t",
        "-c i -n i -r 8",
        "-c b -n u",
        "-tu 50000 -iu 50000 -tl -500 -il -500",
        "-tu 30000 -tl -100 -iu 30000 -il -100 -n i -c t -v 2",
        "-iu 65000 -tu 65000 -ig 1.6 -tg 1.6 -ir 9.1 -tr 3.5",
        "-r 7.5 -rss 18.0 -tu 55000 -iu 55000 -tuk 40000 -iuk 40000",
        "-tni t.noise.fits -ini i.noise.fits -tmi t.mask.fits -imi i.mask.fits",
        "-tni t.noise.fits -ini i.noise.fits -imi i.mask.fits -n i -c t -nsx 10 -nsy 10 -nrx 1 -nry 1 -ng 3 6 0.70 4 1.50 2 3.00",
        "-oni out.noise.fits -hki -n i -c t",
        "-oni d.rms.fits -ond d.sn.fits -oci conv.fits -omi mask.fits",
        "-ssf stamps.txt -afssc 0 -rss 16 -r 10",
        "-cmp stars.cmp -afssc 1",
        "-savexy stamps.reg -v 2",
        "-ng 3 6 0.5 4 1.0 2 2.0 -ko 2 -bgo 1",
        "-ng 4 6 0.7 4 1.5 3 2.1 2 3.0 -ko 0 -bgo 0",
        "-nrx 2 -nry 2 -nsx 8 -nsy 8 -nss 5",
        "-nrx 4 -nry 4 -nsx 20 -nsy 40 -ko 1 -bgo 2 -ft 15.0 -kfm 0.95",
        "-okn -mins 1.5 -mous 0.5 -kfm 0.99 -ssig 3.0 -ks 2.0",
        "-fi 0 -fin 0 -convvar",
        "-fi nan_is_refused_later -fin 1e30",
        "-gd 1 2048 1 4096",
        "-gd 0 0 100 200",
        "-rf regions.txt",
        "-rkw DATASEC 4",
        "-allm -hki",
        "-nim -ndm -cim",
        "-nc -sht -obs 1.0 -obz 32768",
        "-nsht -nbs 0.1 -nbz 0",
        "-oki kernel.fits -hki -v 1",
        "-sconv -fom v -n i",
        "-fom h -c b",
        "-pca 2 k0.fits k1.fits -r 5",
        "-ft 20 -sft 0.5 -nft 0.1 -nss 3 -rss 15",
        "-kcs 21 -r 10 -rss 20",
        "-tp 100 -ip 100",
        "-TU 60000 -IU 60000 -TL 1 -IL 1 -C t -N i",
        "-iu 45000 -il -12.5 -tu 45000 -tl -3e1 -r 12 -rss 24 -ng 3 6 1.2 4 2.4 2 4.8 -bgo 2 -ko 3 -n i -c t -v 0",
        "-ig 4.1 -tg 36.9 -ir 5.5 -tr 1.8 -iu 120000 -tu 120000 -c t -n i -nrx 3 -nry 3",
        "-tu 100000 -iu 100000 -tl 10 -il 10 -tg 2.2 -ig 2.2 -oni n.fits -omi m.fits -fin 1e20",
        "-ef efficiency.txt -n t",
    ];

    fn given(options: &str) -> anyhow::Result<Given> {
        let line = format!("-inim i.fits[1] -tmplim t.fits -outim d.fits {options}");
        Given::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn public_command_lines_are_understood() {
        assert!(LINES.len() >= 40);
        for line in LINES {
            let parsed = given(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(parsed.text("inim"), Some("i.fits[1]"));
        }
        let parsed = given("-il -12.5 -gd 1 2 3 4 -C t").unwrap();
        assert_eq!(parsed.number("il").unwrap(), Some(-12.5));
        assert_eq!(parsed.numbers("gd").unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(parsed.letter("c", "tib").unwrap(), Some('t'));
        assert_eq!(given("-v 0 -rss 3 -ng 1 6 0.7").unwrap().ignored(), ["rss", "ng"]);
    }

    #[test]
    fn wrong_usage_is_an_error() {
        for line in ["-zz 1", "-tu", "stray", "-ng 3 6 0.7", "-gd 1 2 3", "-ki k.fits", "-ng x"] {
            assert!(given(line).is_err(), "{line}");
        }
        assert!(given("-tu high").unwrap().number("tu").is_err());
        assert!(given("-c x").unwrap().letter("c", "tib").is_err());
        assert!(Given::parse(&["-inim".into(), "i.fits".into()]).is_err());
    }

    #[test]
    fn the_page_has_every_flag_once_and_names_are_unique() {
        let page = include_str!("../../HOTPANTS.md");
        for flag in FLAGS {
            // Alone, or before its values.
            let starts = [format!("| `-{}`", flag.name), format!("| `-{} ", flag.name)];
            let is_row = |line: &&str| starts.iter().any(|start| line.starts_with(start));
            assert_eq!(page.lines().filter(is_row).count(), 1, "-{}", flag.name);
            assert_eq!(FLAGS.iter().filter(|other| other.name == flag.name).count(), 1);
        }
    }
}
