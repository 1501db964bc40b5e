//! The fuzz targets over the inputs that are checked in. `fuzz/` finds more.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

use rstest::rstest;

// DCR-3, AUTHZ-1, AUTHZ-12, CODE-1, CODE-12, CHAL-4, CIMD-4, STRM-6, STRM-12, PROX-11: the modules of `fuzz/src` say what holds.
#[rstest]
fn what_strangers_send_breaks_no_promise(
    #[values(
        "authorize_query",
        "bearer_header",
        "config_files",
        "filtered_answer",
        "metadata_document",
        "posted_message",
        "redirect_uri",
        "registration_body",
        "session_envelope",
        "token_form",
        "upstream_answer"
    )]
    target: &str,
) {
    let (_, run) = fuzz::TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = corpus.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{} holds {} inputs", corpus.display(), inputs.len());
    for input in inputs {
        let bytes = std::fs::read(&input).unwrap();
        let kept = std::panic::catch_unwind(|| run(&bytes));
        assert!(kept.is_ok(), "{} breaks a property of fuzz/src/{target}.rs", input.display());
    }
}

#[test]
fn every_target_has_a_binary_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut binaries: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    binaries.sort();
    let names: Vec<_> = binaries.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, fuzz::TARGETS.map(|(name, _)| name));
}
