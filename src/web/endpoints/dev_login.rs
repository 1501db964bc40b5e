//! `GET|POST /oauth/dev-login`: the development login (gateway.md §6.4). Loopback only.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::identity::dev::{CustomPerson, DevLogin};
use crate::oauth::params::Params;
use crate::web::admission::Context;
use crate::web::extract;
use crate::web::pages::{self, DevLoginPage, ReadyPerson};
use crate::web::respond::{self, Trouble};

pub async fn get(context: Context, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let login = match allowed(&context, &headers) {
        Ok(login) => login,
        Err(response) => return *response,
    };
    let params = Params::parse(&query.unwrap_or_default());
    let html = DevLoginPage {
        action: format!("{}oauth/dev-login", context.gateway.base_path),
        state: params.get("state").ok().flatten().unwrap_or_default().to_owned(),
        csrf: String::new(),
        people: login
            .people()
            .iter()
            .map(|(key, person)| ReadyPerson {
                key: (*key).to_owned(),
                name: person.display_name().to_owned(),
                email: person.email.clone().unwrap_or_default(),
                organization: person.organization_id.clone().unwrap_or_default(),
                roles: person.roles.clone(),
                permissions: person.permissions.clone(),
            })
            .collect(),
    }
    .render();
    respond::page(StatusCode::OK, html, pages::FORM_LEADS_AWAY)
}

pub async fn post(context: Context, headers: HeaderMap, body: Body) -> Response {
    let login = match allowed(&context, &headers) {
        Ok(login) => login,
        Err(response) => return *response,
    };
    if !extract::is_same_origin(&headers, &context.origin) {
        return forbidden(&context, "The form did not come from this page.");
    }
    let form = match extract::page_form(&headers, body, &context).await {
        Ok(form) => form,
        Err(response) => return response,
    };
    let get = |name| form.get(name).ok().flatten();
    let person = match get("person") {
        Some("custom") => login.custom_person(&CustomPerson {
            email: get("email"),
            name: get("name"),
            organization: get("organization"),
            roles: get("roles"),
            permissions: get("permissions"),
        }),
        Some(key) => login.people().iter().find(|(known, _)| *known == key).map(|(_, person)| person.clone()),
        None => None,
    };
    let (Some(person), Some(state)) = (person, get("state")) else {
        return forbidden(&context, "Choose a person, or give at least an e-mail address.");
    };
    let Some(server) = &context.gateway.authorization else { return respond::not_found(&context) };
    let code = login.seal_code(&person, state, server.now(), &*context.gateway.random);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", state)
        .finish();
    respond::see_other(&format!("{}?{query}", server.callback_uri(&context.origin)))
}

/// The login, for a caller at this very machine.
fn allowed<'c>(context: &'c Context, headers: &HeaderMap) -> Result<&'c DevLogin, Box<Response>> {
    let login = context.gateway.development.as_ref().and_then(|development| development.login.as_deref());
    match login {
        Some(login) if context.is_direct_loopback(headers) => Ok(login),
        Some(_) => Err(Box::new(forbidden(
            context,
            "The development login is for this machine only: no proxy, tunnel or other host may stand in between.",
        ))),
        None => Err(Box::new(forbidden(context, "The development login is not on."))),
    }
}

fn forbidden(context: &Context, message: &str) -> Response {
    let trouble = Trouble {
        status: StatusCode::FORBIDDEN,
        title: "Not allowed",
        message: message.to_owned(),
        next_steps: &["Open the gateway at its localhost address on the machine it runs on."],
        link: None,
    };
    respond::trouble(trouble, context)
}
