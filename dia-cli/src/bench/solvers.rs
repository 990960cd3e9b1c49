//! `dia bench solvers`: iterative and direct solvers of the same problems.
//!
//! Every case runs in a process of its own, which knows the pair and not the minimum; its peak memory and its threads are therefore its own. The
//! distance from the minimum is taken here, in the metric of the normal matrix at the minimum.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::args::{SolverCaseArgs, SolversArgs};
use super::case::{Case, Row, Run};
use super::grid::cases;
use super::optimum::Optimum;
use super::planes::{Planes, simulate_into};
use super::progress::progress_bar;
use super::solve;
use super::solver_tables;
use super::{plots, process};
use crate::args::RunArgs;
use crate::fits::write_atomically;
use crate::report::write_json;
use crate::subtract::set_threads;
use crate::terminal::say;

/// Runs the command.
pub(crate) fn run(args: &SolversArgs) -> Result<()> {
    let cases = cases(args)?;
    for case in &cases {
        ensure!(
            case.side > 2 * case.half_width + 8,
            "--sizes {}: a kernel of half-width {} leaves hardly a pixel; choose a larger size or a smaller half-width",
            case.side,
            case.half_width
        );
    }
    let mut store = Store::open(args.output.as_deref(), args.fresh)?;
    set_threads(&RunArgs::default())?;
    let bar = progress_bar(cases.len(), "cases", args.quiet);
    let mut field = Field::default();
    for case in &cases {
        if !store.holds(case) {
            bar.set_message(format!("{}² h={}", case.side, case.half_width));
            store.add(field.measure(case)?)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let rows: Vec<Row> = cases.iter().filter_map(|case| store.find(case)).cloned().collect();
    let tables = solver_tables::tables(&rows);
    say(tables.trim_end())?;
    if let Some(folder) = &args.output {
        write_json(&folder.join("results.json"), &rows)?;
        write_text(&folder.join("results.csv"), &solver_tables::csv(&rows))?;
        write_text(&folder.join("tables.md"), &tables)?;
        write_json(&folder.join("cost_models.json"), &solver_tables::cost_models(&rows))?;
        plots::draw(folder, &rows)?;
    }
    Ok(())
}

/// Runs one case, in the process made for it.
pub(crate) fn run_case(args: &SolverCaseArgs) -> Result<()> {
    let case: Case = serde_json::from_str(&args.case).context("the case cannot be read")?;
    let threads = u16::try_from(case.threads).ok();
    set_threads(&RunArgs { threads, ..RunArgs::default() })?;
    let run = solve::run(&case, &args.folder)?;
    say(serde_json::to_string(&run)?)?;
    Ok(())
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomically(path, |mut file| file.write_all(text.as_bytes()))?)
}

/// The pair and the minimum at hand: those of the last case.
#[derive(Default)]
struct Field {
    pair: Option<Pair>,
    optimum: Option<(Case, Optimum)>,
}

/// A simulated pair in a folder of its own, which goes away with it.
struct Pair {
    side: usize,
    seed: u64,
    folder: tempfile::TempDir,
    planes: Planes<f64>,
}

impl Field {
    fn pair(&mut self, case: &Case) -> Result<&Pair> {
        let fits = |pair: &Pair| (pair.side, pair.seed) == (case.side, case.seed);
        if let Some(pair) = self.pair.take().filter(fits) {
            return Ok(self.pair.insert(pair));
        }
        let folder = tempfile::tempdir()
            .context("cannot make a temporary folder; free some space or set TMPDIR")?;
        simulate_into(folder.path(), case.side, case.seed)?;
        let planes = Planes::read(folder.path(), case.side)?;
        let pair = Pair { side: case.side, seed: case.seed, folder, planes };
        Ok(self.pair.insert(pair))
    }

    fn optimum(&mut self, case: &Case) -> Result<&Optimum> {
        let known = self.optimum.take().filter(|(of, _)| of.same_problem(case));
        let known = match known {
            Some(known) => known,
            None => (case.clone(), Optimum::of(&self.pair(case)?.planes, case)?),
        };
        Ok(&self.optimum.insert(known).1)
    }

    /// What cannot be measured is a row that says why.
    fn measure(&mut self, case: &Case) -> Result<Row> {
        if let Some(obstacle) = case.method.obstacle(case) {
            return Ok(Row::empty(case.clone(), format!("not applicable: {obstacle}")));
        }
        let folder = self.pair(case)?.folder.path().to_owned();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "solver-case", &serde_json::to_string(case)?]).arg(folder);
        let ended = process::run(&mut command, case.limit)?;
        let status = match ended.success {
            None => format!("over the limit of {} s", case.limit),
            Some(false) => format!("failed: {}", ended.last_words()),
            Some(true) => {
                let run: Run = serde_json::from_str(&ended.stdout)
                    .context("the process of a case did not report its numbers")?;
                let optimum = self.optimum(case)?;
                return Ok(Row::of(case.clone(), run, |x| optimum.distance(x)));
            }
        };
        Ok(Row::empty(case.clone(), status))
    }
}

/// The measurements of DIR/results.jsonl, one a line; the file is whole after each.
struct Store {
    path: Option<PathBuf>,
    rows: Vec<Row>,
    /// Where a case is in `rows`, by its settings as JSON.
    places: HashMap<String, usize>,
}

impl Store {
    fn open(folder: Option<&Path>, fresh: bool) -> Result<Self> {
        let mut store = Self { path: None, rows: Vec::new(), places: HashMap::new() };
        let Some(folder) = folder else { return Ok(store) };
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot make the folder {}; choose another --output", folder.display())
        })?;
        let path = folder.join("results.jsonl");
        if path.exists() && !fresh {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            for (i, line) in text.lines().enumerate() {
                let row: Row = serde_json::from_str(line).with_context(|| {
                    format!(
                        "line {} of {} is no measurement of this version; give --fresh or another --output",
                        i + 1,
                        path.display()
                    )
                })?;
                store.push(row)?;
            }
        }
        store.path = Some(path);
        Ok(store)
    }

    fn push(&mut self, row: Row) -> Result<()> {
        self.places.insert(serde_json::to_string(&row.case)?, self.rows.len());
        self.rows.push(row);
        Ok(())
    }

    fn add(&mut self, row: Row) -> Result<()> {
        self.push(row)?;
        let Some(path) = &self.path else { return Ok(()) };
        let lines = self.rows.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        write_text(path, &(lines.join("\n") + "\n"))
    }

    fn find(&self, case: &Case) -> Option<&Row> {
        let key = serde_json::to_string(case).ok()?;
        let row = &self.rows[*self.places.get(&key)?];
        (row.version == env!("CARGO_PKG_VERSION")).then_some(row)
    }

    fn holds(&self, case: &Case) -> bool {
        self.find(case).is_some()
    }
}
