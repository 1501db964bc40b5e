//! What a token costs: issuing one, verifying one that was never seen, and one that was.
//!
//! `cargo bench` prints microseconds per operation: the median of ten runs, and the fastest.

#![allow(clippy::panic, reason = "a benchmark may stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use doorward::config::SigningAlg;
use doorward::domain::UnixTime;
use doorward::keys::{AccessTokenClaims, AccessTokenIssuer, AccessTokenVerifier, Keys, Revocations};

const ORIGIN: &str = "https://gateway.example.com";
const PATH: &str = "/mcp/linear";
const NOW: UnixTime = UnixTime(1_000);
/// Operations in one run.
const OPERATIONS: u32 = 2_000;
const RUNS: usize = 10;

fn main() {
    println!("{:<28} {:>12} {:>12}", "operation", "median µs", "fastest µs");
    for algorithm in [SigningAlg::Es256, SigningAlg::EdDsa] {
        let keys = Arc::new(Keys::ephemeral(algorithm).unwrap_or_else(|error| panic!("{error}")));
        let name = keys.algorithm_name();
        let issuer = AccessTokenIssuer::new(Arc::clone(&keys));
        let tokens: Vec<String> = (0..OPERATIONS).map(|number| issue(&issuer, number)).collect();

        measure(&format!("issue {name}"), || {
            for number in 0..OPERATIONS {
                black_box(issue(&issuer, number));
            }
        });
        measure(&format!("verify {name}, never seen"), || {
            let verifier = AccessTokenVerifier::new(Arc::clone(&keys), Arc::new(Revocations::default()));
            for token in &tokens {
                verify(&verifier, token);
            }
        });
        let verifier = AccessTokenVerifier::new(keys, Arc::new(Revocations::default()));
        verify(&verifier, &tokens[0]);
        measure(&format!("verify {name}, seen before"), || {
            for _ in 0..OPERATIONS {
                verify(&verifier, &tokens[0]);
            }
        });
    }
}

fn issue(issuer: &AccessTokenIssuer, number: u32) -> String {
    let claims = AccessTokenClaims {
        iss: ORIGIN.to_owned(),
        sub: "usr_8c0rGmYJq2yW1VbS3tZr0A".to_owned(),
        aud: format!("{ORIGIN}{PATH}"),
        client_id: "dcr_3f9mC0qk2yV5b8T1nWz7Aw".to_owned(),
        exp: NOW.0 + 900,
        iat: NOW.0,
        jti: number.to_string(),
        scope: "mcp:tools".to_owned(),
        sid: "grt_Q2x4b6N8m0Z1c3V5l7K9jA".to_owned(),
        auth_time: None,
    };
    issuer.issue(&claims).unwrap_or_else(|error| panic!("{error}"))
}

fn verify(verifier: &AccessTokenVerifier, token: &str) {
    let verified = verifier.verify(black_box(token), ORIGIN, PATH, NOW);
    black_box(verified).unwrap_or_else(|refusal| panic!("{refusal}"));
}

/// Runs `work` a few times and prints what one of its operations takes.
fn measure(name: &str, mut work: impl FnMut()) {
    work();
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64() * 1e6 / f64::from(OPERATIONS)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{name:<28} {:>12.2} {:>12.2}", runs[RUNS / 2], runs[0]);
}
