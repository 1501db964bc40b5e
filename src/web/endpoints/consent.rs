//! `GET|POST /oauth/consent` (alias `/oauth/setup`): the page before the login, the decision, and its forms.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{callback, connections};
use crate::authorization::{
    AuthorizationServer, ClientError, ConsentError, ConsentView, Decision, LoginStarted, Onward, StartError,
};
use crate::domain::client::ClientOrigin;
use crate::domain::{Client, Person, Transaction, TransactionId};
use crate::oauth::params::Params;
use crate::oauth::redirect_uri::RedirectKind;
use crate::oauth::scope::ScopeSet;
use crate::web::admission::Context;
use crate::web::cookie::BrowserCookie;
use crate::web::extract;
use crate::web::pages::{
    self, ClientIdentity, ConsentPage, ConsentWarning, InterstitialPage, PageLink, ScopeShown, ServerShown, SignedIn,
};
use crate::web::respond::{self, Trouble};

/// As many checkboxes as a form brings back ([`Params`]). Further scopes are approved or cancelled with the rest.
const MOST_CHOICES: usize = 64;

/// The page of a transaction.
pub fn location(context: &Context, id: &TransactionId) -> String {
    format!("{}oauth/consent?transaction={id}", context.gateway.base_path)
}

/// Shows where a transaction stands. Any number of visits is harmless (CONS-12).
pub async fn get(context: Context, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let params = Params::parse(&query.unwrap_or_default());
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let Some(id) = params.get("transaction").ok().flatten().map(TransactionId::new) else {
        return resume(&context, server, &cookie).await;
    };
    match server.view(&id, cookie.known.as_ref()).await {
        Ok(view) => {
            if let ConsentView::Ask { transaction, client, .. } = &view
                && is_own_visit(&headers)
            {
                match server.approve_as_remembered(transaction, client, cookie.known.as_ref()).await {
                    Ok(Some(decided)) => return respond::see_other(&decided.location),
                    Ok(None) => {}
                    Err(error) => return respond::unavailable_page(&error, &context),
                }
            }
            show(&context, server, view, &cookie)
        }
        Err(error) => refused(&error, &context),
    }
}

/// Without a transaction: back from a sign-out at the provider, whose return addresses are listed without a
/// query. The store knows which link, or which of the browser's open transactions, the person came from.
async fn resume(context: &Context, server: &AuthorizationServer, cookie: &BrowserCookie) -> Response {
    let Some(known) = &cookie.known else { return refused(&ConsentError::Gone, context) };
    match server.store.link_to_resume(&known.record().id).await {
        Ok(Some(link)) => return respond::see_other(&connections::location(context, &link)),
        Ok(None) => {}
        Err(error) => return respond::unavailable_page(&error, context),
    }
    match server.store.transaction_to_resume(&known.record().id, server.now()).await {
        Ok(Some(id)) => respond::see_other(&location(context, &id)),
        Ok(None) => refused(&ConsentError::Gone, context),
        Err(error) => respond::unavailable_page(&error, context),
    }
}

/// CONS-3: a visit that another site caused, or that the browser makes ahead of the person, approves nothing by
/// itself. Without the browser's word it counts as one.
fn is_own_visit(headers: &HeaderMap) -> bool {
    let own = headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin" || site == "none");
    own && !headers.contains_key("sec-purpose") && !headers.contains_key("purpose")
}

/// Takes a submitted form: `decision=continue | approve | cancel | switch`.
pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    if !extract::is_same_origin(&headers, &context.origin) {
        return refused(&ConsentError::Forged, &context);
    }
    let form = match extract::page_form(&headers, body, &context).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let get = |name| form.get(name).ok().flatten();
    let Some(id) = get("transaction").map(TransactionId::new) else { return refused(&ConsentError::Gone, &context) };
    let cookie = match BrowserCookie::read(&context, &headers).await {
        Ok(cookie) => cookie,
        Err(error) => return respond::unavailable_page(&error, &context),
    };
    let csrf = get("csrf").unwrap_or_default();
    match get("decision") {
        Some("continue") => start(&context, server, &id, &cookie, false).await,
        Some("approve") => {
            decide(&context, server, &id, &cookie, csrf, Decision::Approve { but: cleared(&form) }).await
        }
        Some("cancel") if csrf.is_empty() => match server.cancel_before_login(&id, cookie.known.as_ref()).await {
            Ok(decided) => respond::see_other(&decided.location),
            Err(error) => refused(&error, &context),
        },
        Some("cancel") => decide(&context, server, &id, &cookie, csrf, Decision::Cancel).await,
        Some("switch") => switch(&context, server, &id, &cookie, csrf).await,
        _ => refused(&ConsentError::Forged, &context),
    }
}

/// What the page let the person clear and does not come back (CONS-17). A form without checkboxes clears nothing.
fn cleared(form: &Params) -> ScopeSet {
    let offered = form.get("offered").ok().flatten().map(ScopeSet::parse).unwrap_or_default();
    offered.difference(&form.all("scope").into_iter().map(str::to_owned).collect())
}

