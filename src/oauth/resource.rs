//! Resource indicators (RFC 8707): which route a token is for (AUTHZ-8 … AUTHZ-11, CODE-10).

use url::Url;

/// Why a `resource` is not one of ours. `Display` names those that are (AUTHZ-9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    #[error("unknown resource; valid are {0}")]
    Unknown(String),
    #[error("several resources were asked for; a token is for one of {0}")]
    Several(String),
    #[error("resource is missing and cannot be guessed; valid are {0}")]
    Missing(String),
}

/// Finds the route that a request is for.
///
/// `requested` are the `resource` values as sent, `origin` the public origin, `routes` the paths that tokens
/// can be for, `bound` the route of the route-bound authorize endpoint, `default` the configured one.
///
/// # Errors
/// [`ResourceError`].
pub fn resolve<'r>(
    requested: &[&str],
    origin: &str,
    routes: &[&'r str],
    bound: Option<&str>,
    default: Option<&str>,
) -> Result<&'r str, ResourceError> {
    let valid = || routes.iter().map(|path| format!("{origin}{path}")).collect::<Vec<_>>().join(", ");
    let known = |path: &str| routes.iter().copied().find(|route| *route == path);
    let mut chosen = None;
    for text in requested {
        match canonical_path(text, origin) {
            // The bare origin says no more than nothing does (AUTHZ-10).
            Some(path) if path.is_empty() => {}
            Some(path) => {
                let route = known(&path).ok_or_else(|| ResourceError::Unknown(valid()))?;
                if chosen.is_some_and(|earlier| earlier != route) {
                    return Err(ResourceError::Several(valid()));
                }
                chosen = Some(route);
            }
            None => return Err(ResourceError::Unknown(valid())),
        }
    }
    match (chosen, bound) {
        (Some(route), Some(bound)) if route != bound => Err(ResourceError::Unknown(format!("{origin}{bound}"))),
        (Some(route), _) => Ok(route),
        (None, Some(bound)) => known(bound).ok_or_else(|| ResourceError::Unknown(valid())),
        (None, None) => match (routes, default) {
            ([only], _) => Ok(only),
            (_, Some(default)) => known(default).ok_or_else(|| ResourceError::Missing(valid())),
            _ => Err(ResourceError::Missing(valid())),
        },
    }
}

/// Whether `sent` is the granted resource, in any of the spellings that are accepted.
#[must_use]
pub fn same(granted: &str, sent: &str) -> bool {
    let Ok(url) = Url::parse(granted) else { return false };
    let origin = url.origin().ascii_serialization();
    let Some(path) = canonical_path(sent, &origin) else { return false };
    path.is_empty() || granted.strip_prefix(&origin) == Some(path.as_str())
}

/// The path of the route that `text` names; `None` when it names none of `origin`, or only the origin itself.
#[must_use]
pub fn path_of(text: &str, origin: &str) -> Option<String> {
    canonical_path(text, origin).filter(|path| !path.is_empty())
}

/// The path of a resource of `origin`, without its trailing slash: scheme and host may be in upper case, the
/// port the default one (AUTHZ-8). `None` for anything else: another origin, a fragment, a query, dot
/// segments, user information.
fn canonical_path(text: &str, origin: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let clean =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !clean || url.origin().ascii_serialization() != origin {
        return None;
    }
    // The parser resolves dot segments; a resource that needs resolving is not a canonical one.
    let written = text.splitn(4, '/').nth(3).map_or_else(String::new, |path| format!("/{path}"));
    let path = written.strip_suffix('/').unwrap_or(&written);
    (path == url.path().strip_suffix('/').unwrap_or(url.path())).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "https://gw.example";
    const ROUTES: &[&str] = &["/mcp/a", "/mcp/b"];

    fn find(requested: &[&str]) -> Result<&'static str, ResourceError> {
        resolve(requested, ORIGIN, ROUTES, None, None)
    }

    // AUTHZ-8
    #[test]
    fn spelling_variants_of_a_resource_are_the_resource() {
        for text in [
            "https://gw.example/mcp/a",
            "https://gw.example/mcp/a/",
            "HTTPS://GW.example/mcp/a",
            "https://gw.example:443/mcp/a",
        ] {
            assert_eq!(find(&[text]), Ok("/mcp/a"), "{text}");
            assert!(same("https://gw.example/mcp/a", text), "{text}");
        }
        assert!(same("http://localhost:9000/mcp/a", "http://localhost:9000/mcp/a/"));
    }

    // AUTHZ-9, CODE-10
    #[test]
    fn anything_else_is_an_unknown_resource() {
        for text in [
            "https://gw.example/mcp/c",
            "https://gw.example/mcp/a//",
            "https://gw.example/MCP/a",
            "https://gw.example/mcp/a?x",
            "https://gw.example/mcp/a#x",
            "https://gw.example/mcp/x/../a",
            "https://gw.example/mcp/%61",
            "http://gw.example/mcp/a",
            "https://evil.example/mcp/a",
            "https://u@gw.example/mcp/a",
            "https://gw.example?x",
            "https://gw.example#x",
            "https://:p@gw.example",
            "/mcp/a",
            "a",
        ] {
            assert!(matches!(find(&[text]), Err(ResourceError::Unknown(_))), "{text}");
            assert!(!same("https://gw.example/mcp/a", text), "{text}");
        }
        let error = find(&["https://gw.example/mcp/c"]).unwrap_err().to_string();
        assert_eq!(error, "unknown resource; valid are https://gw.example/mcp/a, https://gw.example/mcp/b");
        assert!(matches!(
            find(&["https://gw.example/mcp/a", "https://gw.example/mcp/b"]),
            Err(ResourceError::Several(_))
        ));
        assert_eq!(find(&["https://gw.example/mcp/a", "https://gw.example/mcp/a/"]), Ok("/mcp/a"));
    }

    // AUTHZ-10
    #[test]
    fn without_a_resource_the_bound_the_only_or_the_default_route_is_meant() {
        for none in [&[][..], &["https://gw.example"], &["https://gw.example/"]] {
            assert_eq!(resolve(none, ORIGIN, ROUTES, Some("/mcp/b"), None), Ok("/mcp/b"));
            assert_eq!(resolve(none, ORIGIN, &["/mcp/a"], None, None), Ok("/mcp/a"));
            assert_eq!(resolve(none, ORIGIN, ROUTES, None, Some("/mcp/b")), Ok("/mcp/b"));
            assert!(matches!(resolve(none, ORIGIN, ROUTES, None, None), Err(ResourceError::Missing(_))));
        }
    }

    // AUTHZ-11
    #[test]
    fn the_route_bound_endpoint_takes_no_other_resource() {
        assert!(resolve(&["https://gw.example/mcp/a"], ORIGIN, ROUTES, Some("/mcp/b"), None).is_err());
        assert_eq!(resolve(&["https://gw.example/mcp/b"], ORIGIN, ROUTES, Some("/mcp/b"), None), Ok("/mcp/b"));
    }
}
