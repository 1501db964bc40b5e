//! The budget of a call, in instructions: the same on a busy machine and on a quiet one.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a call through `bench/budget.rs` costs in a release build: gateway, upstream and client, without the digest of
/// the token. When a change brings it down, bring this down with it.
const INSTRUCTIONS: u64 = 81_000;
/// Calls before those that are counted: they fill caches.
const WARM: u64 = 1_000;
/// Calls that are counted. A start costs as much as thousands of calls and differs by some dozens from run to run, so
/// there are enough of them that this is below one in a hundred.
const CALLS: u64 = 6_000;
/// The digest's code is chosen by the processor, and valgrind has none of the newer ones.
const NOT_COUNTED: &str = "sha256_block_data_order";

// PROX-15, OPS-15
#[test]
#[cfg_attr(debug_assertions, ignore = "counts the instructions of a release build")]
fn a_call_stays_within_its_budget_however_many_routes_there_are() {
    let one = call(1);
    println!("{one} instructions for a call");
    assert!(one <= INSTRUCTIONS * 11 / 10, "{one} instructions for a call; the budget is {INSTRUCTIONS}");

    let many = call(200);
    println!("{many} with 200 routes");
    assert!(many.abs_diff(one) <= one / 20, "{many} with 200 routes, {one} with one");
}

/// Instructions of a call.
fn call(routes: u64) -> u64 {
    (count(WARM + CALLS, routes) - count(WARM, routes)) / CALLS
}

/// Instructions of a run with so many calls.
fn count(calls: u64, routes: u64) -> u64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let profile = folder.path().join("callgrind.out");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", profile.display())])
        .arg(program())
        .args([calls.to_string(), routes.to_string()])
        .output()
        .expect("valgrind is installed: ./test sees to it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    counted(&profile)
}

/// The instructions of a profile, but for [`NOT_COUNTED`].
fn counted(profile: &Path) -> u64 {
    let said = Command::new("callgrind_annotate")
        .args(["--threshold=100", "--auto=no"])
        .arg(profile)
        .output()
        .expect("callgrind_annotate comes with valgrind");
    let said = String::from_utf8_lossy(&said.stdout);
    let (mut total, mut digest) = (None, 0);
    for line in said.lines() {
        let Some(number) = leading_number(line) else { continue };
        if line.contains("PROGRAM TOTALS") {
            total = Some(number);
        } else if line.contains(NOT_COUNTED) {
            digest += number;
        }
    }
    total.unwrap_or_else(|| panic!("no totals in {said}")) - digest
}

/// `12,345 (1.2%) …`
fn leading_number(line: &str) -> Option<u64> {
    line.split_whitespace().next()?.replace(',', "").parse().ok()
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_doorward")).with_file_name("examples").join("budget")
}
