//! Every page, with friendly and with hostile content.

use super::*;

const HOSTILE: &str = "\"><script src=https://evil.example/x.js></script><a href='https://evil.example'>x</a><img onerror=alert(1)>{{ 7*7 }}";

fn consent(text: &str) -> ConsentPage {
    ConsentPage {
        action: "/oauth/consent".into(),
        transaction: "txn_Vb3kQ0d1".into(),
        csrf: "k7Xw".into(),
        client_name: text.into(),
        client: ClientIdentity::Verified { host: text.into() },
        redirect_host: text.into(),
        person: SignedIn { name: text.into(), email: Some(text.into()), impersonator: Some(text.into()) },
        server: ServerShown { name: text.into(), path: text.into() },
        scopes: vec![
            ScopeShown { name: text.into(), description: text.into(), optional: false },
            ScopeShown { name: "files:write".into(), description: text.into(), optional: true },
        ],
        warnings: vec![
            ConsentWarning::Loopback,
            ConsentWarning::PrivateScheme { scheme: text.into() },
            ConsentWarning::LookAlikeHost { host: text.into() },
        ],
        connection: Some(connection(text)),
        refusal: None,
    }
}

fn connection(text: &str) -> ConnectionShown {
    ConnectionShown {
        name: text.into(),
        summary: Some(text.into()),
        host: text.into(),
        shared: false,
        state: ConnectionState::Missing,
        connect: Some("/auth/connections/linear/connect".into()),
    }
}

fn connect(text: &str, step: ConnectStep) -> ConnectPage {
    ConnectPage {
        action: "/auth/connections/linear/connect".into(),
        ticket: "dGlja2V0".into(),
        csrf: "c".into(),
        connection: connection(text),
        person: Some(SignedIn { name: text.into(), email: Some(text.into()), impersonator: Some(text.into()) }),
        step,
    }
}

fn interstitial(text: &str) -> InterstitialPage {
    InterstitialPage {
        action: "/oauth/continue".into(),
        transaction: "txn_Vb3kQ0d1".into(),
        csrf: String::new(),
        client_name: text.into(),
        client: ClientIdentity::Verified { host: text.into() },
        redirect_host: text.into(),
        provider: text.into(),
    }
}

fn error(text: &str) -> ErrorPage {
    ErrorPage {
        title: text.into(),
        message: text.into(),
        next_steps: vec![text.into()],
        reference: text.into(),
        link: Some(PageLink { label: text.into(), href: "/oauth/authorize".into() }),
    }
}

fn dev_login(text: &str) -> DevLoginPage {
    let person = ReadyPerson {
        key: "admin".into(),
        name: text.into(),
        email: text.into(),
        organization: text.into(),
        roles: vec![text.into()],
        permissions: vec![text.into()],
    };
    DevLoginPage { action: "/oauth/dev-login".into(), state: "s".into(), csrf: "c".into(), people: vec![person] }
}

fn account(text: &str) -> AccountPage {
    let grant = GrantShown {
        id: "grt_Vb3k".into(),
        client_name: text.into(),
        client: ClientIdentity::Verified { host: text.into() },
        redirect_host: text.into(),
        server: ServerShown { name: text.into(), path: text.into() },
        scopes: vec![text.into()],
        created: text.into(),
        last_used: text.into(),
    };
    AccountPage {
        action: "/account".into(),
        sign_out: "/oauth/logout".into(),
        csrf: "c".into(),
        person: SignedIn { name: text.into(), email: Some(text.into()), impersonator: Some(text.into()) },
        grants: vec![grant],
        connections: vec![AccountConnection {
            shown: ConnectionShown { state: ConnectionState::Connected, ..connection(text) },
            id: Some("con_Vb3k".into()),
            since: Some(text.into()),
        }],
    }
}

