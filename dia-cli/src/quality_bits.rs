//! What the bits of a mask mean: by the names in its header, or by the convention of the observatory that made it.

use dia_core::MaskPlanes;

use crate::fits::Header;

/// Bits, and the planes of ours that pixels with any of them get; none where they do not spoil a pixel.
pub(crate) type Meaning = (u64, MaskPlanes);

/// The planes of a mask whose bits are named (LSST's, Pan-STARRS's and our own are), as ours; `None` where they make no pixel unusable: a detection, a value
/// that was interpolated (what spoiled it has a bit of its own), a part of the vignetted field.
pub(crate) fn plane_of(name: &str) -> Option<MaskPlanes> {
    match name {
        "BAD" | "STREAK" | "CROSSTALK" | "VIGNETTED" | "ITL_DIP" | "SPIKE" | "SENSOR_EDGE"
        | "HIGH_VARIANCE" | "DO_NOT_USE" | "HOT" | "DEAD" | "GHOST" | "DETECTOR" | "FLAT"
        | "DARK" | "CTE" | "LOW" | "BURNTOOL" | "STARCORE" | "CONV.BAD" => Some(MaskPlanes::BAD),
        "SAT" | "SATURATED" => Some(MaskPlanes::SATURATED),
        "CR" | "COSMIC_RAY" => Some(MaskPlanes::COSMIC_RAY),
        "EDGE" => Some(MaskPlanes::EDGE),
        "NO_DATA" | "UNMASKEDNAN" | "BLANK" => Some(MaskPlanes::NO_DATA),
        "SUSPECT" => Some(MaskPlanes::SUSPECT),
        "USER" => Some(MaskPlanes::USER),
        "REFERENCE_BAD" => Some(MaskPlanes::REFERENCE_BAD),
        "CLIPPED" => Some(MaskPlanes::CLIPPED),
        _ => None,
    }
}

/// The bits with names: `MP_name = bit`, as LSST writes them, or pairs `MSKNAMnn = name`, `MSKVALnn = value`, as Pan-STARRS does.
pub(crate) fn named(header: &Header) -> Vec<(u64, String)> {
    let bit = |bit: i64| u32::try_from(bit).ok().filter(|bit| *bit < 63).map(|bit| 1 << bit);
    let of_card = |keyword: String| {
        if let Some(name) = keyword.strip_prefix("MP_") {
            return Some((bit(header.get_i64(&keyword)?)?, name.to_owned()));
        }
        let number = keyword.strip_prefix("MSKNAM")?;
        let value = header.get_i64(&format!("MSKVAL{number}"))?;
        let name = header.get_str(&keyword)?.trim().to_uppercase();
        // Sums of bits stand beside the single ones.
        (value > 0 && value.count_ones() == 1).then_some((value as u64, name))
    };
    header.keywords().filter_map(|keyword| of_card(keyword.to_uppercase())).collect()
}

/// Bits that cards `BITnn = nn` explain by their comments, as those of the Zwicky Transient Facility do: all but detections spoil a pixel.
fn commented(header: &Header) -> Vec<Meaning> {
    let of_card = |keyword: String| {
        let number: u32 = keyword.strip_prefix("BIT")?.parse().ok()?;
        let comment = header.get(&keyword)?.1.to_uppercase();
        let says = |words: &[&str]| words.iter().any(|word| comment.contains(word));
        let planes = if says(&["DETECTION", "DETECTED", "SOURCE POSITION", "RESERVED"]) {
            MaskPlanes::empty()
        } else if says(&["SATURATED"]) {
            MaskPlanes::SATURATED
        } else if says(&["NAN", "NON-DATA", "NO DATA"]) {
            MaskPlanes::NO_DATA
        } else if says(&["RAD HIT", "COSMIC"]) {
            MaskPlanes::COSMIC_RAY
        } else {
            MaskPlanes::BAD
        };
        (number < 63 && !comment.is_empty()).then_some((1 << number, planes))
    };
    header.keywords().filter_map(|keyword| of_card(keyword.to_uppercase())).collect()
}

/// The Hubble Space Telescope's (ACS, WFC3 and STIS data handbooks). Warm pixels (64), whose dark current was subtracted, uncertain flats (512) and charge traps
/// (1024) do not spoil a pixel.
const HUBBLE: &[Meaning] = &[
    (1 | 2, MaskPlanes::NO_DATA),
    (4 | 8 | 16 | 32 | 128, MaskPlanes::BAD),
    (256 | 2048, MaskPlanes::SATURATED),
    (4096 | 8192, MaskPlanes::COSMIC_RAY),
];

/// JWST's and Roman's: bit 0 sums up what must not be used; the others tell what happened to a pixel that was mostly mended.
const WEBB: &[Meaning] = &[(1, MaskPlanes::BAD), (2, MaskPlanes::SATURATED)];

