//! Finding it, becoming its client, sending a browser there.

use doorward::config::model::SecretWay;
use doorward::upstream::authorization_request::{ForeignCallback, check_callback_issuer};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::fake_upstream::{Endpoint, Fault};

#[tokio::test]
async fn the_challenge_leads_to_the_metadata_and_those_to_the_server() {
    let bench = Bench::new().await;
    let found = bench.discovered().await;
    assert_eq!(found.issuer, bench.double.issuer());
    assert_eq!(found.token_endpoint.as_str(), bench.double.token_url());
    assert_eq!(found.resource, bench.double.mcp_url());
    assert!(found.sends_issuer && found.grants_refresh && !found.takes_metadata_documents);
    assert!(found.registration_endpoint.is_some() && found.revocation_endpoint.is_some());
    let [request] = &bench.double.requests()[..] else { panic!("one request without a token") };
    assert!(!request.headers.contains_key("authorization"));
}

#[rstest]
#[case::derived_with_path(|how: &mut Behaviour| how.silent_challenge = true)]
#[case::derived_at_root(|how: &mut Behaviour| { how.silent_challenge = true; how.no_path_metadata = true; })]
#[case::openid(|how: &mut Behaviour| how.no_rfc_8414 = true)]
#[case::root_issuer(|how: &mut Behaviour| how.root_issuer = true)]
#[case::root_issuer_openid(|how: &mut Behaviour| { how.root_issuer = true; how.no_rfc_8414 = true; })]
#[tokio::test]
async fn the_server_is_found_wherever_the_standards_allow_its_metadata(#[case] behave: fn(&mut Behaviour)) {
    let bench = Bench::behaving(behave).await;
    assert_eq!(bench.discovered().await.token_endpoint.as_str(), bench.double.token_url());
}

#[tokio::test]
async fn the_first_server_of_the_resource_that_can_be_used_is_used_with_a_slash_or_without() {
    let bench = Bench::new().await;
    let servers =
        json!(["not a url", format!("{}/nowhere", bench.double.base()), format!("{}/", bench.double.issuer())]);
    bench.double.behave(|how| how.resource_metadata = Some(json!({"authorization_servers": servers})));
    assert_eq!(bench.discovered().await.issuer, bench.double.issuer());

    let bench = Bench::new().await;
    let nowhere = (0..3).map(|n| format!("{}/nowhere/{n}", bench.double.base()));
    let servers: Vec<String> = nowhere.chain([bench.double.issuer()]).collect();
    bench.double.behave(|how| how.resource_metadata = Some(json!({"authorization_servers": servers})));
    assert!(bench.failure().await.to_string().contains("/nowhere/0"), "and no more than three are tried");
}

// MCP 2025-03-26
#[tokio::test]
async fn without_resource_metadata_the_server_is_its_own_authorization_server() {
    let old = |how: &mut Behaviour| {
        (how.silent_challenge, how.no_path_metadata, how.no_root_metadata) = (true, true, true);
        how.root_issuer = true;
    };
    let bench = Bench::behaving(old).await;
    let found = bench.discovered().await;
    assert_eq!(
        (found.issuer.as_str(), found.resource.as_str()),
        (bench.double.base().as_str(), bench.double.mcp_url().as_str())
    );
    assert_eq!(found.token_endpoint.as_str(), bench.double.token_url());

    let bare = Bench::behaving(|how| {
        old(how);
        (how.no_rfc_8414, how.no_openid) = (true, true);
    })
    .await;
    let (found, base) = (bare.discovered().await, bare.double.base());
    let endpoints =
        [&found.authorization_endpoint, &found.token_endpoint, found.registration_endpoint.as_ref().unwrap()];
    assert_eq!(
        endpoints.map(Url::as_str),
        [format!("{base}/authorize"), format!("{base}/token"), format!("{base}/register")]
    );
}

#[rstest]
#[case(json!({"issuer": "https://login.example", "token_endpoint": "https://login.example/token"}), true)]
#[case(json!({"issuer": "https://login.example", "authorization_endpoint": "https://login.example/authorize"}), false)]
#[tokio::test]
async fn a_server_for_itself_may_have_an_issuer_elsewhere_only_if_the_codes_go_there(
    #[case] metadata: Value,
    #[case] accepted: bool,
) {
    let bench = Bench::behaving(|how| {
        (how.silent_challenge, how.no_path_metadata, how.no_root_metadata, how.root_issuer) = (true, true, true, true);
        how.metadata = Some(metadata);
    })
    .await;
    assert_eq!(bench.discovery.discovered().await.is_ok(), accepted);
}