/// Every page with `text` wherever text goes.
fn pages(text: &str) -> Vec<(&'static str, String)> {
    let route = LandingRoute { name: text.into(), slug: text.into(), url: text.into(), public: true };
    vec![
        ("consent", consent(text).render()),
        ("interstitial", interstitial(text).render()),
        ("error", error(text).render()),
        ("dev-login", dev_login(text).render()),
        (
            "sign-out",
            SignOutConfirmPage { action: "/oauth/logout".into(), csrf: "c".into(), person: text.into() }.render(),
        ),
        ("signed-out", SignedOutPage.render()),
        ("account", account(text).render()),
        ("account-start", AccountStartPage { action: "/account".into(), provider: text.into() }.render()),
        ("connect", connect(text, ConnectStep::Connect).render()),
        ("connect-sign-in", connect(text, ConnectStep::SignIn { provider: text.into() }).render()),
        ("connect-sign-in-again", connect(text, ConnectStep::SignInAgain { provider: text.into() }).render()),
        ("connect-other-person", connect(text, ConnectStep::OtherPerson).render()),
        ("connect-used", connect(text, ConnectStep::Used).render()),
        ("connected", ConnectedPage { connection: connection(text), already: false, by_sign_in: false }.render()),
        ("signed-in-again", ConnectedPage { connection: connection(text), already: false, by_sign_in: true }.render()),
        ("landing", LandingPage { name: text.into(), routes: vec![route] }.render()),
    ]
}

/// What follows each `prefix`, up to the closing quote.
fn values<'a>(html: &'a str, prefix: &str) -> Vec<&'a str> {
    html.split(prefix).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn cons_8_hostile_text_stays_text_on_every_page() {
    for (name, html) in pages(HOSTILE) {
        let html = html.to_lowercase();
        for forbidden in ["<script", "<img", "<a href='", "javascript:", " onerror=alert(1)>", "<iframe", "style=\""] {
            assert!(!html.contains(forbidden), "{name} holds {forbidden}");
        }
        assert!(name == "signed-out" || html.contains("&#60;script"), "{name} shows the text escaped");
    }
}

#[test]
fn cons_10_a_page_loads_nothing_and_links_nowhere() {
    for (name, html) in pages("Example") {
        for address in [values(&html, "href=\""), values(&html, "action=\"")].concat() {
            let local =
                address.starts_with('#') || address.starts_with('/') || address.starts_with("data:image/svg+xml,");
            assert!(local, "{name} leads to {address}");
        }
        for forbidden in ["src=", "<script", "@import", "url(", "<iframe", "<object", "http-equiv"] {
            assert!(!html.contains(forbidden), "{name} holds {forbidden}");
        }
        let beside_icon = html.replace(ICON, "");
        assert!(!beside_icon.contains("://"), "{name} names a URL");
    }
}

#[test]
fn cons_8_no_link_is_clickable_before_approval() {
    for html in [consent("https://evil.example/").render(), interstitial("https://evil.example/").render()] {
        assert!(!html.contains("<a "));
    }
}

#[test]
fn cons_8_all_text_is_bounded() {
    for ((name, long), (_, short)) in pages(&"W".repeat(50_000)).into_iter().zip(pages("W")) {
        assert!(long.len() < short.len() + 5_000, "{name} grows by {}", long.len() - short.len());
    }
    let html = consent(&"W".repeat(101)).render();
    assert!(html.contains(&format!("<h1><bdi>{}…</bdi>", "W".repeat(99))));
}

#[test]
fn cons_7_a_long_host_keeps_its_end() {
    let mut page = consent("x");
    page.redirect_host = format!("{}.evil.example", "accounts.example.".repeat(40));
    assert!(page.render().contains(".evil.example</bdi></dd>"));
}

#[test]
fn every_input_has_a_label_and_every_page_its_landmarks() {
    for (name, html) in pages("Example") {
        for input in html.split("<input ").skip(1).filter_map(|rest| rest.split('>').next()) {
            let hidden = input.contains("type=\"hidden\"");
            let labelled =
                values(input, "id=\"").first().is_some_and(|id| html.contains(&format!("<label for=\"{id}\">")))
                    || html.contains(&format!("<label><input {input}>"));
            assert!(hidden || labelled, "{name}: <input {input}>");
        }
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{name}");
        for once in ["<h1>", "<main>", "<header ", "<title>"] {
            assert_eq!(html.matches(once).count(), 1, "{name} has one {once}");
        }
    }
}

// WOS-13
#[test]
fn a_person_who_may_not_use_the_server_sees_why_and_nothing_to_approve() {
    let page = ConsentPage { refusal: Some("it is for <others>".into()), ..sample_consent() }.render();
    assert!(page.contains("You cannot use this server") && page.contains("it is for &#60;others&#62;"), "{page}");
    assert!(!page.contains("value=\"approve\"") && !page.contains("Approve"));
    assert!(page.contains("value=\"cancel\"") && page.contains("value=\"switch\""));
}

