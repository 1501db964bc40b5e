//! A browser without a window: one cookie jar, redirects by hand, forms as a person submits them.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};

/// The crypto provider of the process. Whoever is first installs the same one.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// An HTTP client that follows nothing.
pub fn client() -> Client {
    install_crypto();
    let builder = Client::builder();
    builder.redirect(Policy::none()).no_proxy().build().expect("a client")
}

/// Cookies by name; enough for a gateway on one host.
pub struct Browser {
    http: Client,
    pub cookies: Mutex<BTreeMap<String, String>>,
}

/// A page, or where the browser was sent.
pub struct Page {
    pub status: StatusCode,
    pub location: Option<String>,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
    /// Where it came from.
    pub url: String,
}

impl Browser {
    pub fn new() -> Self {
        Self { http: client(), cookies: Mutex::default() }
    }

    /// Looks for `hosts` at `address`, and trusts the certificate `root` there.
    pub fn resolving(hosts: &[String], address: std::net::SocketAddr, root: &[u8]) -> Self {
        install_crypto();
        let root = reqwest::Certificate::from_pem(root).expect("a certificate");
        let builder = Client::builder().redirect(Policy::none()).no_proxy().add_root_certificate(root);
        let builder = hosts.iter().fold(builder, |builder, host| builder.resolve(host, address));
        Self { http: builder.build().expect("a client"), cookies: Mutex::default() }
    }

    /// The same cookies, in a browser of its own from now on.
    pub fn copy(&self) -> Self {
        Self { http: client(), cookies: Mutex::new(self.cookies.lock().unwrap().clone()) }
    }

    pub async fn get(&self, url: &str) -> Page {
        self.get_with(url, &[]).await
    }

    /// `None` where the connection ends without an answer.
    pub async fn try_get(&self, url: &str) -> Option<Page> {
        let answer = self.http.get(url).header("cookie", self.cookie_header()).send().await.ok()?;
        Some(self.page(url, answer).await)
    }

    /// With further headers.
    pub async fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Page {
        let request = self.http.get(url).header("cookie", self.cookie_header());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.page(url, request.send().await.expect("an answer")).await
    }

    /// Posts a form as a page of `url`'s own origin does.
    pub async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.post_from(url, fields, "same-origin").await
    }

    /// Posts a form with the `Sec-Fetch-Site` a browser would send.
    pub async fn post_from(&self, url: &str, fields: &[(&str, &str)], site: &str) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self
            .http
            .post(url)
            .header("cookie", self.cookie_header())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", "null")
            .header("sec-fetch-site", site)
            .body(body);
        self.page(url, request.send().await.expect("an answer")).await
    }

    fn cookie_header(&self) -> String {
        self.cookies
            .lock()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    async fn page(&self, url: &str, response: Response) -> Page {
        for cookie in response.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let (name, value) = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
        }
        let location = response.headers().get("location").map(|value| {
            let base = url::Url::parse(url).expect("a URL");
            let text = value.to_str().expect("text");
            base.join(text).map_or_else(|_| text.to_owned(), String::from)
        });
        Page {
            status: response.status(),
            location,
            headers: response.headers().clone(),
            url: url.to_owned(),
            text: response.text().await.expect("a body"),
        }
    }
}

impl Page {
    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\"");
        self.text
            .split("<input")
            .skip(1)
            .filter_map(|tag| tag.split('>').next())
            .find(|tag| tag.contains(&marker))
            .and_then(|tag| tag.split("value=\"").nth(1))
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_else(|| panic!("no field {name} on the page of {}:\n{}", self.url, self.text))
            .replace("&amp;", "&")
    }

    /// The scopes that can be cleared; each is checked at first.
    pub fn checkboxes(&self) -> Vec<String> {
        let boxes = self.text.split("type=\"checkbox\" name=\"scope\" value=\"").skip(1);
        boxes.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    }

    pub fn redirect(&self) -> &str {
        self.location
            .as_deref()
            .unwrap_or_else(|| panic!("no redirect but {} from {}:\n{}", self.status, self.url, self.text))
    }

    /// A parameter of the redirect's query.
    pub fn param(&self, name: &str) -> Option<String> {
        param_of(self.redirect(), name)
    }
}

/// A parameter of a URL's query.
pub fn param_of(url: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(url).expect("a URL");
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
