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
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn has_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