#[test]
fn cons_6_the_consent_page_shows_who_asks_for_what_and_where_it_goes() {
    let mut page = consent("x");
    page.connection = None;
    page.client_name = "Claude Code".into();
    page.redirect_host = "127.0.0.1:33418".into();
    page.person = SignedIn {
        name: "Ada".into(),
        email: Some("ada@example.com".into()),
        impersonator: Some("root@example.com".into()),
    };
    page.server = ServerShown { name: "Linear".into(), path: "/mcp/linear".into() };
    for (client, line) in [
        (ClientIdentity::Verified { host: "claude.ai".into() }, "Verified host: <bdi>claude.ai</bdi>"),
        (ClientIdentity::SelfRegistered, "Unverified, self-registered"),
        (ClientIdentity::Configured, "Configured by your administrator"),
    ] {
        page.client = client;
        let html = page.render();
        for shown in [
            line,
            "Claude Code",
            "127.0.0.1:33418",
            "ada@example.com",
            "Impersonated by <bdi>root@example.com",
            "Linear",
            "/mcp/linear",
        ] {
            assert!(html.contains(shown), "{shown}");
        }
        assert_eq!(values(&html, "name=\"decision\" value=\""), ["switch", "cancel", "approve"]);
        assert_eq!(html.matches("name=\"transaction\" value=\"txn_Vb3kQ0d1\"").count(), 2);
        assert_eq!(html.matches("name=\"csrf\" value=\"k7Xw\"").count(), 2);
        assert_eq!(html.matches("role=\"alert\"").count(), 1);
    }
    page.warnings.clear();
    assert!(!page.render().contains("role=\"alert\""));
}

#[test]
fn cons_17_only_optional_scopes_have_a_checkbox() {
    let html = ConsentPage { connection: None, ..consent("x") }.render();
    assert_eq!(values(&html, "<label><input type=\"checkbox\" name=\"scope\" value=\""), ["files:write"]);
    assert_eq!(values(&html, "name=\"offered\" value=\""), ["files:write"]);
    assert!(html.contains("<fieldset aria-describedby=\"choice\">") && html.contains("id=\"choice\""));
}

#[test]
fn cons_17_nothing_is_to_be_chosen_where_nothing_is_optional_or_the_account_comes_first() {
    let waits = consent("x");
    assert!(waits.scopes.iter().any(|scope| scope.optional));
    for html in [waits.render(), sample_consent().render()] {
        assert!(
            !["type=\"checkbox\"", "name=\"offered\"", "id=\"choice\""].iter().any(|part| html.contains(part)),
            "{html}"
        );
    }
}

#[test]
fn authz_16_an_error_links_only_to_places() {
    let mut page = error("x");
    page.link = Some(PageLink { label: "Return".into(), href: "javascript:alert(1)".into() });
    assert!(!page.render().contains("<a "));
    page.link = Some(PageLink { label: "Return".into(), href: "https://app.example/cb?error=a&state=\"b".into() });
    assert!(page.render().contains("href=\"https://app.example/cb?error=a&#38;state=&#34;b\""));
}

#[test]
fn cons_10_the_policy_allows_the_stylesheet_of_the_pages() {
    for (name, html) in pages("Example") {
        let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect(name);
        let source = format!("'sha256-{}'", STANDARD.encode(crate::crypto::sha256(style.as_bytes())));
        assert_eq!(source, style_csp_source(), "{name}");
    }
}

#[test]
fn cons_10_and_11_pages_are_not_framed_or_kept_and_forms_are_never_blocked() {
    let policy = |form_action| security_headers(form_action)[1].1.clone();
    assert!(policy(FORM_LEADS_AWAY).contains("frame-ancestors 'none'"));
    assert!(!policy(FORM_LEADS_AWAY).contains("form-action"));
    assert!(policy(NO_FORM).ends_with("; form-action 'none'"));
    let headers = security_headers(NO_FORM).map(|(name, value)| format!("{name}: {value}")).join("\n");
    for line in [
        "x-frame-options: DENY",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ] {
        assert!(headers.contains(line), "{line}");
    }
}

