//! The results of `dia bench solvers` as tables and as comma-separated values.

use std::collections::BTreeMap;

use serde::Serialize;

use super::backend::Backend;
use super::case::{Measured, Row};
use super::cost_model::{CostModel, Sample};
use super::method::{BenchLoss, Method};
use super::table::markdown;
use crate::args::name_of;

/// A model of the rows of a method, loss, back end and number of threads that have a constant kernel.
#[derive(Debug, Serialize)]
pub(crate) struct MethodCost {
    pub(crate) method: Method,
    pub(crate) loss: BenchLoss,
    pub(crate) backend: Backend,
    pub(crate) threads: usize,
    #[serde(flatten)]
    pub(crate) model: CostModel,
    /// Most pixels that were measured.
    pub(crate) largest: usize,
    /// Time by the model over the time measured, where most pixels were.
    pub(crate) at_largest: f64,
}

/// Time of a row that came to the minimum.
pub(crate) fn time_to_minimum(row: &Row) -> Option<&Measured> {
    row.measured.as_ref().filter(|_| row.converged)
}

/// All tables, with their headings.
pub(crate) fn tables(rows: &[Row]) -> String {
    let parts = [
        ("Measurements", measurements(rows)),
        ("Time to a distance from the minimum", arrivals(rows)),
        ("Fastest method", winners(rows)),
        ("Cost models", cost_table(rows)),
        ("Extrapolations, not measured", extrapolations(rows)),
        ("Sampled-Gram PCG against Cholesky", crossover(rows)),
    ];
    let parts = parts.iter().filter(|(_, table)| !table.is_empty());
    let parts: Vec<String> =
        parts.map(|(heading, table)| format!("### {heading}\n\n{table}")).collect();
    parts.join("\n")
}

const HEADS: [&str; 19] = [
    "image",
    "h",
    "degree",
    "n",
    "loss",
    "method",
    "precision",
    "backend",
    "threads",
    "set-up / ms",
    "per iteration / ms",
    "total / ms",
    "iterations",
    "passes",
    "products",
    "memory / MB",
    "distance / σ",
    "P",
    "end",
];

fn measurements(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let case = &row.case;
        let settings = |precision: &str, n: String| {
            vec![
                format!("{}²", case.side),
                case.half_width.to_string(),
                case.degree.to_string(),
                n,
                name_of(&case.loss),
                name_of(&case.method),
                precision.to_owned(),
                case.backend.to_string(),
                case.threads.to_string(),
            ]
        };
        let Some(m) = &row.measured else {
            let mut cells = settings("", String::new());
            cells.resize(HEADS.len() - 1, String::new());
            cells.push(row.status.clone());
            return cells;
        };
        let mut cells = settings(&m.precision, m.unknowns.to_string());
        let limited = if row.converged { "" } else { "> " };
        cells.extend([
            format!("{:.1}", 1e3 * m.setup_s),
            format!("{:.2}", 1e3 * m.per_iteration_s),
            format!("{limited}{:.1}", 1e3 * m.total_s),
            m.iterations.to_string(),
            m.passes.to_string(),
            m.products.to_string(),
            added_memory(m).map_or(String::new(), |bytes| format!("{:.0}", bytes as f64 / 1e6)),
            short(m.distance),
            format!("{:.5}", m.photometric_scale),
            row.status.clone(),
        ]);
        cells
    };
    if rows.is_empty() {
        return String::new();
    }
    markdown(&HEADS, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// What the method took beside the images.
fn added_memory(m: &Measured) -> Option<u64> {
    Some(m.peak_bytes?.saturating_sub(m.base_bytes?))
}

/// Two digits.
fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e4).contains(&value) {
        format!("{value:.3}")
    } else {
        format!("{value:.1e}")
    }
}