#[rstest]
#[case(json!({"resource": "https://mcp.example/mcp"}), "another resource")]
#[case(json!({"resource": null}), "no metadata")]
#[case(json!({"authorization_servers": []}), "no authorization server")]
#[case(json!({"authorization_servers": ["https://169.254.169.254"]}), "link-local address")]
#[case(json!({"authorization_servers": ["https://[::ffff:127.0.0.1]:9/as"]}), "IPv4-mapped address")]
#[case(json!({"authorization_servers": ["https://127.0.0.1:9"]}), "--upstream-allow")]
#[case(json!({"authorization_servers": ["http://as.example"]}), "https")]
#[tokio::test]
async fn resource_metadata_that_lead_astray_are_refused(#[case] members: Value, #[case] cause: &str) {
    let bench = Bench::behaving(|how| how.resource_metadata = Some(members)).await;
    let failure = bench.failure().await;
    assert!(matches!(&failure, DiscoveryError::Unusable(text) if text.contains(cause)), "{failure}");
}

#[rstest]
#[case(json!({"issuer": "https://as.example"}), "another issuer")]
#[case(json!({"issuer": null}), "no metadata")]
#[case(json!({"code_challenge_methods_supported": ["plain"]}), "PKCE")]
#[case(json!({"code_challenge_methods_supported": null}), "PKCE")]
#[case(json!({"response_types_supported": ["token"]}), "authorization code flow")]
#[case(json!({"token_endpoint": null}), "`token_endpoint`")]
#[case(json!({"token_endpoint": "https://169.254.169.254/latest"}), "link-local")]
#[case(json!({"token_endpoint": "http://127.0.0.1:9/token"}), "`token_endpoint`")]
#[case(json!({"authorization_endpoint": "javascript:alert(1)"}), "`authorization_endpoint`")]
#[tokio::test]
async fn a_server_that_cannot_be_trusted_with_people_is_refused(#[case] members: Value, #[case] cause: &str) {
    let bench = Bench::behaving(|how| how.metadata = Some(members)).await;
    let failure = bench.failure().await;
    assert!(matches!(&failure, DiscoveryError::Unusable(text) if text.contains(cause)), "{failure}");
}

#[tokio::test]
async fn endpoints_that_nobody_needs_are_left_out_where_they_lead_astray() {
    let astray = json!({"registration_endpoint": "https://10.0.0.1/r", "revocation_endpoint": "http://as.example/r"});
    let bench = Bench::behaving(|how| how.metadata = Some(astray)).await;
    let found = bench.discovered().await;
    assert_eq!((&found.registration_endpoint, &found.revocation_endpoint), (&None, &None));
}

#[tokio::test]
async fn whoever_registered_by_hand_has_seen_that_a_silent_server_knows_pkce() {
    let silent = |how: &mut Behaviour| how.metadata = Some(json!({"code_challenge_methods_supported": null}));
    let bench = Bench::with(silent, |premises| premises.registered_by_hand = true).await;
    bench.discovered().await;
    bench.pass(3600);
    bench.double.behave(|how| how.metadata = Some(json!({"code_challenge_methods_supported": ["plain"]})));
    let other = Discovery::new(
        Premises {
            server: Url::parse(&bench.double.mcp_url()).unwrap(),
            resource_metadata: None,
            scopes: None,
            registered_by_hand: true,
        },
        bench.discovery.fetcher().clone(),
        bench.hands.clone(),
    );
    assert!(matches!(other.discovered().await, Err(DiscoveryError::Unusable(_))), "it says that it does not");
}

#[tokio::test]
async fn configured_metadata_count_alone_and_may_be_of_the_name_they_stand_at() {
    let double = FakeUpstream::start().await;
    let place = Url::parse(&double.resource_metadata_url()).unwrap();
    let inner = "http://127.0.0.1:1/mcp";
    let bench = Bench::with(
        |_| {},
        |premises| {
            premises.server = Url::parse(inner).unwrap();
            premises.resource_metadata = Some(place.clone());
        },
    )
    .await;
    assert_eq!(bench.discovered().await.resource, double.mcp_url());
    assert_eq!(double.fetches(Endpoint::PathMetadata), 1);

    let other = json!({"resource": format!("{}/other", double.base())});
    double.behave(|how| how.resource_metadata = Some(other));
    let strange = Bench::with(|_| {}, |premises| premises.resource_metadata = Some(place)).await;
    assert!(strange.failure().await.to_string().contains("another resource"));
}

