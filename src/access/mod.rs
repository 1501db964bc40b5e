//! Who may use what (gateway.md §9).
//!
//! Owns the decision, as a function of plain values; `authorization/` asks for it at consent and `proxy/` on every
//! call. Must not do I/O, or know what HTTP makes of a refusal.

mod capabilities;
mod operators;
mod rules;

pub use capabilities::{StepUp, Visible, check_demands};
pub use operators::is_operator;
pub use rules::{AccessRefusal, check};