/// The Dark Energy Survey's: all but interpolated (4), bright star (32), suspect (2048), fixed (4096), near the edge (8192) and tape bump (16384).
const DARK_ENERGY_SURVEY: &[Meaning] = &[
    (1 | 8 | 64 | 128 | 256 | 1024, MaskPlanes::BAD),
    (2, MaskPlanes::SATURATED),
    (16, MaskPlanes::COSMIC_RAY),
    (512, MaskPlanes::EDGE),
];

/// The meaning of all bits of a mask whose own and whose file's primary header are joined in `header`; `None` where nothing tells it. `quality`: it is a plane of
/// data quality, by its name.
pub(crate) fn meaning(header: &Header, quality: bool) -> Option<Vec<Meaning>> {
    let named = named(header);
    if !named.is_empty() {
        let planes = |(bits, name): (u64, String)| (bits, plane_of(&name).unwrap_or_default());
        return Some(named.into_iter().map(planes).collect());
    }
    let commented = commented(header);
    if !commented.is_empty() {
        return Some(commented);
    }
    let text = |keyword| header.get_str(keyword).unwrap_or_default().trim().to_uppercase();
    let survey =
        text("DES_EXT") == "MASK" || text("EXTNAME") == "MSK" && text("INSTRUME") == "DECAM";
    if survey {
        return Some(DARK_ENERGY_SURVEY.to_vec());
    }
    quality.then(|| match text("TELESCOP").as_str() {
        "HST" => HUBBLE.to_vec(),
        _ => WEBB.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use dia_core::MaskPlanes;

    use super::meaning;
    use crate::fits::Header;

    /// The planes of a pixel of `value` under the header of these cards.
    fn planes(cards: &[(&str, &str, &str)], quality: bool, value: u64) -> Option<MaskPlanes> {
        let mut header = Header::new();
        for (keyword, value, comment) in cards {
            match value.parse::<i64>() {
                Ok(number) => header.set(keyword, number, comment),
                Err(_) => header.set(keyword, *value, comment),
            }
        }
        let all = meaning(&header, quality)?;
        Some(
            all.into_iter()
                .filter(|(bits, _)| value & bits != 0)
                .map(|(_, planes)| planes)
                .collect(),
        )
    }

    #[test]
    fn names_tell() {
        let lsst = [
            ("MP_BAD", "0", ""),
            ("MP_DETECTED", "5", ""),
            ("MP_INTRP", "2", ""),
            ("MP_SPIKE", "12", ""),
        ];
        assert_eq!(planes(&lsst, false, 1 << 12), Some(MaskPlanes::BAD));
        assert_eq!(planes(&lsst, false, 1 << 5 | 1 << 2), Some(MaskPlanes::empty()));
        let pan_starrs = [
            ("MSKNAM00", "DETECTOR", ""),
            ("MSKVAL00", "1", ""),
            ("MSKNAM05", "SAT", ""),
            ("MSKVAL05", "32", ""),
            ("MSKNAM15", "MARK.VALUE", ""),
            ("MSKVAL15", "32768", ""),
        ];
        assert_eq!(planes(&pan_starrs, false, 33), Some(MaskPlanes::BAD | MaskPlanes::SATURATED));
        assert_eq!(planes(&pan_starrs, false, 32768), Some(MaskPlanes::empty()));
    }

    #[test]
    fn comments_tell() {
        let ztf = [
            ("BIT00", "0", "AIRCRAFT/SATELLITE TRACK"),
            ("BIT01", "1", "CONTAINS SEXTRACTOR DETECTION"),
            ("BIT08", "8", "SATURATED"),
            ("BIT11", "11", "CONTAINS PSF-EXTRACTED SOURCE POSITION"),
        ];
        assert_eq!(planes(&ztf, false, 1), Some(MaskPlanes::BAD));
        assert_eq!(planes(&ztf, false, 1 << 8), Some(MaskPlanes::SATURATED));
        assert_eq!(planes(&ztf, false, 1 << 1 | 1 << 11), Some(MaskPlanes::empty()));
    }

    #[test]
    fn observatories_tell() {
        assert_eq!(
            planes(&[("TELESCOP", "JWST", "")], true, 4 | 1 << 20),
            Some(MaskPlanes::empty())
        );
        assert_eq!(planes(&[("TELESCOP", "JWST", "")], true, 4 | 1), Some(MaskPlanes::BAD));
        assert_eq!(
            planes(&[("TELESCOP", "HST", "")], true, 64 | 512 | 1024),
            Some(MaskPlanes::empty())
        );
        assert_eq!(planes(&[("TELESCOP", "HST", "")], true, 8192), Some(MaskPlanes::COSMIC_RAY));
        let des = [("EXTNAME", "MSK", ""), ("INSTRUME", "DECam", "")];
        assert_eq!(planes(&des, false, 32 | 4 | 2048), Some(MaskPlanes::empty()));
        assert_eq!(planes(&des, false, 16 | 512), Some(MaskPlanes::COSMIC_RAY | MaskPlanes::EDGE));
        assert_eq!(planes(&[("TELESCOP", "JWST", "")], false, 1), None);
    }
}
