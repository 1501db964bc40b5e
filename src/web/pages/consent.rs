//! The pages on which a person lets a client in, or not (CONS-5 … CONS-8).

use askama::Template;

use super::text as filters;

/// How the client is known, as people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientIdentity {
    /// A client-id metadata document: the host of its id is proven.
    Verified { host: String },
    /// RFC 7591: nothing it says of itself is proven.
    SelfRegistered,
    /// Declared in the configuration.
    Configured,
}

/// Something to weigh before approving (CONS-7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsentWarning {
    /// The answer goes to a loopback address.
    Loopback,
    /// The answer goes to a private-use scheme, given without its colon.
    PrivateScheme { scheme: String },
    /// A host with mixed or look-alike letters, given in punycode.
    LookAlikeHost { host: String },
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub name: String,
    /// Left out when the name is the address already.
    pub email: Option<String>,
    /// E-mail address of whoever acts in this person's place (WOS-12).
    pub impersonator: Option<String>,
}

/// The MCP server that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerShown {
    /// The route's display name.
    pub name: String,
    /// The route's path, such as `/mcp/linear`.
    pub path: String,
}

/// A scope in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeShown {
    /// As in the request, such as `mcp:tools`.
    pub name: String,
    /// What it lets the client do.
    pub description: String,
    /// The person may clear it (CONS-17): a checkbox `scope` with the name as its value, once nothing else is waited for.
    pub optional: bool,
}

/// An account at a server behind (gateway.md §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionShown {
    /// The server's display name.
    pub name: String,
    pub summary: Option<String>,
    /// Host and port of the server.
    pub host: String,
    /// One account for everyone, which an operator connects.
    pub shared: bool,
    pub state: ConnectionState,
    /// Path of the form that connects it; `None` when this person cannot.
    pub connect: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    Connected,
    Missing,
    /// It is to be connected anew: a sentence that says why.
    Again {
        why: &'static str,
    },
}

impl ConnectionShown {
    /// Whether the person has something to do before they can approve.
    fn is_waited_for(&self) -> bool {
        self.connect.is_some() && self.state != ConnectionState::Connected
    }
}

/// The decision. Posts `transaction`, `csrf`, `decision` = `approve` | `cancel` | `switch`, and with `approve`
/// `offered`, the optional scopes, and one `scope` for each of them that stays checked.
#[derive(Debug, Clone, Template)]
#[template(path = "consent.html")]
pub struct ConsentPage {
    /// Path the forms post to.
    pub action: String,
    pub transaction: String,
    pub csrf: String,
    /// The client's own word for itself; 100 characters are shown.
    pub client_name: String,
    pub client: ClientIdentity,
    /// Host and port of the redirect URI, in punycode; scheme and host for a private-use one.
    pub redirect_host: String,
    pub person: SignedIn,
    pub server: ServerShown,
    pub scopes: Vec<ScopeShown>,
    pub warnings: Vec<ConsentWarning>,
    /// The account that the server needs behind the gateway. While it waits for the person there is nothing to approve.
    /// Its form posts `transaction` and `csrf`.
    pub connection: Option<ConnectionShown>,
    /// Why the person may not use the server, to go on after “You cannot use this server:”; then there is nothing
    /// to approve.
    pub refusal: Option<String>,
}

impl ConsentPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }

    /// The scopes with a checkbox, as they stand in the form. While Approve waits the page is left by another form, and
    /// what was cleared would be forgotten.
    fn offered(&self) -> Option<String> {
        let optional = self.scopes.iter().filter(|scope| scope.optional && !self.waits());
        let names: Vec<&str> = optional.map(|scope| scope.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    fn waits(&self) -> bool {
        self.connection.as_ref().is_some_and(ConnectionShown::is_waited_for)
    }
}

/// Stands before the provider's login for a client this browser does not know (CONS-5). Posts `transaction`,
/// `csrf` and `decision` = `continue` | `cancel`.
#[derive(Debug, Clone, Template)]
#[template(path = "interstitial.html")]
pub struct InterstitialPage {
    /// Path the form posts to.
    pub action: String,
    pub transaction: String,
    /// Empty when the browser has no cookie to bind it to; the field is then left out.
    pub csrf: String,
    pub client_name: String,
    pub client: ClientIdentity,
    /// As in [`ConsentPage::redirect_host`].
    pub redirect_host: String,
    /// The provider's display name.
    pub provider: String,
}

impl InterstitialPage {
    #[must_use]
    pub fn render(&self) -> String {
        super::html(self)
    }
}
