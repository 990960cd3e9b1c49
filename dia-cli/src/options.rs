//! A request in the words of the command line, for programs that offer the same options.

use clap::Parser;

use crate::Error;
use crate::args::{ModelArgs, RunArgs};
use crate::backend::Precision;
use crate::request::SubtractRequest;

/// The options of a [`SubtractRequest`] and nothing else.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Options {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
}

impl SubtractRequest {
    /// The request that options of `dia subtract` make, those of model, fit and running; the precision of its pixels; and the number of threads, 0 for one on
    /// each core.
    ///
    /// # Errors
    /// As the command line: names the option that is none, or whose value cannot be.
    ///
    /// # Examples
    /// ```
    /// use dia_cli::{HalfWidth, Precision, SubtractRequest};
    ///
    /// let options = ["--half-width=9", "--loss=tukey"];
    /// let (request, precision, threads) = SubtractRequest::of_options(options)?;
    /// assert_eq!(request.half_width, HalfWidth::Pixels(9));
    /// assert_eq!((precision, threads), (Precision::F32, 0));
    /// let error = SubtractRequest::of_options(["--loss=l1"]).unwrap_err();
    /// assert!(error.to_string().contains("huber"));
    /// # Ok::<(), dia_cli::Error>(())
    /// ```
    pub fn of_options<I>(options: I) -> Result<(Self, Precision, usize), Error>
    where
        I: IntoIterator<Item: Into<std::ffi::OsString> + Clone>,
    {
        let options = Options::try_parse_from(options).map_err(|error| in_one_line(&error))?;
        let Options { model, run } = &options;
        Ok((model.request(run), model.precision, run.threads.map_or(0, usize::from)))
    }
}

/// What is wrong, without the usage that follows it on a terminal.
fn in_one_line(error: &clap::Error) -> anyhow::Error {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    anyhow::Error::msg(line.trim_start_matches("error: ").to_owned())
}