fn sample_consent() -> ConsentPage {
    ConsentPage {
        client_name: "Claude Code".into(),
        client: ClientIdentity::Verified { host: "claude.ai".into() },
        redirect_host: "localhost:33418".into(),
        person: SignedIn { name: "Ada Lovelace".into(), email: Some("ada@acme.example".into()), impersonator: None },
        server: ServerShown { name: "Linear".into(), path: "/mcp/linear".into() },
        scopes: vec![ScopeShown {
            name: "mcp:tools".into(),
            description: "Use the tools of this server in your name: read and change what you can".into(),
            optional: false,
        }],
        warnings: vec![ConsentWarning::Loopback],
        connection: None,
        ..consent("")
    }
}

/// The consent page with the server behind so.
fn consent_with(shared: bool, state: ConnectionState, may_connect: bool) -> String {
    let connect = may_connect.then(|| "/auth/connections/linear/connect".to_owned());
    let connection = ConnectionShown {
        name: "Linear".into(),
        summary: Some("Issues and projects.".into()),
        host: "mcp.linear.app".into(),
        shared,
        state,
        connect,
    };
    ConsentPage { connection: Some(connection), ..sample_consent() }.render()
}

#[test]
fn approve_waits_for_what_the_person_can_connect_and_for_nothing_else() {
    let again = || ConnectionState::Again { why: "The connection from before has expired" };
    for (shared, state, may_connect, waits, texts) in [
        (false, ConnectionState::Missing, true, true, ["needs your account at", ">Connect<", "You can approve once"]),
        (false, again(), true, true, ["needs your account at", ">Connect again<", "has expired"]),
        (false, ConnectionState::Connected, true, false, ["<span>Connected</span>", "Linear", "mcp.linear.app"]),
        (true, ConnectionState::Missing, true, true, ["uses an account at", ">Connect<", "for everyone"]),
        (true, ConnectionState::Missing, false, false, ["An administrator has yet", "is told so", "approve now"]),
        (true, again(), false, false, ["has expired", "An administrator has to connect it again", "approve now"]),
        (true, ConnectionState::Connected, false, false, ["Connected by your organisation", "Issues", "Linear"]),
    ] {
        let html = consent_with(shared, state.clone(), may_connect);
        let approve = values(&html, "value=\"approve\"");
        assert_eq!(approve.len(), 1);
        assert_eq!(html.contains("value=\"approve\" disabled"), waits, "{shared} {state:?} {may_connect}");
        assert_eq!(html.contains("action=\"/auth/connections/linear/connect\""), waits);
        for text in texts {
            assert!(html.contains(text), "{shared} {state:?} {may_connect} says {text}: {html}");
        }
        assert_eq!(html.contains("Approve only what you started"), !waits);
    }
    let html = ConsentPage { refusal: Some("no".into()), ..consent("x") }.render();
    assert!(!html.contains("/auth/connections/"), "who may not use the server connects nothing for it");
}

#[test]
fn a_link_to_connect_says_who_connects_what_and_offers_one_way_on() {
    for (step, button, text) in [
        (ConnectStep::Connect, "connect", "never get that access themselves"),
        (ConnectStep::SignIn { provider: "WorkOS".into() }, "sign-in", "Sign in with WorkOS"),
        (ConnectStep::SignInAgain { provider: "Okta".into() }, "sign-in", "your sign-in with Okta"),
        (ConnectStep::OtherPerson, "switch", "for another person than the one who is signed in"),
        (ConnectStep::Used, "connect", "It works once"),
    ] {
        let html = connect("Linear", step.clone()).render();
        assert_eq!(values(&html, "name=\"step\" value=\""), [button]);
        assert!(html.contains(text), "{step:?}: {html}");
        let by_ticket = html.contains("name=\"ticket\" value=\"dGlja2V0\"");
        assert_eq!(
            (by_ticket, html.contains("name=\"account\"")),
            (step != ConnectStep::Used, step == ConnectStep::Used)
        );
    }
    let mut page = connect("Linear", ConnectStep::Connect);
    page.connection.shared = true;
    assert!(page.render().contains("Everyone who may use this server"));
}

