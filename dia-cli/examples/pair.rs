//! Subtracts one FITS image from another, says how well that went, and lists what changed.

use std::path::PathBuf;

use dia_cli::fits::FitsSpec;
use dia_cli::{Input, InputOptions, Level, Role, Scenery, SubtractRequest, Values, subtract};
use dia_solvers::Covariance;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [reference, target] = paths.as_slice() else {
        return Err("give a reference and a target".into());
    };
    // Gain, read noise and mask are looked for in the files; `InputOptions` says what is not there.
    let options = InputOptions::default();
    let reference = Input::<f32>::read(&FitsSpec::parse(reference)?, Role::Reference, &options)?;
    let target = Input::<f32>::read(&FitsSpec::parse(target)?, Role::Target, &options)?;

    let mut request = SubtractRequest::default();
    // Measurements need to know how sure the kernel is.
    request.fit.covariance = Some(Covariance::Sampled);
    let subtraction = subtract(reference, target, &request, &mut |_| ())?;

    let report = &subtraction.report;
    for reason in report.reasons() {
        println!("{reason}");
    }
    if report.level() == Level::Fail {
        return Err("the difference is not to be used".into());
    }
    let scale = subtraction.difference.photometric_scale;
    println!("photometric scale {:.4} ± {:.4}", scale.value, scale.sigma);

    // The table that `dia subtract --sources` writes.
    let found = Scenery::of_subtraction(&subtraction)?.detections(5.0)?;
    for column in found.columns.iter().filter(|column| ["x", "y", "snr"].contains(&column.name)) {
        if let Values::Numbers(values) = &column.values {
            println!("{} {values:.1?}", column.name);
        }
    }
    Ok(())
}
