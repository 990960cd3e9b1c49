//! Places on the sky of an image's pixels, and back, by the world coordinates in its header.
//!
//! Pixels are counted from 0 here, their centres at whole numbers; the header counts from 1, so that CRPIX is the pixel CRPIX − 1 here. Places are right ascension and
//! declination in degrees, in the frame and of the equinox that the header names (RADESYS, EQUINOX).
//!
//! The projection is the gnomonic one (TAN; Calabretta & Greisen 2002, A&A 395, 1077), with the distortion polynomials of SIP (Shupe et al. 2005, ASPC 347, 491)
//! before the linear part, or of TPV (FITS registry of conventions; SCAMP's TAN with PV coefficients is the same) behind it. Others are refused by name.

use crate::fits::Header;

/// Highest coefficient of TPV.
const MOST_PV: usize = 39;

/// Degree of the largest SIP polynomial that is read.
const MOST_SIP: usize = 9;

/// The world coordinates of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sky {
    reference_pixel: [f64; 2],
    /// From pixels to degrees in the tangent plane, as the first and second axis have them.
    linear: [[f64; 2]; 2],
    /// Coefficients of u^p v^q as (p, q, value), of both axes.
    sip: [Vec<(i32, i32, f64)>; 2],
    /// PV of longitude and latitude.
    tpv: Option<[[f64; MOST_PV + 1]; 2]>,
    /// Whether the first axis is the declination.
    swapped: bool,
    /// Right ascension and declination of the tangent point, and LONPOLE, in radians.
    pole: [f64; 3],
}

impl Sky {
    /// The world coordinates in a header; `None` where there are none of the sky.
    ///
    /// # Errors
    /// What kind they are of, where that is not known here.
    pub(crate) fn of(header: &Header) -> Result<Option<Self>, String> {
        let kind = |axis: usize| {
            let ctype = header.get_str(&format!("CTYPE{axis}")).unwrap_or_default();
            ctype.trim().to_ascii_uppercase()
        };
        let (first, second) = (kind(1), kind(2));
        let name = |ctype: &str| ctype.split('-').next().unwrap_or_default().to_owned();
        let swapped = match (name(&first).as_str(), name(&second).as_str()) {
            ("RA", "DEC") => false,
            ("DEC", "RA") => true,
            ("GLON" | "GLAT" | "ELON" | "ELAT", _) => {
                return Err(format!("CTYPE1 is {first}, and not right ascension or declination"));
            }
            _ => return Ok(None),
        };
        let code = |ctype: &str| {
            let code = ctype.trim_start_matches(|c: char| c != '-').trim_start_matches('-');
            code.strip_suffix("-SIP").unwrap_or(code).to_owned()
        };
        let projection = code(&first);
        if projection != code(&second) {
            return Err(format!("CTYPE1 is {first} and CTYPE2 {second}"));
        }
        if !["TAN", "TPV"].contains(&projection.as_str()) {
            return Err(format!(
                "their projection is {projection}, and only TAN, TAN-SIP and TPV are known"
            ));
        }
        if let Some(table) = ["CPDIS1", "CPDIS2", "D2IMDIS1", "D2IMDIS2", "CQDIS1", "DQ1", "DP1"]
            .into_iter()
            .find(|keyword| header.contains(keyword))
        {
            return Err(format!(
                "they are distorted by what {table} names, which is not known here"
            ));
        }
        for axis in [1, 2] {
            let unit = header.get_str(&format!("CUNIT{axis}")).unwrap_or_default();
            if !["", "deg", "degree", "degrees"]
                .contains(&unit.trim().to_ascii_lowercase().as_str())
            {
                return Err(format!("CUNIT{axis} is {unit}, and not deg"));
            }
        }
        let number = |keyword: &str| {
            header.get_f64(keyword).ok_or_else(|| format!("{keyword} is missing or no number"))
        };
        let reference_pixel = [number("CRPIX1")? - 1.0, number("CRPIX2")? - 1.0];
        let value = [number("CRVAL1")?, number("CRVAL2")?];
        let linear = linear(header);
        let determinant = linear[0][0] * linear[1][1] - linear[0][1] * linear[1][0];
        if !(determinant.is_finite() && determinant != 0.0) {
            return Err("their matrix of scales and rotation cannot be inverted".into());
        }
        let [lon, lat] = if swapped { [2, 1] } else { [1, 2] };
        let tpv = tpv(header, (lon, lat), projection == "TPV");
        let [ra, dec] = if swapped { [value[1], value[0]] } else { value };
        let default = if dec >= 90.0 { 0.0 } else { 180.0 };
        // Of a plain TAN, PV of the longitude may hold the pole too.
        let by_pv = || header.get_f64(&format!("PV{lon}_3")).filter(|_| tpv.is_none());
        let lonpole = by_pv().or_else(|| header.get_f64("LONPOLE")).unwrap_or(default);
        Ok(Some(Self {
            reference_pixel,
            linear,
            sip: [sip(header, 'A')?, sip(header, 'B')?],
            tpv,
            swapped,
            pole: [ra, dec, lonpole].map(f64::to_radians),
        }))
    }

