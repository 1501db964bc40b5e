//! The page for what went wrong. It says what happened, what to do, and a reference to find it in the log.

use askama::Template;
use url::Url;

use super::text as filters;

/// A link that leaves the page, such as *Try again* or the redirect of AUTHZ-16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageLink {
    /// Names where it leads, with the host when that is elsewhere.
    pub label: String,
    /// A path of this origin, or an absolute URL.
    pub href: String,
}

#[derive(Debug, Clone, Template)]
#[template(path = "error.html")]
pub struct ErrorPage {
    pub title: String,
    pub message: String,
    /// What the person can do, one sentence each; may be empty.
    pub next_steps: Vec<String>,
    /// Finds the matching log lines.
    pub reference: String,
    pub link: Option<PageLink>,
}

impl ErrorPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }

    /// The link, unless following it would run or read something instead of going somewhere.
    fn safe_link(&self) -> Option<&PageLink> {
        self.link.as_ref().filter(|link| is_place(&link.href))
    }
}

fn is_place(href: &str) -> bool {
    if let Some(path) = href.strip_prefix('/') {
        return !path.starts_with(['/', '\\']);
    }
    Url::parse(href).is_ok_and(|url| {
        !matches!(url.scheme(), "javascript" | "data" | "vbscript" | "blob" | "file" | "about" | "view-source")
    })
}

#[cfg(test)]
mod tests {
    use super::is_place;

    #[test]
    fn authz_16_a_link_leads_somewhere_and_runs_nothing() {
        for good in ["/oauth/authorize?x=1", "https://app.example/cb?error=x", "cursor://anysphere.cursor-mcp/cb"] {
            assert!(is_place(good), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            " JavaScript:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,x",
            "//evil.example/",
            "/\\evil.example",
            "x",
        ] {
            assert!(!is_place(bad), "{bad}");
        }
    }
}
