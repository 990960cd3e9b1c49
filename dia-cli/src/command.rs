//! What the user typed, as files keep it.

/// Options that change neither pixels nor headers, with the value that each takes.
const WITH_VALUE: &[&str] = &[
    "-o",
    "--output",
    "--report",
    "--figure",
    "--html",
    "--threads",
    "--jobs",
    "--max-memory",
    "--max-device-memory",
    "--fail-on",
    // Tables beside the file of the difference.
    "--sources",
    "--threshold",
    "--at",
    "--photometry",
    "--apertures",
    "--inject",
    "--inject-figure",
    "--sources-figure",
];

/// Those without a value.
const ALONE: &[&str] = &["-q", "--quiet", "-v", "--verbose"];

/// The command with all that determines the result, and without what does not: where the files go, how many threads compute. The results of two runs that
/// differ in these alone are the same, byte for byte.
pub(crate) fn reproducible(command_line: &[String]) -> String {
    let mut words = vec!["dia".to_owned()];
    let mut arguments = command_line.iter().skip(1);
    while let Some(argument) = arguments.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
            continue;
        }
        let name = argument.split('=').next().unwrap_or_default();
        let attached = argument.starts_with("-o") || argument != name && WITH_VALUE.contains(&name);
        if !attached && !ALONE.contains(&argument.as_str()) {
            words.push(quoted(argument));
        }
    }
    words.join(" ")
}

/// As a shell would want it.
fn quoted(argument: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "-_=./,:[]+@%".contains(char);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::reproducible;

    #[test]
    fn what_does_not_change_the_result_is_left_out() {
        let of = |line: &str| reproducible(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let wanted = "dia subtract r.fits t.fits[SCI] --loss huber";
        for line in [
            "/usr/bin/dia subtract r.fits t.fits[SCI] -o d.fits --loss huber",
            "dia subtract r.fits t.fits[SCI] -oe.fits --loss huber --threads 2 -q",
            "dia subtract --threads=1 r.fits t.fits[SCI] --output=f --loss huber --report r.json -v",
        ] {
            assert_eq!(of(line), wanted);
        }
        let words = ["dia", "subtract", "my r.fits", "t.fits"].map(str::to_owned);
        assert_eq!(reproducible(&words), "dia subtract 'my r.fits' t.fits");
    }
}