    /// Right ascension, from 0 to 360, and declination in degrees of (x, y) in pixels from 0.
    pub(crate) fn of_pixel(&self, x: f64, y: f64) -> (f64, f64) {
        let [u, v] = [x - self.reference_pixel[0], y - self.reference_pixel[1]];
        let plane = multiplied(&self.linear, self.undistorted([u, v]));
        let plane = if self.swapped { [plane[1], plane[0]] } else { plane };
        let [xi, eta] = self.of_tpv(plane).map(f64::to_radians);
        // A point of the tangent plane as a vector: (toward φ, pole); r = cot θ.
        let radius = xi.hypot(eta);
        let phi = xi.atan2(-eta);
        let (sin_theta, cos_theta) = {
            let theta = 1.0_f64.atan2(radius);
            theta.sin_cos()
        };
        let [ra, dec] = self.rotated(phi, [sin_theta, cos_theta]);
        (ra.to_degrees().rem_euclid(360.0), dec.to_degrees())
    }

    /// (x, y) in pixels from 0 of a place in degrees; `None` on the other half of the sky, or where the distortion cannot be undone.
    pub(crate) fn pixel_of(&self, ra: f64, dec: f64) -> Option<(f64, f64)> {
        let [pole_ra, pole_dec, lonpole] = self.pole;
        let (dec, ra) = (dec.to_radians(), ra.to_radians() - pole_ra);
        let (sin_dec, cos_dec) = dec.sin_cos();
        let (sin_pole, cos_pole) = pole_dec.sin_cos();
        let east = -cos_dec * ra.sin();
        let north = sin_dec * cos_pole - cos_dec * sin_pole * ra.cos();
        let up = sin_dec * sin_pole + cos_dec * cos_pole * ra.cos();
        if up.is_nan() || up <= 0.0 {
            return None;
        }
        let phi = lonpole + east.atan2(north);
        let radius = (east.hypot(north) / up).to_degrees();
        let wanted = [radius * phi.sin(), -radius * phi.cos()];
        let plane = solved(|p| self.of_tpv(p), wanted, wanted)?;
        let plane = if self.swapped { [plane[1], plane[0]] } else { plane };
        let [[a, b], [c, d]] = self.linear;
        let determinant = a * d - b * c;
        let linear = [
            (d * plane[0] - b * plane[1]) / determinant,
            (a * plane[1] - c * plane[0]) / determinant,
        ];
        let [u, v] = solved(|p| self.undistorted(p), linear, linear)?;
        Some((u + self.reference_pixel[0], v + self.reference_pixel[1]))
    }

    /// From native to celestial coordinates (Calabretta & Greisen, eq. 2), both as angles, the native latitude by sine and cosine.
    fn rotated(&self, phi: f64, [sin_theta, cos_theta]: [f64; 2]) -> [f64; 2] {
        let [pole_ra, pole_dec, lonpole] = self.pole;
        let (sin_pole, cos_pole) = pole_dec.sin_cos();
        let (sin_phi, cos_phi) = (phi - lonpole).sin_cos();
        let east = -cos_theta * sin_phi;
        let north = sin_theta * cos_pole - cos_theta * sin_pole * cos_phi;
        let up = sin_theta * sin_pole + cos_theta * cos_pole * cos_phi;
        [pole_ra + east.atan2(north), up.atan2(east.hypot(north))]
    }

    fn undistorted(&self, [u, v]: [f64; 2]) -> [f64; 2] {
        let sum = |terms: &[(i32, i32, f64)]| -> f64 {
            terms.iter().map(|(p, q, c)| c * u.powi(*p) * v.powi(*q)).sum()
        };
        [u + sum(&self.sip[0]), v + sum(&self.sip[1])]
    }

    fn of_tpv(&self, [xi, eta]: [f64; 2]) -> [f64; 2] {
        let Some([lon, lat]) = &self.tpv else { return [xi, eta] };
        [tpv_sum(lon, xi, eta), tpv_sum(lat, eta, xi)]
    }
}

/// Σ PV_m t_m(x, y): 1, then of each degree d = 1 … 7 the products x^(d−k) y^k, and behind those of an odd degree r^d.
fn tpv_sum(pv: &[f64; MOST_PV + 1], x: f64, y: f64) -> f64 {
    let r = x.hypot(y);
    let mut terms = vec![1.0];
    for degree in 1..=7 {
        terms.extend((0..=degree).map(|k| x.powi(degree - k) * y.powi(k)));
        if degree % 2 == 1 {
            terms.push(r.powi(degree));
        }
    }
    terms.iter().zip(pv).map(|(term, pv)| term * pv).sum()
}