#[rstest]
#[case(None, None, json!(["notes.read"]), &["notes.read", "offline_access"])]
#[case(None, Some("notes.write"), json!(["notes.read"]), &["notes.write", "offline_access"])]
#[case(Some(&["notes.admin"][..]), Some("notes.write"), json!(["notes.read"]), &["notes.admin"])]
#[case(Some(&[][..]), Some("notes.write"), json!(["notes.read"]), &[])]
#[case(None, None, json!(null), &[])]
#[case(None, None, json!(["offline_access", "notes.read"]), &["offline_access", "notes.read"])]
#[tokio::test]
async fn scopes_are_those_configured_else_the_challenge_s_else_the_metadata_s_else_none(
    #[case] configured: Option<&[&str]>,
    #[case] challenged: Option<&str>,
    #[case] listed: Value,
    #[case] expected: &[&str],
) {
    let bench = Bench::with(
        |how| {
            how.challenge_scope = challenged.map(str::to_owned);
            how.resource_metadata = Some(json!({"scopes_supported": listed}));
        },
        |premises| premises.scopes = configured.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect()),
    )
    .await;
    assert_eq!(bench.discovered().await.scopes, expected);
}

#[tokio::test]
async fn what_was_found_is_shared_kept_an_hour_and_serves_on_in_an_outage() {
    let bench = Bench::new().await;
    bench.double.fail_next(Endpoint::Rfc8414, Fault::HeldBefore);
    let all = futures_util::future::join_all((0..5).map(|_| bench.discovery.discovered()));
    let (all, ()) = tokio::join!(all, async {
        bench.double.wait_for_held(1).await;
        bench.double.release();
    });
    assert!(all.iter().all(Result::is_ok));
    bench.pass(3599);
    bench.discovered().await;
    assert_eq!(bench.double.fetches(Endpoint::Rfc8414), 1);
    bench.pass(1);
    bench.double.fail_always(Endpoint::Rfc8414, Fault::down());
    bench.discovered().await;
    bench.discovered().await;
    assert_eq!(bench.double.fetches(Endpoint::Rfc8414), 2, "not again at once");
    bench.pass(60);
    bench.double.recover(Endpoint::Rfc8414);
    bench.double.behave(|how| how.no_issuer = true);
    assert!(!bench.discovered().await.sends_issuer, "what is new is learnt");
}

#[rstest]
#[case(404, "")]
#[case(401, "{}")]
#[case(302, "{}")]
#[case(200, "<html>a page for every path</html>")]
#[tokio::test]
async fn what_is_no_document_counts_as_absent_and_the_next_place_is_tried(#[case] status: u16, #[case] body: &str) {
    let bench = Bench::new().await;
    let absent = Fault::Answer { status, body: body.to_owned(), retry_after: None };
    for endpoint in [Endpoint::PathMetadata, Endpoint::Rfc8414] {
        bench.double.fail_always(endpoint, absent.clone());
    }
    assert_eq!(bench.discovered().await.issuer, bench.double.issuer());
    assert_eq!((bench.double.fetches(Endpoint::RootMetadata), bench.double.fetches(Endpoint::OpenId)), (1, 1));
}

#[rstest]
#[case(Endpoint::PathMetadata, Fault::down())]
#[case(Endpoint::PathMetadata, Fault::too_many(1))]
#[case(Endpoint::Rfc8414, Fault::down())]
#[case(Endpoint::Rfc8414, Fault::Dropped)]
#[tokio::test]
async fn a_server_that_is_down_is_asked_again_within_seconds(#[case] endpoint: Endpoint, #[case] fault: Fault) {
    let bench = Bench::new().await;
    bench.double.fail_next(endpoint, fault);
    assert!(matches!(bench.failure().await, DiscoveryError::Unavailable(_)));
    assert!(matches!(bench.failure().await, DiscoveryError::Unavailable(_)));
    assert_eq!(bench.double.fetches(endpoint), 1, "and not more often than that");
    bench.pass(3);
    bench.discovered().await;
}

#[tokio::test]
async fn an_endpoint_that_is_down_for_the_first_request_keeps_nobody_from_the_metadata() {
    let bench = Bench::new().await;
    bench.double.fail_next(Endpoint::Mcp, Fault::Dropped);
    bench.discovered().await;
}