/// When a method has come within 10, 1, 0.1 and 0.01 σ, for rows with a curve.
fn arrivals(rows: &[Row]) -> String {
    let cells = |(row, m): (&Row, &Measured)| {
        let mut cells = vec![
            format!("{}²", row.case.side),
            m.unknowns.to_string(),
            name_of(&row.case.loss),
            row.case.backend.to_string(),
            row.case.threads.to_string(),
            name_of(&row.case.method),
        ];
        cells.extend([10.0, 1.0, 0.1, 0.01].map(|distance| {
            let arrived = m.curve.iter().find(|point| point.distance <= distance);
            arrived.map_or("–".into(), |point| format!("{:.1}", 1e3 * point.seconds))
        }));
        cells
    };
    let with_curves = rows.iter().filter_map(|row| Some((row, row.measured.as_ref()?)));
    let cells: Vec<_> = with_curves.filter(|(_, m)| !m.curve.is_empty()).map(cells).collect();
    if cells.is_empty() {
        return String::new();
    }
    let heads = [
        "image",
        "n",
        "loss",
        "backend",
        "threads",
        "method",
        "10 σ / ms",
        "1 σ / ms",
        "0.1 σ / ms",
        "0.01 σ / ms",
    ];
    let table = markdown(&heads, &cells);
    format!(
        "The first point of the way that is as near; points are as far apart as the figure shows.\n\n{table}"
    )
}

/// The fastest converged row and the next of another kind, per problem and number of threads.
fn winners(rows: &[Row]) -> String {
    let mut cells = Vec::new();
    for group in problems(rows) {
        let Some((first, rest)) = group.split_first() else { continue };
        let case = &first.0.case;
        let best_of = |direct: bool| {
            let mut of_kind = group.iter().filter(|(row, _)| is_direct(row.case.method) == direct);
            of_kind.next().map_or(String::new(), |(row, m)| {
                format!("{} {:.1} ms", name_of(&row.case.method), 1e3 * m.total_s)
            })
        };
        let next = rest.first().map_or(String::new(), |(row, _)| name_of(&row.case.method));
        cells.push(vec![
            format!("{}²", case.side),
            first.1.unknowns.to_string(),
            case.degree.to_string(),
            name_of(&case.loss),
            case.backend.to_string(),
            case.threads.to_string(),
            name_of(&case.method),
            next,
            best_of(false),
            best_of(true),
        ]);
    }
    if cells.is_empty() {
        return String::new();
    }
    let heads = [
        "image",
        "n",
        "degree",
        "loss",
        "backend",
        "threads",
        "fastest",
        "next",
        "best iterative",
        "best direct",
    ];
    markdown(&heads, &cells)
}

/// Whether the method builds the whole normal matrix.
pub(crate) fn is_direct(method: Method) -> bool {
    matches!(
        method,
        Method::Cholesky | Method::CholeskyF32 | Method::CholeskyRebuilt | Method::FitCholesky
    )
}

/// The converged rows of each problem, back end and number of threads, the fastest first.
pub(crate) fn problems<'a>(
    rows: impl IntoIterator<Item = &'a Row>,
) -> Vec<Vec<(&'a Row, &'a Measured)>> {
    let mut groups: BTreeMap<_, Vec<(&'a Row, &'a Measured)>> = BTreeMap::new();
    for row in rows {
        if let Some(m) = time_to_minimum(row) {
            let c = &row.case;
            let key = (c.loss, &c.backend, c.threads, c.degree, c.side, c.half_width, c.seed);
            groups.entry(key).or_default().push((row, m));
        }
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    for group in &mut groups {
        group.sort_by(|a, b| a.1.total_s.total_cmp(&b.1.total_s));
    }
    groups
}

/// The models that the rows allow.
pub(crate) fn cost_models(rows: &[Row]) -> Vec<MethodCost> {
    let mut groups: BTreeMap<_, Vec<&Measured>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.case.degree == 0) {
        if let Some(m) = time_to_minimum(row) {
            let c = &row.case;
            groups.entry((c.loss, &c.backend, c.threads, c.method)).or_default().push(m);
        }
    }
    let model =
        |((loss, backend, threads, method), measured): ((_, &Backend, _, _), Vec<&Measured>)| {
            let sample = |m: &&Measured| Sample {
                pixels: m.pixels as f64,
                unknowns: m.unknowns as f64,
                seconds: m.total_s,
            };
            let samples: Vec<Sample> = measured.iter().map(sample).collect();
            let model = CostModel::fit(&samples)?;
            let largest = measured.iter().max_by_key(|m| m.pixels)?;
            let modelled = model.seconds(largest.pixels as f64, largest.unknowns as f64);
            let (largest, at_largest) = (largest.pixels, modelled / largest.total_s);
            Some(MethodCost {
                method,
                loss,
                backend: backend.clone(),
                threads,
                model,
                largest,
                at_largest,
            })
        };
    groups.into_iter().filter_map(model).collect()
}

