//! Parses the arguments, installs the crypto provider, dispatches, and sets the exit code.

use std::process::ExitCode;

/// Packs open streams closer than the system's allocator, and gives back what ended ones leave (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = doorward::cli::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("error: a crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    match doorward::cli::run(cli) {
        Ok(code) => code,
        // Whoever read the output, such as `head`, has seen enough.
        Err(error) if has_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", said(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes. Many repeat their cause; it is said once.
fn said(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        known if known.contains(&cause) => text,
        _ => format!("{text}: {cause}"),
    })
}

fn has_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
