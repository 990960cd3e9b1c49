//! The tables of ACCURACY.md on simulated fields: `cargo run --release -p dia-benches --bin accuracy -- models|bias|coverage|scale|spatial|descents|photometry|alarms [SEEDS]`.

mod alarms;
mod bias;
mod coverage;
mod descents;
mod field;
mod models;
mod photometry;
mod scale;
mod spatial;
mod statistics;

use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let table = args.next().unwrap_or_default();
    let seeds: Option<u64> = args.next().map(|seeds| seeds.parse()).transpose()?;
    match table.as_str() {
        "models" => models::print(seeds.unwrap_or(5)),
        "bias" => bias::print(seeds.unwrap_or(20)),
        "coverage" => coverage::print(seeds.unwrap_or(500)),
        "scale" => scale::print(seeds.map_or(Ok(100), usize::try_from)?),
        "spatial" => spatial::print(seeds.unwrap_or(1)),
        "descents" => {
            descents::print(seeds.unwrap_or(2000));
            Ok(())
        }
        "photometry" => photometry::print(seeds.unwrap_or(20)),
        "alarms" => alarms::print(seeds.unwrap_or(20)),
        _ => Err("give the name of a table: models, bias, coverage, scale, spatial, descents, photometry or alarms".into()),
    }
}