/// CD, or CDELT with PC or CROTA2.
fn linear(header: &Header) -> [[f64; 2]; 2] {
    let get = |stem: &str, i: usize, j: usize| header.get_f64(&format!("{stem}{i}_{j}"));
    let pairs = [[(1, 1), (1, 2)], [(2, 1), (2, 2)]];
    let any = |stem: &str| pairs.iter().flatten().any(|(i, j)| get(stem, *i, *j).is_some());
    if any("CD") {
        return pairs.map(|row| row.map(|(i, j)| get("CD", i, j).unwrap_or(0.0)));
    }
    let scale = [1, 2].map(|axis| header.get_f64(&format!("CDELT{axis}")).unwrap_or(1.0));
    if any("PC") || header.get_f64("CROTA2").is_none() {
        let identity = |i: usize, j: usize| f64::from(u8::from(i == j));
        return pairs
            .map(|row| row.map(|(i, j)| scale[i - 1] * get("PC", i, j).unwrap_or(identity(i, j))));
    }
    let (sin, cos) = header.get_f64("CROTA2").unwrap_or(0.0).to_radians().sin_cos();
    [[scale[0] * cos, -scale[1] * sin], [scale[0] * sin, scale[1] * cos]]
}

/// The polynomial of one axis, `A` or `B`.
fn sip(header: &Header, letter: char) -> Result<Vec<(i32, i32, f64)>, String> {
    let keyword = format!("{letter}_ORDER");
    let Some(order) = header.get_i64(&keyword) else { return Ok(Vec::new()) };
    let known = |order: &usize| *order <= MOST_SIP;
    let order = usize::try_from(order).ok().filter(known).ok_or_else(|| {
        format!("{keyword} is {order}, and polynomials of degree 0 to {MOST_SIP} are known")
    })?;
    let powers = (0..=order).flat_map(|p| (0..=order - p).map(move |q| (p, q)));
    Ok(powers
        .filter_map(|(p, q)| {
            let value = header.get_f64(&format!("{letter}_{p}_{q}"))?;
            Some((p as i32, q as i32, value))
        })
        .collect())
}

/// The coefficients of both axes where there are any that belong to TPV: those of the latitude, or beyond the four by which a plain TAN may give its pole.
fn tpv(
    header: &Header,
    (lon, lat): (usize, usize),
    named: bool,
) -> Option<[[f64; MOST_PV + 1]; 2]> {
    let get = |axis: usize, m: usize| header.get_f64(&format!("PV{axis}_{m}"));
    let scamp = (0..=MOST_PV).any(|m| get(lat, m).is_some())
        || (5..=MOST_PV).any(|m| get(lon, m).is_some());
    let of = |axis| std::array::from_fn(|m| get(axis, m).unwrap_or(if m == 1 { 1.0 } else { 0.0 }));
    (named || scamp).then(|| [of(lon), of(lat)])
}

fn multiplied(matrix: &[[f64; 2]; 2], v: [f64; 2]) -> [f64; 2] {
    matrix.map(|row| row[0] * v[0] + row[1] * v[1])
}

/// p with f(p) = `wanted`, by Newton's method with differences for derivatives; `None` if it does not come to an end.
fn solved(f: impl Fn([f64; 2]) -> [f64; 2], wanted: [f64; 2], start: [f64; 2]) -> Option<[f64; 2]> {
    let size = wanted[0].hypot(wanted[1]);
    let step = 1e-5 * (1e-3 + size);
    let mut p = start;
    for _ in 0..50 {
        let [fx, fy] = f(p);
        let (rx, ry) = (wanted[0] - fx, wanted[1] - fy);
        if !(rx.is_finite() && ry.is_finite()) {
            return None;
        }
        if rx.hypot(ry) <= 1e-12 * (1e-3 + size) {
            return Some(p);
        }
        let along = |q: [f64; 2], minus: [f64; 2]| {
            let (a, b) = (f(q), f(minus));
            [(a[0] - b[0]) / (2.0 * step), (a[1] - b[1]) / (2.0 * step)]
        };
        let dx = along([p[0] + step, p[1]], [p[0] - step, p[1]]);
        let dy = along([p[0], p[1] + step], [p[0], p[1] - step]);
        let determinant = dx[0] * dy[1] - dy[0] * dx[1];
        p[0] += (rx * dy[1] - ry * dy[0]) / determinant;
        p[1] += (ry * dx[0] - rx * dx[1]) / determinant;
    }
    None
}

#[cfg(test)]
mod tests;
