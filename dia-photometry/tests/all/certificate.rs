//! Stars that are injected come back as they were put in.

use dia_photometry::inject::draw;
use dia_photometry::{
    DetectOptions, ForcedOptions, InjectOptions, ScoreOptions, certify, forced, score,
};

use crate::field::Field;

#[test]
fn injected_stars_certify_a_field_of_noise() {
    let field = Field::new(256, 256, 0.5).with_noise(11);
    let inject = InjectOptions { count: 80, separation: 20.0, ..Default::default() };
    let certificate =
        certify(&field.scene(), &ScoreOptions::default(), &DetectOptions::default(), &inject)
            .unwrap();
    assert_eq!(certificate.stars.len(), 80);
    // Four standard errors of 80 pulls.
    let pull = certificate.flux_pull;
    assert!(
        pull.mean.abs() < 4.0 / 80.0_f64.sqrt() && (pull.deviation - 1.0).abs() < 0.32,
        "{pull:?}"
    );
    let pull = certificate.position_pull;
    assert!(
        pull.count > 60 && (pull.deviation - 1.0).abs() < 4.0 / (2.0 * pull.count as f64).sqrt(),
        "{pull:?}"
    );
    // A peak above 5 σ is found if the noise adds as much as the star lacks, and at the best of several pixels: half of those at 4.8 to 5. Ten stars decide.
    let half = certificate.half_complete().unwrap();
    assert!((half - 4.9).abs() < 1.2, "{half}");
    let found = certificate.completeness(&[2.0, 3.5, 8.0, 50.1]);
    assert!(found[0].found <= 1 && found[2].found == found[2].injected && found[2].injected > 30);
    assert_eq!(found.iter().map(|range| range.injected).sum::<usize>(), 80);
    assert!(certificate.detections <= 1 && certificate.expected_false_alarms < 0.1);
}

#[test]
fn stars_are_drawn_by_their_seed_away_from_light_and_each_other() {
    let mut field = Field::new(128, 128, 0.5);
    // A bright star fills the left half of the reference.
    for y in 0..128 {
        field.reference.row_mut(y)[..60].fill(500.0);
    }
    let scene = field.scene();
    let scores = score(&scene, &ScoreOptions::default()).unwrap();
    let options = InjectOptions { count: 12, ..Default::default() };
    let stars = draw(&scene, &scores, &options).unwrap();
    assert_eq!(stars, draw(&scene, &scores, &options).unwrap());
    assert_ne!(stars, draw(&scene, &scores, &InjectOptions { seed: 2, ..options }).unwrap());
    assert!(!stars.is_empty() && stars.iter().all(|star| star.x > 58.0));
    for (i, a) in stars.iter().enumerate() {
        assert!(stars[..i].iter().all(|b| (a.x - b.x).hypot(a.y - b.y) >= 16.0));
        assert!((2.0..=50.0).contains(&a.signal_to_noise));
    }
    // More than there is room for are as many as there is room for.
    let many = draw(&scene, &scores, &InjectOptions { count: 500, ..options }).unwrap();
    assert!(many.len() < 60);
    // What is added is what is measured, without noise.
    let mut difference = field.difference.clone();
    dia_photometry::inject::add(&scene, &mut difference, &stars);
    let with = Field { difference, ..field.clone() };
    let at: Vec<(f64, f64)> = stars.iter().map(|star| (star.x, star.y)).collect();
    for (row, star) in
        forced(&with.scene(), &at, &ForcedOptions::default()).unwrap().iter().zip(&stars)
    {
        // Stars 16 pixels away leave e^(−16²/4σ²) < 1e-7 in weights.
        assert!((row.flux.value / star.flux - 1.0).abs() < 1e-5, "{row:?}");
    }
}