#[rstest]
#[case(Some(&["client_secret_basic", "none"][..]), "client_secret_basic")]
#[case(Some(&["none", "client_secret_post"][..]), "client_secret_post")]
#[case(Some(&["client_secret_basic", "client_secret_post", "none"][..]), "client_secret_post")]
#[case(Some(&["none"][..]), "none")]
#[case(None, "client_secret_basic")]
#[tokio::test]
async fn a_registration_asks_for_the_best_method_that_the_server_offers(
    #[case] offered: Option<&[&str]>,
    #[case] method: &str,
) {
    let members = json!({"token_endpoint_auth_methods_supported": offered});
    let bench = Bench::behaving(|how| how.metadata = Some(members)).await;
    let registered = bench.register().await.unwrap();
    let [asked] = &bench.double.registrations()[..] else { panic!("one registration") };
    assert_eq!(
        *asked,
        json!({
            "client_name": "doorward (localhost:9000)",
            "redirect_uris": ["http://localhost:9000/auth/connections/notes/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": method,
            "application_type": "web",
            "scope": "notes.read offline_access",
        })
    );
    bench.redeem(&registered.client()).await.unwrap();
}

#[tokio::test]
async fn a_registered_client_is_kept_sealed_and_serves_until_something_about_it_changes() {
    let bench = Bench::behaving(|how| how.registration = Some(json!({"client_secret_expires_at": NOON + 7200}))).await;
    let registered = bench.register().await.unwrap();
    let kept: RegisteredClient = serde_json::from_slice(&serde_json::to_vec(&registered).unwrap()).unwrap();
    bench.redeem(&kept.client()).await.unwrap();
    let server = bench.discovered().await;
    assert!(kept.serves(&server, &bench.gateway(), UnixTime(NOON + 3599)));
    assert!(!kept.serves(&server, &bench.gateway(), UnixTime(NOON + 3600)), "the secret is about to end");
    let moved = Discovered { issuer: "https://as.example".to_owned(), ..(*server).clone() };
    assert!(!kept.serves(&moved, &bench.gateway(), UnixTime(NOON)));
    let origins = ["https://gw.example".to_owned()];
    let renamed = GatewayAsClient { origins: &origins, ..bench.gateway() };
    assert!(!kept.serves(&server, &renamed, UnixTime(NOON)));
}

#[tokio::test]
async fn a_server_without_refresh_tokens_is_not_asked_for_them_and_a_public_client_never_ends() {
    let bench = Bench::behaving(|how| {
        how.metadata = Some(json!({
            "grant_types_supported": ["authorization_code"], "token_endpoint_auth_methods_supported": ["none"],
        }));
        how.registration = Some(json!({"client_secret_expires_at": NOON}));
    })
    .await;
    let registered = bench.register().await.unwrap();
    assert_eq!(bench.double.registrations()[0]["grant_types"], json!(["authorization_code"]));
    assert!(registered.serves(&*bench.discovered().await, &bench.gateway(), UnixTime(NOON + 7200)));
}

#[tokio::test]
async fn what_the_server_says_of_a_client_counts_more_than_what_was_asked_for() {
    let post = json!({"token_endpoint_auth_method": "client_secret_post"});
    let bench = Bench::behaving(|how| how.registration = Some(post)).await;
    let OidcCredential::Secret { way, .. } = bench.register().await.unwrap().client().credential else { panic!() };
    assert_eq!(way, Some(SecretWay::Post));
    for (members, problem) in [
        (json!({"client_secret": null}), "no client secret"),
        (json!({"client_id": null}), "no client id"),
        (json!({"client_id": "a\nb"}), "no client id"),
        (json!({"token_endpoint_auth_method": "tls_client_auth"}), "did not ask for"),
    ] {
        bench.double.behave(|how| how.registration = Some(members.clone()));
        let error = bench.register().await.err().unwrap();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_registration_that_fails_says_what_to_do_and_nothing_the_server_wrote() {
    let bench = Bench::new().await;
    bench.double.fail_next(Endpoint::Registration, Fault::error(400, "invalid_redirect_uri"));
    let refused = bench.register().await.err().unwrap();
    assert!(matches!(&refused, RegistrationError::Refused { code, .. } if code == "invalid_redirect_uri"));
    assert!(refused.to_string().contains("mode `manual`"), "{refused}");
    for fault in [Fault::down(), Fault::too_many(5), Fault::Dropped] {
        bench.double.fail_next(Endpoint::Registration, fault);
        assert!(matches!(bench.register().await.err().unwrap(), RegistrationError::Unavailable { .. }));
    }
}

#[tokio::test]
async fn the_gateway_is_what_is_configured_else_its_document_else_registers_else_says_so() {
    let mut bench = Bench::behaving(|how| how.takes_documents = true).await;
    let server = bench.discovered().await;
    assert!(
        matches!(approach(None, &server, &bench.gateway()), Ok(Approach::Register(_))),
        "nobody can fetch from loopback"
    );
    bench.origins = vec!["https://gw.example".to_owned()];
    let Ok(Approach::Known(known)) = approach(None, &server, &bench.gateway()) else { panic!("no document") };
    assert_eq!(known.id, "https://gw.example/.well-known/oauth-client/notes");
    assert!(matches!(known.credential, OidcCredential::None));

    let own = UpstreamClient { credential: OidcCredential::Secret { secret: "s".into(), way: None }, ..public("own") };
    let posting = Discovered { auth_methods: vec!["client_secret_post".to_owned()], ..(*server).clone() };
    for (server, expected) in [(&*server, SecretWay::Basic), (&posting, SecretWay::Post)] {
        let Ok(Approach::Known(known)) = approach(Some(&own), server, &bench.gateway()) else {
            panic!("not configured")
        };
        let OidcCredential::Secret { way, .. } = known.credential else { panic!("no secret") };
        assert_eq!((known.id.as_str(), way), ("own", Some(expected)));
    }

    let chosen = OidcCredential::Secret { secret: "s".into(), way: Some(SecretWay::Basic) };
    let chosen = UpstreamClient { credential: chosen, ..public("own") };
    let Ok(Approach::Known(known)) = approach(Some(&chosen), &posting, &bench.gateway()) else {
        panic!("not configured")
    };
    let OidcCredential::Secret { way, .. } = known.credential else { panic!("no secret") };
    assert_eq!(way, Some(SecretWay::Basic), "as the operator wrote it");

    let closed = Discovered { takes_metadata_documents: false, registration_endpoint: None, ..(*server).clone() };
    let error = approach(None, &closed, &bench.gateway()).unwrap_err().to_string();
    let redirect_uri = "https://gw.example/auth/connections/notes/callback";
    assert!(error.contains("manual") && error.contains(redirect_uri) && error.contains(&server.issuer), "{error}");
}

#[tokio::test]
async fn the_browser_goes_with_everything_the_standards_ask_for_and_the_endpoint_keeps_its_query() {
    let bench = Bench::new().await;
    let registered = bench.register().await.unwrap();
    let sent = bench.authorize(&registered.client()).await;
    assert_eq!(sent["iss"], bench.double.issuer());
    let [request] = &bench.double.authorizations()[..] else { panic!("one request") };
    assert_eq!(request["resource"], bench.double.mcp_url());
    assert_eq!(request["scope"], "notes.read offline_access");
    assert_eq!(request["prompt"], "consent", "or `offline_access` may be passed over");
    assert_eq!(request["code_challenge"], CodeChallenge::of_verifier(VERIFIER).as_str());

    let endpoint = Url::parse("https://as.example/authorize?tenant=a%26b&state=theirs&resource=theirs#x").unwrap();
    let server = Discovered { authorization_endpoint: endpoint, ..(*bench.discovered().await).clone() };
    let request = AuthorizationRequest {
        client_id: "c",
        redirect_uri: "https://gw.example/cb",
        state: STATE,
        code_challenge: &CodeChallenge::of_verifier(VERIFIER),
        scopes: &["a".to_owned(), "b".to_owned()],
        scope_delimiter: ",",
        prompt: Some("select_account"),
    };
    let url = authorization_url(&server, &request);
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let once: HashMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(pairs.len(), once.len(), "each once: {url}");
    assert_eq!((once["tenant"].as_str(), once["state"].as_str(), once["scope"].as_str()), ("a&b", STATE, "a,b"));
    assert_eq!((once["prompt"].as_str(), url.fragment()), ("select_account", None));
    let none = AuthorizationRequest { scopes: &[], prompt: None, ..request };
    let bare = authorization_url(&server, &none);
    assert!(!bare.query_pairs().any(|(name, _)| name == "scope" || name == "prompt"), "{bare}");
}

// RFC 9207
#[tokio::test]
async fn a_callback_from_another_server_is_refused_before_its_code_is_given_away() {
    let bench = Bench::new().await;
    let server = bench.discovered().await;
    let issuer = bench.double.issuer();
    assert_eq!(check_callback_issuer(&server, Some(&issuer)), Ok(()));
    assert_eq!(check_callback_issuer(&server, None), Err(ForeignCallback::NoIssuer));
    for other in ["https://evil.example", "", &format!("{issuer}/x"), &issuer.to_uppercase()] {
        assert_eq!(check_callback_issuer(&server, Some(other)), Err(ForeignCallback::OtherIssuer), "{other}");
    }
    let silent = Discovered { sends_issuer: false, ..(*server).clone() };
    assert_eq!(check_callback_issuer(&silent, None), Ok(()));
    assert_eq!(check_callback_issuer(&silent, Some("https://evil.example")), Err(ForeignCallback::OtherIssuer));
}
