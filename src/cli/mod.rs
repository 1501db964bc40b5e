//! The command line: one file per subcommand.

pub mod add;
pub mod audit;
pub mod check;
pub mod clients;
pub mod connections;
pub mod dev;
pub mod grants;
pub mod healthcheck;
pub mod init;
pub mod keys;
pub mod operator;
pub mod process;
pub mod schema;
pub mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ProcessEnv;

/// A company's login in front of any MCP server.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Dev(dev::DevArgs),
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Init(init::InitArgs),
    Add(add::AddArgs),
    Schema(schema::SchemaArgs),
    Keys(keys::KeysArgs),
    Clients(clients::ClientsArgs),
    Grants(grants::GrantsArgs),
    Connections(connections::ConnectionsArgs),
    Audit(audit::AuditArgs),
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// The command line of this process; answers `--help` and mistakes by itself.
#[must_use]
pub fn parse() -> Cli {
    Cli::parse()
}

/// Runs a command.
///
/// # Errors
/// With a text for people.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    match cli.command {
        Command::Dev(args) => dev::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args, &ProcessEnv::default(), &mut stdout),
        Command::Init(args) => init::run(&args.dir, &mut stdout).map(|()| ExitCode::SUCCESS),
        Command::Add(args) => add::run(&args, &mut stdout).map(|()| ExitCode::SUCCESS),
        Command::Schema(args) => schema::run(&args, &mut stdout).map(|()| ExitCode::SUCCESS),
        Command::Keys(args) => operator::run(args.run(&mut stdout)),
        Command::Clients(args) => operator::run(args.run(&mut stdout)),
        Command::Grants(args) => operator::run(args.run(&mut stdout)),
        Command::Connections(args) => operator::run(args.run(&mut stdout)),
        Command::Audit(args) => operator::run(args.run(&mut stdout)),
        Command::Healthcheck(args) => healthcheck::run(&args),
    }
}
