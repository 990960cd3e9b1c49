//! `dia completions` and `dia man`: what shells and the manual know of the command, made of its own options.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;

/// The options of `dia completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell; its documentation says where the output belongs, for bash ~/.local/share/bash-completion/completions/dia
    shell: Shell,
}

/// The options of `dia man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for dia.1 and a page for each subcommand, such as ~/.local/share/man/man1; made if it does not exist
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Prints the completions.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<()> {
    Ok(io::stdout().lock().write_all(&script(args.shell))?)
}

/// In memory, for the generator panics where it cannot write.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dia", &mut script);
    script
}

/// Writes the pages.
pub(crate) fn manual(args: &ManArgs) -> Result<()> {
    let folder = &args.output;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| {
            format!("cannot write the manual to {}; choose another --output", folder.display())
        })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::{ManArgs, Shell, manual, script};

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("man1");
        manual(&ManArgs { output: output.clone() }).unwrap();
        let page = |name: &str| std::fs::read_to_string(output.join(name)).unwrap();
        assert!(page("dia.1").contains("dia\\-subtract(1)"));
        assert!(page("dia-subtract.1").contains("half\\-width"));
        assert!(page("dia-bench-peers.1").contains(".TH"));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = manual(&ManArgs { output: file }).unwrap_err();
        assert!(error.to_string().contains("--output"));
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(script.contains("reference-contains-target"), "{shell}");
        }
    }
}
