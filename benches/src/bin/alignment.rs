//! Pairs of star lists that lie in any way, and whether they are matched rightly: `alignment [PAIRS [FIRST [FOLDER]]]`, FIRST being the first seed.
//!
//! A sky of stars is seen by two images of 512 × 512 pixels: turned by 0 to 180°, mirrored or not, scaled by 0.7 to 1.3, overlapping by 20 to 100 %, with 3 to 300 stars per 100 × 100 pixels;
//! every tenth pair has five stars in all. Each image has centroids with errors that grow with faintness (0.05 to 0.5 pixels), fluxes to 5 %, a tenth of the stars missing, five in a hundred that are none, and of
//! two within 5 pixels only the brighter one. With a folder, the lists are written there for `benches/astroalign_pairs.py`.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use dia_align::{MatchOptions, PlaneMap, match_stars};
use dia_core::stars::Star;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal, Uniform};
use rand_xoshiro::Xoshiro256PlusPlus;

const SIDE: f64 = 512.0;
const SHAPE: (usize, usize) = (512, 512);

/// Stars that an image's list has at most.
const MOST: usize = 1000;

/// A match is right if no star of the overlap is this far off, in pixels.
const RIGHT: f64 = 1.5;

struct Pair {
    lists: [Vec<Star>; 2],
    truth: PlaneMap,
    density: f64,
    overlap: f64,
    few: bool,
    /// Places in the second image of stars that both images can see.
    common: Vec<(f64, f64)>,
}

fn uniform(rng: &mut Xoshiro256PlusPlus, from: f64, to: f64) -> f64 {
    Uniform::new(from, to).expect("a range").sample(rng)
}

fn pair(seed: u64) -> Pair {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let few = seed % 10 == 9;
    let angle = uniform(&mut rng, 0.0, 180.0);
    let mirrored = uniform(&mut rng, 0.0, 1.0) < 0.5;
    let scale = uniform(&mut rng, 0.7, 1.3);
    let density = 3.0 * 100.0_f64.powf(uniform(&mut rng, 0.0, 1.0));
    let wanted = if few { 1.0 } else { uniform(&mut rng, 0.2, 1.0) };
    // From the second image to the first, whose middles are `off` pixels from each other.
    let (sin, cos) = angle.to_radians().sin_cos();
    let (a, b) = (scale * cos, scale * sin);
    let sign = if mirrored { -1.0 } else { 1.0 };
    let direction = uniform(&mut rng, 0.0, std::f64::consts::TAU);
    let at = |off: f64| {
        let c = 0.5 * (SIDE - 1.0);
        let (u, v) = (c + off * direction.cos(), c + off * direction.sin());
        PlaneMap::affine([
            [u - sign * a * c + b * c, sign * a, -b],
            [v - sign * b * c - a * c, sign * b, a],
        ])
    };
    let inside = |(x, y): (f64, f64)| (0.0..SIDE).contains(&x) && (0.0..SIDE).contains(&y);
    let share = |map: &PlaneMap| {
        let places = (0..1600).map(|k| {
            let along = |k: usize| (k as f64 + 0.5) * SIDE / 40.0;
            map.place(along(k % 40), along(k / 40))
        });
        places.filter(|place| inside(*place)).count() as f64 / 1600.0
    };
    // The part of the second image that the first sees, by bisection.
    let (mut near, mut far) = (0.0, 1.5 * SIDE);
    for _ in 0..30 {
        let middle = 0.5 * (near + far);
        if share(&at(middle)) > wanted { near = middle } else { far = middle }
    }
    let truth = at(0.5 * (near + far));
    let overlap = share(&truth);

    let stars: Vec<(f64, f64, f64)> = if few {
        let middle = 0.5 * SIDE;
        let reach = 0.3 * SIDE;
        (0..5)
            .map(|_| {
                let x = uniform(&mut rng, middle - reach, middle + reach);
                let y = uniform(&mut rng, middle - reach, middle + reach);
                let (u, v) = truth.place(x, y);
                (u, v, 1e5)
            })
            .collect()
    } else {
        let count = (density * (4.0 * SIDE / 100.0).powi(2)) as usize;
        (0..count)
            .map(|_| {
                let u = uniform(&mut rng, -1.5 * SIDE, 2.5 * SIDE);
                let v = uniform(&mut rng, -1.5 * SIDE, 2.5 * SIDE);
                (u, v, 1e3 * uniform(&mut rng, 1e-6, 1.0).powf(-0.7))
            })
            .collect()
    };
    let mut common = Vec::new();
    let mut lists = [Vec::new(), Vec::new()];
    for (u, v, flux) in stars {
        let Some((x, y)) = truth.back(u, v) else { continue };
        if inside((u, v)) && inside((x, y)) {
            common.push((x, y));
        }
        for (k, place) in [(u, v), (x, y)].into_iter().enumerate() {
            let error = (50.0 / flux.sqrt()).clamp(0.05, 0.5);
            let normal = |rng: &mut Xoshiro256PlusPlus| -> f64 { StandardNormal.sample(rng) };
            let moved = (place.0 + error * normal(&mut rng), place.1 + error * normal(&mut rng));
            let seen = flux * (1.0 + 0.05 * normal(&mut rng));
            if inside(moved) && (few || uniform(&mut rng, 0.0, 1.0) > 0.1) {
                lists[k].push(Star { x: moved.0, y: moved.1, flux: seen });
            }
        }
    }
    let lists = lists.map(|list| detected(list, few, &mut rng));
    Pair { lists, truth, density, overlap, few, common }
}