fn cost_table(rows: &[Row]) -> String {
    let cells = |cost: &MethodCost| {
        let m = &cost.model;
        vec![
            name_of(&cost.method),
            name_of(&cost.loss),
            cost.backend.to_string(),
            cost.threads.to_string(),
            term(m.constant, format!("{:.1}", 1e3 * m.constant)),
            term(m.per_pixel, format!("{:.0}", 1e9 * m.per_pixel)),
            term(m.factor, format!("{:.1e}", m.factor)),
            term(m.factor, format!("{:.2}", m.alpha)),
            term(m.factor, format!("{:.2}", m.beta)),
            term(m.cubic, format!("{:.0}", 1e12 * m.cubic)),
            format!("{:.0} %", 100.0 * m.scatter.exp_m1()),
            format!("{:.0} %", 100.0 * m.scatter_left_out.exp_m1()),
            m.samples.to_string(),
        ]
    };
    let costs = cost_models(rows);
    if costs.is_empty() {
        return String::new();
    }
    let heads = [
        "method",
        "loss",
        "backend",
        "threads",
        "c / ms",
        "p / ns",
        "a / s",
        "α (pixels)",
        "β (unknowns)",
        "b / ps",
        "scatter",
        "left out",
        "rows",
    ];
    let table = markdown(&heads, &costs.iter().map(cells).collect::<Vec<_>>());
    format!(
        "t = c + p N + a N^α n^β + b n³, N pixels and n unknowns, of constant kernels; a term that is not there would not help to predict a row from the others. Scatter is the rms of \
         the relative error, once more where each row is left out of the fit that predicts it.\n\n{table}"
    )
}

/// A term's number, if the term is there.
fn term(coefficient: f64, number: String) -> String {
    if coefficient == 0.0 { String::new() } else { number }
}

/// Rows that a model needs to be carried beyond what was measured.
const LEAST_SAMPLES: usize = 12;

/// Unknowns of a 19 × 19 kernel with a background of degree 1.
const UNKNOWNS: f64 = 364.0;

/// The models that are carried beyond what was measured.
fn trusted_models(rows: &[Row]) -> Vec<MethodCost> {
    cost_models(rows).into_iter().filter(|cost| cost.model.samples >= LEAST_SAMPLES).collect()
}

fn extrapolations(rows: &[Row]) -> String {
    let cells = |cost: &MethodCost| {
        let large = cost.model.seconds(1e8, UNKNOWNS);
        let night = 1000.0 * cost.model.seconds(4096.0 * 4096.0, UNKNOWNS);
        vec![
            name_of(&cost.method),
            name_of(&cost.loss),
            cost.backend.to_string(),
            cost.threads.to_string(),
            format!("{:.1e}", cost.largest as f64),
            format!("{:.2}", cost.at_largest),
            format!("{large:.1}"),
            format!("{:.2}", night / 3600.0),
        ]
    };
    let costs = trusted_models(rows);
    if costs.is_empty() {
        return String::new();
    }
    let heads = [
        "method",
        "loss",
        "backend",
        "threads",
        "largest measured / pixels",
        "model / measured there",
        "10k × 10k / s (extrapolated)",
        "1000 images of 4096² / h (extrapolated)",
    ];
    let table = markdown(&heads, &costs.iter().map(cells).collect::<Vec<_>>());
    format!("From the cost models, for n = {UNKNOWNS}; every image is solved by itself.\n\n{table}")
}

/// Numbers of factorizations of the normal matrix that sampled-Gram PCG is compared with.
const FACTORIZATIONS: [f64; 3] = [1.0, 3.0, 10.0];

