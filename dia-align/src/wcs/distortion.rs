//! Distortions before the projection: SIP in pixels, TPV in degrees of the plane.

/// SIP: u + f(u, v) and v + g(u, v) in pixels from CRPIX.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sip {
    /// (p, q, coefficient) of u^p v^q.
    pub(super) a: Vec<(i32, i32, f64)>,
    pub(super) b: Vec<(i32, i32, f64)>,
}

impl Sip {
    pub(super) fn apply(&self, [u, v]: [f64; 2]) -> [f64; 2] {
        let sum = |terms: &[(i32, i32, f64)]| -> f64 {
            terms.iter().map(|(p, q, c)| c * u.powi(*p) * v.powi(*q)).sum()
        };
        [u + sum(&self.a), v + sum(&self.b)]
    }

    /// The (u, v) that is carried to a place, by Newton's method: the polynomials AP and BP of a header are approximations, and are not used.
    pub(super) fn undo(&self, place: [f64; 2]) -> Option<[f64; 2]> {
        inverse(|at| self.apply(at), place, 1e-3)
    }
}

/// TPV: polynomials with 40 terms each, of which four are powers of the distance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tpv {
    /// PV of the longitude's axis and of the latitude's.
    pub(super) pv: [[f64; 40]; 2],
}

impl Tpv {
    pub(super) fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [polynomial(&self.pv[0], x, y), polynomial(&self.pv[1], y, x)]
    }

    /// The point that is carried to a place, by Newton's method; `None` beyond the range in which the polynomials are one to one.
    pub(super) fn undo(&self, place: [f64; 2]) -> Option<[f64; 2]> {
        inverse(|at| self.apply(at), place, 1e-6)
    }
}

/// Σ PV_m t_m(x, y), by the order of the FITS registry.
fn polynomial(pv: &[f64; 40], x: f64, y: f64) -> f64 {
    let r = x.hypot(y);
    let mut sum = pv[0];
    let mut m = 1;
    for degree in 1..=7_i32 {
        for q in 0..=degree {
            sum += pv[m] * x.powi(degree - q) * y.powi(q);
            m += 1;
        }
        if degree % 2 == 1 {
            sum += pv[m] * r.powi(degree);
            m += 1;
        }
    }
    sum
}

/// Steps of Newton's method: each doubles the digits, once it is near.
const STEPS: usize = 40;

/// Solves f(at) = place from at = place. `step` is what differences are taken over.
fn inverse(f: impl Fn([f64; 2]) -> [f64; 2], place: [f64; 2], step: f64) -> Option<[f64; 2]> {
    let mut at = place;
    let size = 1.0 + place[0].abs() + place[1].abs();
    for _ in 0..STEPS {
        let [u, v] = f(at);
        let miss = [place[0] - u, place[1] - v];
        let along = |dx: f64, dy: f64| {
            let (p, q) = (f([at[0] + dx, at[1] + dy]), f([at[0] - dx, at[1] - dy]));
            [(p[0] - q[0]) / (2.0 * step), (p[1] - q[1]) / (2.0 * step)]
        };
        let ([a, c], [b, d]) = (along(step, 0.0), along(0.0, step));
        let determinant = a * d - b * c;
        // Beyond a fold, another place has the same image.
        if !determinant.is_finite() || determinant <= 0.0 {
            return None;
        }
        let change =
            [(d * miss[0] - b * miss[1]) / determinant, (a * miss[1] - c * miss[0]) / determinant];
        at = [at[0] + change[0], at[1] + change[1]];
        if change[0].hypot(change[1]) < 1e-13 * size {
            break;
        }
    }
    let [u, v] = f(at);
    ((u - place[0]).hypot(v - place[1]) < 1e-9 * size).then_some(at)
}
