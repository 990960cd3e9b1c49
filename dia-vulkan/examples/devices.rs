//! Prints the Vulkan devices of this machine, one a line.

use std::{error::Error, process::ExitCode};

fn main() -> ExitCode {
    match dia_vulkan::devices() {
        Ok(devices) => {
            for device in &devices {
                println!("{device}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