/// What a search finds of an image's stars: with some that are none, and without close neighbours.
fn detected(mut list: Vec<Star>, few: bool, rng: &mut Xoshiro256PlusPlus) -> Vec<Star> {
    let false_ones = if few { 0 } else { list.len() / 20 };
    for _ in 0..false_ones {
        let (x, y) = (uniform(rng, 0.0, SIDE), uniform(rng, 0.0, SIDE));
        list.push(Star { x, y, flux: 1e3 * uniform(rng, 1e-6, 1.0).powf(-0.7) });
    }
    list.sort_by(|a, b| b.flux.total_cmp(&a.flux));
    let mut kept: Vec<Star> = Vec::new();
    for star in list {
        if kept.len() < MOST && kept.iter().all(|k| (k.x - star.x).hypot(k.y - star.y) > 5.0) {
            kept.push(star);
        }
    }
    kept
}

#[derive(Clone, Copy, Default)]
struct Tally {
    right: usize,
    wrong: usize,
    refused: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let pairs: u64 = arguments.next().map_or(Ok(400), |text| text.parse())?;
    let first: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let seeds = first..first + pairs;
    let folder = arguments.next().map(PathBuf::from);
    let groups = ["5 stars", "overlap 20–40 %", "overlap 40–70 %", "overlap 70–100 %"];
    let mut tallies = [Tally::default(); 4];
    let mut times = Vec::new();
    let mut errors = Vec::new();
    for seed in seeds.clone() {
        let pair = pair(seed);
        if let Some(folder) = &folder {
            write(&pair, &folder.join(format!("{seed:03}.txt")))?;
        }
        let group = if pair.few {
            0
        } else {
            1 + usize::from(pair.overlap > 0.4) + usize::from(pair.overlap > 0.7)
        };
        let start = Instant::now();
        let [first, second] = &pair.lists;
        let matched = match_stars(first, second, SHAPE, SHAPE, &MatchOptions::default());
        times.push(start.elapsed().as_secs_f64());
        match matched {
            Err(error) => {
                tallies[group].refused += 1;
                println!(
                    "{seed}: {:.0} stars per 100², overlap {:.2}: {error}",
                    pair.density, pair.overlap
                );
            }
            Ok(found) => {
                let off = pair.common.iter().map(|(x, y)| {
                    let ((u, v), (s, t)) =
                        (found.fitted.map.place(*x, *y), pair.truth.place(*x, *y));
                    (u - s).hypot(v - t)
                });
                let off = off.fold(0.0, f64::max);
                errors.push(off);
                if off <= RIGHT {
                    tallies[group].right += 1;
                } else {
                    tallies[group].wrong += 1;
                    println!(
                        "{seed}: {:.0} stars per 100², overlap {:.2}: off by {off:.2} pixels, {found:?}",
                        pair.density, pair.overlap
                    );
                }
            }
        }
    }
    // The first image of each pair with the second of the next, which is of another sky.
    let options = MatchOptions::default();
    let unrelated = seeds.filter(|seed| {
        let (one, other) = (pair(*seed), pair(seed + 1));
        let found = match_stars(&one.lists[0], &other.lists[1], SHAPE, SHAPE, &options);
        if let Ok(found) = &found {
            println!("{seed}: unrelated, chance 10^{:.1}", found.log_chance);
        }
        found.is_ok()
    });
    println!("of {pairs} unrelated pairs, {} matched", unrelated.count());
    println!("| pairs | right | wrong | refused |\n|---|---|---|---|");
    for (name, Tally { right, wrong, refused }) in groups.into_iter().zip(tallies) {
        println!("| {name} | {right} | {wrong} | {refused} |");
    }
    times.sort_by(f64::total_cmp);
    errors.sort_by(f64::total_cmp);
    let part = |list: &[f64], part: f64| list[((list.len() - 1) as f64 * part) as usize];
    println!(
        "time: median {:.1} ms, 95 % {:.1} ms, longest {:.0} ms; largest error over the common stars: median {:.3}, 95 % {:.3} pixels",
        1e3 * part(&times, 0.5),
        1e3 * part(&times, 0.95),
        1e3 * part(&times, 1.0),
        part(&errors, 0.5),
        part(&errors, 0.95)
    );
    Ok(())
}

/// The truth (six numbers), whether there are five stars, the common stars and both lists, a place a line.
fn write(pair: &Pair, path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    let [x, y] = pair.truth.coefficients();
    writeln!(text, "{:?} {:?} {} {}", x, y, pair.few, pair.overlap)?;
    for list in [&pair.common[..]]
        .into_iter()
        .map(<[_]>::to_vec)
        .chain(pair.lists.iter().map(|list| list.iter().map(|star| (star.x, star.y)).collect()))
    {
        let _ = writeln!(text, "{}", list.len());
        for (x, y) in list {
            writeln!(text, "{x} {y}")?;
        }
    }
    std::fs::write(path, text)?;
    Ok(())
}
