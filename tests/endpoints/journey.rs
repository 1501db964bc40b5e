//! The journey as a whole: connect, refresh, revoke.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::flow::TestClient;
use crate::support::gateway::TestGateway;

// AUTHZ-14, CODE-11, CODE-12, REFR-1, REFR-3, REV-1, REV-2
#[tokio::test]
async fn a_client_connects_refreshes_and_is_revoked() {
    let gateway = TestGateway::start().await;
    let client = TestClient::register(&gateway).await;
    let tokens = client.connect("one").await;
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["scope"], "mcp:tools");
    assert_eq!(tokens["resource"], gateway.resource("one"));

    let refreshed: Value = client.refresh(tokens["refresh_token"].as_str().unwrap()).await.json().await.unwrap();
    assert_ne!(refreshed["refresh_token"], tokens["refresh_token"]);
    let access = refreshed["access_token"].as_str().unwrap();
    // The upstream of this gateway does not exist: the token was accepted, the call went on.
    assert_eq!(client.call("one", access).await.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(client.call("two", access).await.status(), StatusCode::UNAUTHORIZED);

    let fields = [("client_id", client.id.as_str()), ("token", refreshed["refresh_token"].as_str().unwrap())];
    let response = crate::support::flow::post_form(&client.http, &gateway.url("/oauth/revoke"), &fields).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(client.call("one", access).await.status(), StatusCode::UNAUTHORIZED);
}
