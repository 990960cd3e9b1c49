//! Between the plane of projection and native spherical coordinates, in degrees (paper II, section 5).

use std::f64::consts::PI;

/// Degrees per radian.
const R: f64 = 180.0 / PI;

/// How the sphere is shown on a plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Projection {
    /// Gnomonic.
    Tan,
    /// Orthographic, or slant by (ξ, η) (synthesis maps).
    Sin([f64; 2]),
    /// Stereographic.
    Stg,
    /// Equidistant.
    Arc,
    /// Equal area.
    Zea,
    /// Plate carrée: the plane is (φ, θ).
    Car,
}

impl Projection {
    /// Whether its pole is the reference point.
    pub(super) fn is_zenithal(self) -> bool {
        self != Self::Car
    }

    /// Native longitude and latitude (φ, θ) of a point of the plane.
    pub(super) fn native(self, [x, y]: [f64; 2]) -> Option<(f64, f64)> {
        let r = x.hypot(y);
        let phi = if r == 0.0 { 0.0 } else { x.atan2(-y) * R };
        let theta = match self {
            Self::Tan => R.atan2(r) * R,
            Self::Sin([0.0, 0.0]) => (r <= R).then(|| (r / R).acos() * R)?,
            Self::Sin(slant) => return slant_native([x, y], slant),
            Self::Stg => 90.0 - 2.0 * (r / (2.0 * R)).atan() * R,
            Self::Arc => (r <= 180.0).then_some(90.0 - r)?,
            Self::Zea => (r <= 2.0 * R).then(|| 90.0 - 2.0 * (r / (2.0 * R)).asin() * R)?,
            Self::Car => return (y.abs() <= 90.0 + 1e-9).then_some((x, y)),
        };
        Some((phi, theta))
    }

    /// The point of the plane of native coordinates.
    pub(super) fn plane(self, (phi, theta): (f64, f64)) -> Option<[f64; 2]> {
        let (sin, cos) = (theta / R).sin_cos();
        let from_pole = 0.5 * (90.0 - theta) / R;
        let r = match self {
            Self::Tan => (theta > 0.0).then(|| R * cos / sin)?,
            Self::Sin([xi, eta]) => {
                let (sin_phi, cos_phi) = (phi / R).sin_cos();
                // The far side of the sphere is hidden.
                let behind = theta < -(xi * sin_phi - eta * cos_phi).atan() * R;
                let x = R * (cos * sin_phi + xi * (1.0 - sin));
                let y = -R * (cos * cos_phi - eta * (1.0 - sin));
                return (!behind).then_some([x, y]);
            }
            Self::Stg => (theta > -90.0).then(|| 2.0 * R * from_pole.tan())?,
            Self::Arc => 90.0 - theta,
            Self::Zea => 2.0 * R * from_pole.sin(),
            Self::Car => {
                let phi = phi - 360.0 * (phi / 360.0).round();
                return Some([phi, theta]);
            }
        };
        let (sin, cos) = (phi / R).sin_cos();
        Some([r * sin, -r * cos])
    }
}

/// The slant orthographic projection, solved for sin θ.
fn slant_native([x, y]: [f64; 2], [xi, eta]: [f64; 2]) -> Option<(f64, f64)> {
    let (x, y) = (x / R, y / R);
    let a = xi * xi + eta * eta + 1.0;
    let b = xi * (x - xi) + eta * (y - eta);
    let c = (x - xi).powi(2) + (y - eta).powi(2) - 1.0;
    let root = b * b - a * c;
    if root < 0.0 {
        return None;
    }
    let sin = (-b + root.sqrt()) / a;
    if sin.abs() > 1.0 + 1e-12 {
        return None;
    }
    let left = 1.0 - sin;
    let (across, down) = (x - xi * left, y - eta * left);
    // Near the pole, more exactly than by the sine.
    let theta = sin.clamp(-1.0, 1.0).atan2(across.hypot(down)) * R;
    let phi = if across == 0.0 && down == 0.0 { 0.0 } else { across.atan2(-down) * R };
    Some((phi, theta))
}
