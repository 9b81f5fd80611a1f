//! How a command ends, and the exit code that says so.

use std::io;
use std::process::ExitCode;

/// What a command that did its work has to say. Anything that kept it from its work is an error instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Done,
    /// Exit code 1: the answer is no, and it has been printed.
    Refused,
    /// Exit code 2: the command line or the configuration is wrong, and it has been said how.
    Misused,
    /// Exit code 3: done in part, or not known to be done in time.
    Degraded,
}

/// The exit codes, for the end of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed or refused, 2 wrong usage, 3 done in part or not confirmed in time";

/// Prints what went wrong, if anything did, and gives the code for it.
pub(crate) fn exit_code(result: &anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Ok(Outcome::Misused) => ExitCode::from(2),
        Ok(Outcome::Degraded) => ExitCode::from(3),
        // The reader went away, as `| head` does: it has what it wanted.
        Err(error) if is_broken_pipe(error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::from(1)
        }
    }
}

/// Prints clap's help or complaint: 0 for help, 2 for wrong usage.
pub(crate) fn of_usage(error: &clap::Error) -> ExitCode {
    match error.print() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(1),
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}

/// One line on standard error. There is nobody left to tell if that fails.
pub(crate) fn complain(text: &str) {
    use io::Write;
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let gone = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&gone.context("print")));
        assert!(!is_broken_pipe(&anyhow::anyhow!("no agent")));
    }
}
