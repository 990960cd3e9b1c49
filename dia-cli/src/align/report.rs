//! What the report says of an alignment.

use dia_align::PlaneMap;
use serde::Serialize;

use super::decision::Decision;
use super::headers::WcsReport;
use super::search::{Found, Lie};

/// How the images were found to lie, and what was done about it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AlignmentReport {
    /// `stars`, `correlation`, `wcs`, `wcs and stars`, `option` or `none`.
    pub(crate) by: &'static str,
    /// `shift`: whole pixels, and no more than their rest to the kernel; `kernel`: also what varies over the field; `warp`: the reference was warped.
    pub(crate) decision: &'static str,
    /// Stars found in reference and target, and those that meet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stars: Option<StarCounts>,
    /// log₁₀ of the expected number of accidents that would let as many stars meet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log10_chance: Option<f64>,
    /// The map that the stars tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) map: Option<MapReport>,
    /// Pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) displacement: Option<DisplacementReport>,
    /// What the world coordinates of both headers say beside it; left out where they say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wcs: Option<WcsReport>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct StarCounts {
    pub(crate) reference: usize,
    pub(crate) target: usize,
    pub(crate) matched: usize,
}

/// What whole pixels and turns leave, over the field.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DisplacementReport {
    pub(crate) least: f64,
    pub(crate) largest: f64,
    /// Largest difference from the mean.
    pub(crate) variation: f64,
    /// The variation up to which it is left to the kernel.
    pub(crate) limit: f64,
}

/// A map from pixels of the target to pixels of the reference, 0 in the middle of the first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MapReport {
    /// `similarity`, `affine`, `quadratic`, or `wcs`.
    pub(crate) model: &'static str,
    /// How the target is turned against the reference in its middle, in degrees from columns to rows.
    pub(crate) rotation: f64,
    /// Length in the target over length in the reference.
    pub(crate) scale: f64,
    /// Whether columns are reversed first.
    pub(crate) mirrored: bool,
    /// Scatter of the stars about the map in one coordinate, in pixels of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) residual: Option<f64>,
    /// Largest standard deviation of the map over the target, in pixels of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sigma: Option<f64>,
    /// Polynomials of (x − centre\[0\])/unit and (y − centre\[1\])/unit.
    pub(crate) degree: usize,
    pub(crate) centre: [f64; 2],
    pub(crate) unit: f64,
    /// Coefficients of 1, x, y, x², xy, y², … of the column in the reference.
    pub(crate) x: Vec<f64>,
    /// Of its row.
    pub(crate) y: Vec<f64>,
}

impl MapReport {
    pub(crate) fn new(map: &PlaneMap, model: &'static str, shape: (usize, usize)) -> Self {
        let (angle, scale, mirrored) = map.turn(0.5 * shape.1 as f64, 0.5 * shape.0 as f64);
        let (centre, unit) = map.coordinates();
        let [x, y] = map.coefficients().map(<[f64]>::to_vec);
        Self {
            model,
            // Of the inverse: a mirrored turn is its own.
            rotation: if mirrored { angle } else { -angle },
            scale: scale.recip(),
            mirrored,
            residual: None,
            sigma: None,
            degree: map.degree(),
            centre: [centre.0, centre.1],
            unit,
            x,
            y,
        }
    }
}

impl AlignmentReport {
    /// From the target's pixels to the reference's, if that was warped.
    pub(crate) fn warp(&self) -> Option<PlaneMap> {
        let map = self.map.as_ref().filter(|_| self.decision == "warp")?;
        let centre = (map.centre[0], map.centre[1]);
        Some(PlaneMap::polynomial(map.degree, centre, map.unit, [&map.x, &map.y]))
    }

    /// Without a search.
    pub(super) fn given(by: &'static str) -> Self {
        Self {
            by,
            decision: "shift",
            stars: None,
            log10_chance: None,
            map: None,
            displacement: None,
            wcs: None,
        }
    }

    pub(super) fn of(found: &Found, decision: &Decision, shape: (usize, usize)) -> Self {
        let Found { lie, by, counts: [reference, target], pairs, log_chance } = found;
        let map = match lie {
            Lie::Offset(_) => None,
            Lie::Map { map, .. } => {
                let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)];
                let variance = corners.map(|(x, y)| {
                    let [uu, _, vv] = map.covariance_at(x * shape.1 as f64, y * shape.0 as f64);
                    uu.max(vv)
                });
                let sigma = variance.into_iter().fold(0.0, f64::max).sqrt();
                Some(MapReport {
                    residual: Some(map.residual),
                    sigma: Some(sigma),
                    ..MapReport::new(&map.map, map.model.name(), shape)
                })
            }
        };
        let displacement = decision.left.map(|[least, largest]| DisplacementReport {
            least,
            largest,
            variation: decision.variation,
            limit: decision.limit,
        });
        Self {
            by,
            decision: decision.name(),
            stars: Some(StarCounts {
                reference: *reference,
                target: *target,
                matched: pairs.len(),
            }),
            log10_chance: *log_chance,
            map,
            displacement,
            wcs: None,
        }
    }
}