#[test]
fn the_own_page_offers_to_disconnect_what_is_connected_and_to_connect_what_is_not() {
    let mut page = account("x");
    let connected = page.render();
    assert_eq!(values(&connected, "name=\"disconnect\" value=\""), ["con_Vb3k"]);
    assert_eq!(values(&connected, "formaction=\""), ["/auth/connections/linear/connect"]);
    assert!(connected.contains("Connect again"));
    page.connections[0].id = None;
    page.connections[0].shown.state = ConnectionState::Missing;
    let missing = page.render();
    assert!(!missing.contains("name=\"disconnect\"") && !missing.contains("Connect again"), "{missing}");
    page.connections[0].shown.connect = None;
    assert!(!page.render().contains("formaction"));
}

fn samples() -> Vec<(&'static str, String)> {
    let mut doubtful = sample_consent();
    doubtful.client_name = "Totally Legitimate Productivity Assistant ".repeat(3);
    doubtful.client = ClientIdentity::SelfRegistered;
    doubtful.redirect_host = "xn--80ak6aa92e.example".into();
    doubtful.person.impersonator = Some("support@acme.example".into());
    doubtful.scopes.push(ScopeShown {
        name: "files:write".into(),
        description: "Change your files".into(),
        optional: true,
    });
    doubtful.warnings = vec![
        ConsentWarning::PrivateScheme { scheme: "cursor".into() },
        ConsentWarning::LookAlikeHost { host: "xn--80ak6aa92e.example".into() },
    ];
    let person = |key: &str, name: &str, roles: &[&str], permissions: &[&str]| ReadyPerson {
        key: key.into(),
        name: name.into(),
        email: format!("{key}@acme.example"),
        organization: "Acme".into(),
        roles: roles.iter().map(ToString::to_string).collect(),
        permissions: permissions.iter().map(ToString::to_string).collect(),
    };
    let route = |slug: &str, name: &str, public| LandingRoute {
        name: name.into(),
        slug: slug.into(),
        url: format!("http://localhost:9000/mcp/{slug}"),
        public,
    };
    vec![
        ("consent", sample_consent().render()),
        ("consent-connect", consent_with(false, ConnectionState::Missing, true)),
        ("consent-connected", consent_with(true, ConnectionState::Connected, false)),
        ("connect", connect("Linear", ConnectStep::Connect).render()),
        ("connected", ConnectedPage { connection: connection("Linear"), already: false, by_sign_in: false }.render()),
        ("consent-doubtful", doubtful.render()),
        (
            "interstitial",
            InterstitialPage {
                client_name: "Cursor".into(),
                client: ClientIdentity::SelfRegistered,
                redirect_host: "cursor://anysphere.cursor-mcp".into(),
                provider: "WorkOS".into(),
                ..interstitial("")
            }
            .render(),
        ),
        (
            "error",
            ErrorPage {
                title: "The sign-in took too long".into(),
                message: "The request from Claude Code waited more than ten minutes for a sign-in and has ended. Nothing was shared.".into(),
                next_steps: vec![
                    "Go back to Claude Code and connect to the server again.".into(),
                    "If it happens again, send the reference below to your administrator.".into(),
                ],
                reference: "req_7Qm2Xc9Tn4".into(),
                link: None,
            }
            .render(),
        ),
        (
            "dev-login",
            DevLoginPage {
                people: vec![
                    person("admin", "Alex Admin", &["admin", "member"], &["tools:read", "tools:write"]),
                    person("member", "Mia Member", &["member"], &["tools:read"]),
                    person("guest", "Gus Guest", &["guest"], &[]),
                ],
                ..dev_login("")
            }
            .render(),
        ),
        ("sign-out", SignOutConfirmPage { action: "/oauth/logout".into(), csrf: "c".into(), person: "ada@acme.example".into() }.render()),
        ("signed-out", SignedOutPage.render()),
        (
            "landing",
            LandingPage { name: "Acme MCP gateway".into(), routes: vec![route("linear", "Linear", false), route("docs", "Documentation search", true)] }.render(),
        ),
    ]
}

/// `cargo test --lib sample_pages -- --ignored`, then look at `doorward-pages/` in the temporary directory.
#[test]
#[ignore = "writes sample pages to look at"]
fn sample_pages_can_be_looked_at() {
    let folder = std::env::temp_dir().join("doorward-pages");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    for (name, html) in samples() {
        std::fs::write(folder.join(name).with_extension("html"), html).expect("the page can be written");
    }
}