/// Where sampled-Gram PCG and the faster of the two normal matrices take the same time, between measured sizes.
fn crossover(rows: &[Row]) -> String {
    // Per line of the table: side, seconds of PCG, and of the direct solver for each number of factorizations.
    let mut lines: BTreeMap<_, Vec<(f64, f64, [f64; 3])>> = BTreeMap::new();
    for group in problems(rows) {
        let pcg = group.iter().find(|(row, _)| row.case.method == Method::PcgSampledGram);
        let direct = group
            .iter()
            .filter(|(row, _)| matches!(row.case.method, Method::Cholesky | Method::CholeskyF32));
        let Some((row, pcg)) = pcg else { continue };
        let best = FACTORIZATIONS.map(|count| {
            let times = direct.clone().map(|(_, m)| m.total_s + (count - 1.0) * m.setup_s);
            times.fold(f64::INFINITY, f64::min)
        });
        if best[0].is_finite() {
            let c = &row.case;
            let line = (c.loss, &c.backend, c.threads, c.degree, pcg.unknowns);
            lines.entry(line).or_default().push((c.side as f64, pcg.total_s, best));
        }
    }
    lines.retain(|_, sides| sides.len() > 1);
    if lines.is_empty() {
        return String::new();
    }
    let cells = lines.iter().map(|((loss, backend, threads, degree, unknowns), sides)| {
        let mut cells = vec![
            name_of(loss),
            backend.to_string(),
            threads.to_string(),
            degree.to_string(),
            unknowns.to_string(),
        ];
        cells.extend([0, 1, 2].map(|k| {
            let gains = sides.iter().map(|(side, pcg, direct)| (*side, (direct[k] / pcg).ln()));
            crossing(&gains.collect::<Vec<_>>())
        }));
        cells
    });
    let heads = ["loss", "backend", "threads", "degree", "n", "1 factorization", "3", "10"];
    let table = markdown(&heads, &cells.collect::<Vec<_>>());
    format!(
        "Side of the image in pixels from which sampled-Gram PCG is faster than the faster of `cholesky` and `cholesky-f32`, interpolated between the measured sizes; the normal \
         matrix is built and factored once, or so many times for as many reweightings.\n\n{table}"
    )
}

/// The side from which the gain stays positive, by interpolation in the side's logarithm; `gains` are (side, gain), sides rising.
fn crossing(gains: &[(f64, f64)]) -> String {
    let Some(last_loss) = gains.iter().rposition(|(_, gain)| *gain <= 0.0) else {
        return gains.first().map_or(String::new(), |(side, _)| format!("< {side}"));
    };
    let (side, gain) = gains[last_loss];
    let Some((next, next_gain)) = gains.get(last_loss + 1) else { return format!("> {side}") };
    let fraction = gain / (gain - next_gain);
    format!("{:.0}", side * (next / side).powf(fraction))
}

/// One line per row, numbers in SI units; what is not known is empty.
pub(crate) fn csv(rows: &[Row]) -> String {
    let heads = "side,half_width,degree,loss,method,backend,threads,seed,status,converged,pixels,unknowns,precision,setup_s,\
                 per_iteration_s,total_s,iterations,passes,products,base_bytes,peak_bytes,distance_sigma,photometric_scale\n";
    let line = |row: &Row| {
        let c = &row.case;
        let settings = format!(
            "{},{},{},{},{},\"{}\",{},{},\"{}\",{}",
            c.side,
            c.half_width,
            c.degree,
            name_of(&c.loss),
            name_of(&c.method),
            c.backend,
            c.threads,
            c.seed,
            row.status.replace('"', "'"),
            row.converged
        );
        let Some(m) = &row.measured else { return format!("{settings},,,,,,,,,,,,,\n") };
        let optional = |bytes: Option<u64>| bytes.map_or(String::new(), |bytes| bytes.to_string());
        format!(
            "{settings},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
            m.pixels,
            m.unknowns,
            m.precision,
            m.setup_s,
            m.per_iteration_s,
            m.total_s,
            m.iterations,
            m.passes,
            m.products,
            optional(m.base_bytes),
            optional(m.peak_bytes),
            m.distance,
            m.photometric_scale
        )
    };
    heads.to_owned() + &rows.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::crossing;

    #[test]
    fn the_crossing_lies_between_the_last_loss_and_the_next_gain() {
        // Halfway in the logarithm between 100 and 400.
        assert_eq!(crossing(&[(100.0, -1.0), (400.0, 1.0), (800.0, 2.0)]), "200");
        // A gain that is lost again does not count.
        assert_eq!(crossing(&[(50.0, 0.1), (100.0, -1.0), (400.0, 1.0)]), "200");
        assert_eq!(crossing(&[(100.0, 0.5), (400.0, 1.0)]), "< 100");
        assert_eq!(crossing(&[(100.0, -0.5), (400.0, -1.0)]), "> 400");
        assert_eq!(crossing(&[]), "");
    }
}
