//! Orders to the double from another process: JSON by POST at a port of their own, so that nothing it serves can reach
//! them. Each is answered with what the double saw so far.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Behaviour, Endpoint, FakeUpstream, Fault};

/// `{"order": "signIn", "person": "grace"}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "camelCase")]
pub enum Order {
    /// Only tells what was seen.
    Look,
    SignIn {
        person: String,
    },
    /// Instead of the whole behaviour that was.
    Behave {
        behaviour: Box<Behaviour>,
    },
    FailNext {
        endpoint: Endpoint,
        fault: Fault,
    },
    FailAlways {
        endpoint: Endpoint,
        fault: Fault,
    },
    Recover {
        endpoint: Endpoint,
    },
    Release,
    Expire,
    Revoke {
        person: String,
    },
}

impl FakeUpstream {
    pub fn obey(&self, order: Order) {
        match order {
            Order::Look => {}
            Order::SignIn { person } => self.sign_in(&person),
            Order::Behave { behaviour } => self.behave(|own| *own = *behaviour),
            Order::FailNext { endpoint, fault } => self.fail_next(endpoint, fault),
            Order::FailAlways { endpoint, fault } => self.fail_always(endpoint, fault),
            Order::Recover { endpoint } => self.recover(endpoint),
            Order::Release => self.release(),
            Order::Expire => self.expire_access_tokens(),
            Order::Revoke { person } => self.revoke(&person),
        }
    }

    /// What it saw, without a secret.
    pub fn seen(&self) -> Value {
        let requests = self.requests().into_iter().map(|request| {
            json!({
                "method": request.body["method"], "tool": request.tool(), "account": request.account, "token": request.token,
                "carriedOut": request.carried_out, "status": request.status,
            })
        });
        let grants = self.token_requests().into_iter().map(|request| request.form.get("grant_type").cloned());
        json!({
            "requests": requests.collect::<Vec<_>>(),
            "grants": grants.collect::<Vec<_>>(),
            "registrations": self.registrations().len(),
            "documents": self.documents(),
            "authorizations": self.authorizations().len(),
            "revocations": self.revoked().len(),
        })
    }

    /// Takes orders at a free loopback port until the double stops: `http://127.0.0.1:PORT/`.
    pub async fn take_orders(self: &Arc<Self>) -> String {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(obey)).with_state(Arc::clone(self));
        #[expect(clippy::disallowed_methods, reason = "a double need not drain")]
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }
}

async fn obey(State(double): State<Arc<FakeUpstream>>, body: String) -> Response {
    match serde_json::from_str(&body) {
        Ok(order) => {
            double.obey(order);
            Json(double.seen()).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
