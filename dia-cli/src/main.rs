//! `dia`: difference images from FITS files.

use std::process::ExitCode;

fn main() -> ExitCode {
    dia_cli::command_line()
}