async fn decide(
    context: &Context,
    server: &AuthorizationServer,
    id: &TransactionId,
    cookie: &BrowserCookie,
    csrf: &str,
    decision: Decision,
) -> Response {
    match server.decide(id, cookie.known.as_ref(), csrf, decision).await {
        Ok(decided) => respond::see_other(&decided.location),
        Err(error) => refused(&error, context),
    }
}

/// Off to the provider, in the browser whose cookie came with the form.
async fn start(
    context: &Context,
    server: &AuthorizationServer,
    id: &TransactionId,
    cookie: &BrowserCookie,
    switch_account: bool,
) -> Response {
    let Some(presented) = &cookie.presented else { return no_cookie(context, id) };
    match server.start_login(id, presented, cookie.known.as_ref(), switch_account).await {
        Ok(LoginStarted::Provider(url)) => respond::see_other(&url),
        Ok(LoginStarted::Consent(id)) => respond::see_other(&location(context, &id)),
        Err(StartError::Gone) => refused(&ConsentError::Gone, context),
        Err(StartError::Provider { error, transaction, to_client }) => {
            callback::login_failed(&error, &Onward::Consent(transaction), Some(&to_client), context)
        }
        Err(StartError::Store(error)) => respond::unavailable_page(&error, context),
    }
}

/// Ends the login here and at the provider, then comes back to the same transaction.
async fn switch(
    context: &Context,
    server: &AuthorizationServer,
    id: &TransactionId,
    cookie: &BrowserCookie,
    csrf: &str,
) -> Response {
    let session = match server.switch_account(id, cookie.known.as_ref(), csrf).await {
        Ok(session) => session,
        Err(error) => return refused(&error, context),
    };
    match end_session_first(context, server, session.as_deref()).await {
        Some(response) => response,
        None => start(context, server, id, cookie, true).await,
    }
}

/// Off to end the provider's session, where another account is asked for only after that. The browser comes back to this
/// endpoint, without a query.
pub(super) async fn end_session_first(
    context: &Context,
    server: &AuthorizationServer,
    session: Option<&str>,
) -> Option<Response> {
    let back = format!("{}{}oauth/consent", context.origin, context.gateway.base_path);
    let (session, back) = session.zip(url::Url::parse(&back).ok())?;
    if !server.identity.keeps_account() {
        return None;
    }
    let url = server.identity.logout_url(session, &back).await?;
    Some(respond::see_other(url.as_str()))
}

/// Puts a view on a page.
pub fn show(context: &Context, server: &AuthorizationServer, view: ConsentView, cookie: &BrowserCookie) -> Response {
    match view {
        ConsentView::Start { transaction, client } => {
            let html = interstitial(context, server, &transaction, &client).render();
            cookie.given_with(context, respond::page(StatusCode::OK, html, pages::FORM_LEADS_AWAY))
        }
        ConsentView::Ask { transaction, client, person, csrf, standing } => {
            let mut page = consent(context, server, &transaction, &client, &person, csrf);
            page.connection = standing.map(|standing| connections::standing_shown(context, &standing));
            respond::page(StatusCode::OK, page.render(), pages::FORM_LEADS_AWAY)
        }
        ConsentView::Refused { transaction, client, person, csrf, refusal } => {
            let mut page = consent(context, server, &transaction, &client, &person, csrf);
            page.refusal = Some(refusal.to_string());
            respond::page(StatusCode::FORBIDDEN, page.render(), pages::FORM_LEADS_AWAY)
        }
        ConsentView::Done { approved } => respond::trouble(
            Trouble {
                status: StatusCode::OK,
                title: if approved { "Already approved" } else { "Already cancelled" },
                message: "You decided on this request before. There is nothing left to do here.".to_owned(),
                next_steps: &["Go back to the application; you can close this page."],
                link: None,
            },
            context,
        ),
    }
}

fn interstitial(
    context: &Context,
    server: &AuthorizationServer,
    transaction: &Transaction,
    client: &Client,
) -> InterstitialPage {
    InterstitialPage {
        action: format!("{}oauth/consent", context.gateway.base_path),
        transaction: transaction.id.to_string(),
        csrf: String::new(),
        client_name: client_name(client),
        client: client_identity(client),
        redirect_host: transaction.request.redirect_uri.display_host(),
        provider: server.identity.display_name().to_owned(),
    }
}

fn consent(
    context: &Context,
    server: &AuthorizationServer,
    transaction: &Transaction,
    client: &Client,
    person: &Person,
    csrf: String,
) -> ConsentPage {
    let route = server.route(&transaction.request.route);
    let optional: ScopeSet = server.optional_scopes(transaction).iter().take(MOST_CHOICES).map(str::to_owned).collect();
    ConsentPage {
        action: format!("{}oauth/consent", context.gateway.base_path),
        transaction: transaction.id.to_string(),
        csrf,
        client_name: client_name(client),
        client: client_identity(client),
        redirect_host: transaction.request.redirect_uri.display_host(),
        person: signed_in(person),
        server: ServerShown {
            name: route.map(|route| route.display_name().to_owned()).unwrap_or_default(),
            path: transaction.request.route.clone(),
        },
        scopes: transaction
            .request
            .scope
            .iter()
            .map(|scope| ScopeShown {
                name: scope.to_owned(),
                description: server.scopes.describe(scope),
                optional: optional.contains(scope),
            })
            .collect(),
        warnings: warnings(transaction, client),
        connection: None,
        refusal: None,
    }
}

