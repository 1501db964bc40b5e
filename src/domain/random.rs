//! Randomness as an argument.

/// Where unpredictable bytes come from. Tests may pass a seeded one.
pub trait Random: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator (requirement SEC-5).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // The generator fails only where the process could not have started at all; going on without
        // entropy would be worse than stopping.
        #[expect(clippy::expect_used, reason = "no secret may ever be made without entropy")]
        aws_lc_rs::rand::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// `prefix` followed by 128 random bits in base64url: an identifier nobody can guess or collide with.
#[must_use]
pub fn random_id(prefix: &str, random: &dyn Random) -> String {
    use base64::Engine as _;
    let mut bytes = [0u8; 16];
    random.fill(&mut bytes);
    format!("{prefix}{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
