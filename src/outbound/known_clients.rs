//! Built-in copies of well-known clients' metadata documents, for when the live one cannot be had: their host
//! answers 403 to some data-centre addresses (CIMD-8). Kept by hand; the live document always wins.
//!
//! Public clients only: a document that names its keys by URL is of no use while its host does not answer.

const KNOWN: &[(&str, &str)] = &[
    ("https://claude.ai/oauth/mcp-oauth-client-metadata", include_str!("known_clients/claude.json")),
    ("https://claude.ai/oauth/claude-code-client-metadata", include_str!("known_clients/claude-code.json")),
    ("https://chatgpt.com/oauth/codex/client.json", include_str!("known_clients/codex.json")),
    ("https://vscode.dev/oauth/client-metadata.json", include_str!("known_clients/vscode.json")),
    ("https://opencode.ai/oauth/opencode/client.json", include_str!("known_clients/opencode.json")),
];

/// The built-in document of a client id.
pub(super) fn document(url: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == url).map(|(_, document)| *document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixTime;
    use crate::oauth::client_id_metadata::{ClientIdUrl, parse_document};

    #[test]
    fn every_built_in_document_is_a_valid_one_cimd_8() {
        for (url, document) in KNOWN {
            let url = ClientIdUrl::parse(url).unwrap();
            assert!(parse_document(&url, document.as_bytes(), UnixTime(0)).unwrap().is_public());
        }
    }
}