pub(super) fn signed_in(person: &Person) -> SignedIn {
    SignedIn {
        name: person.display_name().to_owned(),
        email: person.email.clone().filter(|email| email != person.display_name()),
        impersonator: person.impersonator.clone(),
    }
}

pub(super) fn client_name(client: &Client) -> String {
    client.name.clone().unwrap_or_else(|| client.id.to_string())
}

pub(super) fn client_identity(client: &Client) -> ClientIdentity {
    match client.origin {
        ClientOrigin::Registered => ClientIdentity::SelfRegistered,
        ClientOrigin::Static => ClientIdentity::Configured,
        ClientOrigin::MetadataDocument => ClientIdentity::Verified { host: host_of(client.id.as_str()) },
    }
}

/// The host of a client id that is a URL, with its port: whoever has another port of a host need not be who has the host.
pub(super) fn host_of(client_id: &str) -> String {
    let Ok(url) = url::Url::parse(client_id) else { return String::new() };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// CONS-7.
fn warnings(transaction: &Transaction, client: &Client) -> Vec<ConsentWarning> {
    let mut warnings = Vec::new();
    let redirect = &transaction.request.redirect_uri;
    match redirect.kind() {
        RedirectKind::Loopback => warnings.push(ConsentWarning::Loopback),
        RedirectKind::PrivateUse => {
            warnings.push(ConsentWarning::PrivateScheme { scheme: redirect.scheme().to_owned() });
        }
        RedirectKind::Https => {}
    }
    let client_host = match client_identity(client) {
        ClientIdentity::Verified { host } => host,
        _ => String::new(),
    };
    for host in [redirect.display_host(), client_host] {
        if host.split(['.', '/']).any(|label| label.starts_with("xn--")) {
            warnings.push(ConsentWarning::LookAlikeHost { host });
        }
    }
    warnings
}

fn no_cookie(context: &Context, id: &TransactionId) -> Response {
    respond::trouble(
        Trouble {
            status: StatusCode::BAD_REQUEST,
            title: "Cookies are needed to sign in",
            message: "Your browser did not send the cookie that ties this sign-in to it.".to_owned(),
            next_steps: &["Allow cookies for this site.", "Then try again."],
            link: Some(PageLink { label: "Try again".to_owned(), href: location(context, id) }),
        },
        context,
    )
}

pub(super) fn refused(error: &ConsentError, context: &Context) -> Response {
    match error {
        ConsentError::Gone | ConsentError::Client(ClientError::Unknown | ClientError::Refused(_)) => respond::trouble(
            Trouble {
                status: StatusCode::NOT_FOUND,
                title: "This sign-in is no longer open",
                message: "It has expired, or was started in another browser. Nothing was granted.".to_owned(),
                next_steps: &["Go back to the application and connect again."],
                link: None,
            },
            context,
        ),
        ConsentError::Forged => respond::trouble(
            Trouble {
                status: StatusCode::FORBIDDEN,
                title: "This form was not accepted",
                message: "It did not come from a page that this browser was shown. Nothing was granted.".to_owned(),
                next_steps: &[
                    "If another site or a message led you here, close this page.",
                    "Otherwise go back to the application and connect again.",
                ],
                link: None,
            },
            context,
        ),
        ConsentError::SignedOut(id) => respond::trouble(
            Trouble {
                status: StatusCode::FORBIDDEN,
                title: "You are no longer signed in",
                message: "The sign-in behind this page has ended, so nothing was granted.".to_owned(),
                next_steps: &["Sign in again to go on."],
                link: Some(PageLink { label: "Sign in again".to_owned(), href: location(context, id) }),
            },
            context,
        ),
        ConsentError::ProviderUnavailable => respond::trouble(
            Trouble {
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "Your sign-in could not be confirmed right now",
                message: "The identity provider does not answer. Nothing was granted.".to_owned(),
                next_steps: &["Wait a moment and send the page again."],
                link: None,
            },
            context,
        ),
        // The page itself says why.
        ConsentError::NotAllowed(id) | ConsentError::NotConnected(id) => respond::see_other(&location(context, id)),
        ConsentError::Client(ClientError::Unreachable(cause)) => respond::trouble(
            Trouble {
                status: StatusCode::SERVICE_UNAVAILABLE,
                title: "The application could not be verified right now",
                message: cause.clone(),
                next_steps: &["Wait a moment and reload this page."],
                link: None,
            },
            context,
        ),
        ConsentError::Client(ClientError::Throttled(throttled)) => respond::throttled_page(*throttled, context),
        ConsentError::Client(ClientError::Store(error)) | ConsentError::Store(error) => {
            respond::unavailable_page(error, context)
        }
    }
}
