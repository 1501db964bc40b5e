//! Makes so many calls through a gateway in this process, for an instruction counter to count (tests/budget.rs).
//!
//! ```text
//! valgrind --tool=callgrind target/release/examples/budget CALLS [ROUTES]
//! ```

#[path = "world.rs"]
mod world;

use world::{Outcome, World};

fn main() -> Outcome<()> {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|number| number.parse()).collect();
    let (calls, routes) = match numbers?[..] {
        [calls] => (calls, 1),
        [calls, routes] => (calls, routes),
        _ => return Err("budget CALLS [ROUTES]".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut world = World::start(routes, false).await?;
        for _ in 0..calls {
            world.call().await?;
        }
        println!("{calls} calls");
        Ok(())
    })
}
