//! One file per subcommand.

pub mod add;
pub mod check;
pub mod init;
pub mod schema;
