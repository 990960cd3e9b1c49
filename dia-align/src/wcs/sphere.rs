//! The rotation between native and celestial coordinates (paper II, section 2).

/// By the celestial coordinates of the native pole, and the native longitude of the celestial pole, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rotation {
    /// α_p and δ_p.
    pole: (f64, f64),
    /// φ_p.
    native_longitude: f64,
}

impl Rotation {
    /// For the reference point (φ₀, θ₀) ↦ (α₀, δ₀), LONPOLE and LATPOLE.
    ///
    /// `None` where no sphere has them together.
    pub(super) fn new(
        (phi_0, theta_0): (f64, f64),
        (alpha_0, delta_0): (f64, f64),
        phi_p: f64,
        latpole: f64,
    ) -> Option<Self> {
        if theta_0 == 90.0 {
            return Some(Self { pole: (alpha_0, delta_0), native_longitude: phi_p });
        }
        let (sin_t, cos_t) = theta_0.to_radians().sin_cos();
        let (sin_p, cos_p) = (phi_p - phi_0).to_radians().sin_cos();
        let (sin_d, cos_d) = delta_0.to_radians().sin_cos();
        // Eq. 8: two latitudes of the pole, of which the one nearer to LATPOLE holds.
        let across = (1.0 - (cos_t * sin_p).powi(2)).sqrt();
        let delta_p = if across < 1e-12 {
            if sin_d.abs() > 1e-12 {
                return None;
            }
            latpole
        } else {
            let ratio = sin_d / across;
            if ratio.abs() > 1.0 + 1e-12 {
                return None;
            }
            let middle = sin_t.atan2(cos_t * cos_p).to_degrees();
            let half = ratio.clamp(-1.0, 1.0).acos().to_degrees();
            let wrapped = [middle + half, middle - half].map(|d| d - 360.0 * (d / 360.0).round());
            let valid = wrapped.into_iter().filter(|d| d.abs() <= 90.0 + 1e-9);
            valid.min_by(|a, b| (a - latpole).abs().total_cmp(&(b - latpole).abs()))?
        };
        let (sin_dp, cos_dp) = delta_p.to_radians().sin_cos();
        let alpha_p = if cos_d.abs() < 1e-12 {
            alpha_0
        } else if (delta_p - 90.0).abs() < 1e-9 {
            alpha_0 + phi_p - phi_0 - 180.0
        } else if (delta_p + 90.0).abs() < 1e-9 {
            alpha_0 - phi_p + phi_0
        } else {
            let (sin, cos) = (sin_p * cos_t / cos_d, (sin_t - sin_dp * sin_d) / (cos_dp * cos_d));
            alpha_0 - sin.atan2(cos).to_degrees()
        };
        Some(Self { pole: (alpha_p, delta_p), native_longitude: phi_p })
    }

    /// Celestial coordinates, the longitude from 0 to 360.
    pub(super) fn celestial(&self, (phi, theta): (f64, f64)) -> (f64, f64) {
        let (longitude, latitude) = turned((phi - self.native_longitude, theta), self.pole.1);
        ((self.pole.0 + longitude).rem_euclid(360.0), latitude)
    }

    /// Native coordinates.
    pub(super) fn native(&self, (alpha, delta): (f64, f64)) -> (f64, f64) {
        let (longitude, latitude) = turned((alpha - self.pole.0, delta), self.pole.1);
        (self.native_longitude + longitude, latitude)
    }
}

/// Eqs. 2 and 5, which are the same: from longitudes about one pole to those about the other.
fn turned((longitude, latitude): (f64, f64), pole: f64) -> (f64, f64) {
    let (sin_l, cos_l) = longitude.to_radians().sin_cos();
    let (sin_b, cos_b) = latitude.to_radians().sin_cos();
    let (sin_p, cos_p) = pole.to_radians().sin_cos();
    let x = sin_b * cos_p - cos_b * sin_p * cos_l;
    let y = -cos_b * sin_l;
    let z = sin_b * sin_p + cos_b * cos_p * cos_l;
    (y.atan2(x).to_degrees(), z.atan2(x.hypot(y)).to_degrees())
}
