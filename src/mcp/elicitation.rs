//! Sending a person to a page before a request can be served ("URL mode elicitation").
//!
//! Until 2025-11-25 the answer is an error with the page's address. Since 2026-07-28 that error must not be sent:
//! there the answer is a result that asks for input, to those requests and clients that allow for it ("Multi Round-Trip
//! Requests"), and an error of another kind to all others. Clients that can do neither show people its text.

use serde_json::{Map, Value, json};

use super::mirrored::is_stateless;
use super::{REFUSED, error_for};

/// A page must be visited first (2025-11-25; no later revision may send it).
pub const URL_ELICITATION_REQUIRED: i32 = -32042;

/// Under which the client's answer comes back.
const KEY: &str = "doorward.connect";
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// What may be answered with a question ("Supported Requests").
const MAY_BE_ASKED: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// Requests of a batch that are answered one by one; of a longer one, none is.
const MOST: usize = 100;

/// The requests of a body. Notifications and answers are left out: nobody waits for an answer to them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub is_batch: bool,
    pub requests: Vec<Asking>,
}

/// One request.
#[derive(Debug, PartialEq, Eq)]
pub struct Asking {
    id: Value,
    form: Form,
    /// What became of the page it was sent to before.
    reply: Option<Reply>,
}

/// How it can be told of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Error,
    Question,
    /// By a text for people alone.
    Text,
}

/// What a person did about the page (`ElicitResult`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// They are on their way.
    Accepted,
    /// They do not want to, or not now.
    Declined,
}

/// A page to be visited.
#[derive(Debug, Clone)]
pub struct Page {
    pub url: String,
    /// Another one each time.
    pub id: String,
}

impl Asked {
    /// Reads a body as far as it can be read; `version` is what the header says of the revision.
    #[must_use]
    pub fn read(body: &[u8], version: Option<&str>) -> Self {
        let stateless = version.is_some_and(is_stateless);
        match serde_json::from_slice(body) {
            Ok(Value::Array(messages)) => {
                let mut requests: Vec<_> =
                    messages.iter().filter_map(|message| Asking::of(message, stateless)).collect();
                if requests.len() > MOST {
                    requests.clear();
                }
                Self { is_batch: true, requests }
            }
            Ok(message) => Self { is_batch: false, requests: Asking::of(&message, stateless).into_iter().collect() },
            Err(_) => Self::default(),
        }
    }

    /// What the person did about the page that the request was answered with before, if it was.
    #[must_use]
    pub fn reply(&self) -> Option<Reply> {
        match self.requests.as_slice() {
            [asking] => asking.reply,
            _ => None,
        }
    }

    /// What each request is answered: `headline` and `text` are for people, the text with the page's address in it;
    /// `data` is for programs. `None` when nobody waits for an answer.
    #[must_use]
    pub fn answer(&self, page: Option<&Page>, headline: &str, text: &str, data: &Map<String, Value>) -> Option<Value> {
        let mut answers = self.requests.iter().map(|asking| asking.answer(page, headline, text, data));
        if self.is_batch {
            let answers: Vec<Value> = answers.collect();
            return (!answers.is_empty()).then_some(Value::Array(answers));
        }
        answers.next()
    }
}

impl Asking {
    fn of(message: &Value, stateless: bool) -> Option<Self> {
        let method = message["method"].as_str()?;
        let id = message.get("id").filter(|id| id.is_string() || id.is_number())?.clone();
        let params = &message["params"];
        let meta = &params["_meta"];
        let form = if !stateless && !meta[PROTOCOL_VERSION].as_str().is_some_and(is_stateless) {
            Form::Error
        } else if MAY_BE_ASKED.contains(&method) && meta[CAPABILITIES]["elicitation"]["url"].is_object() {
            Form::Question
        } else {
            Form::Text
        };
        let reply = params["inputResponses"].get(KEY).filter(|_| form == Form::Question);
        let reply = reply.map(|reply| if reply["action"] == "accept" { Reply::Accepted } else { Reply::Declined });
        Some(Self { id, form, reply })
    }

    fn answer(&self, page: Option<&Page>, headline: &str, text: &str, data: &Map<String, Value>) -> Value {
        match (self.form, page) {
            // Whoever has just declined is not asked again.
            (Form::Question, Some(page)) if self.reply != Some(Reply::Declined) => {
                let params = json!({ "mode": "url", "url": page.url, "message": headline });
                let asked = json!({ KEY: { "method": "elicitation/create", "params": params } });
                let result = json!({ "resultType": "input_required", "inputRequests": asked });
                json!({ "jsonrpc": "2.0", "id": self.id, "result": result })
            }
            (Form::Error, page) => {
                let elicitation = page.map(
                    |page| json!({ "mode": "url", "elicitationId": page.id, "url": page.url, "message": headline }),
                );
                let mut data = data.clone();
                data.insert("elicitations".to_owned(), elicitation.into_iter().collect());
                error(&self.id, URL_ELICITATION_REQUIRED, text, data)
            }
            _ => error(&self.id, REFUSED, text, data.clone()),
        }
    }
}

fn error(id: &Value, code: i32, text: &str, data: Map<String, Value>) -> Value {
    let mut answer = error_for(Some(id), code, text, "");
    answer["error"]["data"] = data.into();
    answer
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn page() -> Page {
        Page { url: "https://gw.example/connect?ticket=t".to_owned(), id: "elc_1".to_owned() }
    }

    fn stateless(method: &str, capabilities: &Value, replies: &Value) -> Value {
        let meta = json!({ PROTOCOL_VERSION: "2026-07-28", CAPABILITIES: capabilities });
        json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": { "_meta": meta, "inputResponses": replies } })
    }

    fn answer(body: &Value, version: Option<&str>, page: Option<&Page>) -> Option<Value> {
        let data = json!({ "state": "authenticating" }).as_object().cloned().unwrap_or_default();
        Asked::read(body.to_string().as_bytes(), version).answer(page, "head", "text", &data)
    }

    // PROX-8
    #[test]
    fn the_handshake_era_gets_the_error_with_the_page() {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} });
        let url = page().url;
        let elicitation = json!({ "mode": "url", "elicitationId": "elc_1", "url": url, "message": "head" });
        let expected = |id: u8, elicitations: Value| {
            let data = json!({ "state": "authenticating", "elicitations": elicitations });
            json!({ "jsonrpc": "2.0", "id": id, "error": { "code": -32042, "message": "text", "data": data } })
        };
        assert_eq!(answer(&body, None, Some(&page())), Some(expected(1, json!([elicitation]))));
        assert_eq!(answer(&body, Some("2025-11-25"), None), Some(expected(1, json!([]))));
        let batch = json!([body, { "method": "ping", "id": 2 }, { "method": "note" }, { "id": 3, "result": {} }]);
        let both = json!([expected(1, json!([elicitation])), expected(2, json!([elicitation]))]);
        assert_eq!(answer(&batch, None, Some(&page())), Some(both));
    }

    // PROX-8
    #[rstest]
    #[case("tools/call", json!({ "elicitation": { "url": {} } }), true)]
    #[case("prompts/get", json!({ "elicitation": { "url": {}, "form": {} } }), true)]
    #[case("resources/read", json!({ "elicitation": { "url": {} } }), true)]
    #[case("tools/list", json!({ "elicitation": { "url": {} } }), false)]
    #[case("server/discover", json!({ "elicitation": { "url": {} } }), false)]
    #[case("tools/call", json!({ "elicitation": {} }), false)]
    #[case("tools/call", json!({}), false)]
    fn the_stateless_era_is_asked_where_it_may_be_and_never_gets_the_old_code(
        #[case] method: &str,
        #[case] capabilities: Value,
        #[case] asked: bool,
    ) {
        let body = stateless(method, &capabilities, &json!({}));
        let answer = answer(&body, None, Some(&page())).unwrap();
        if asked {
            let params = json!({ "mode": "url", "url": page().url, "message": "head" });
            let requests = json!({ KEY: { "method": "elicitation/create", "params": params } });
            assert_eq!(answer["result"], json!({ "resultType": "input_required", "inputRequests": requests }));
        } else {
            let error = json!({ "code": -32000, "message": "text", "data": { "state": "authenticating" } });
            assert_eq!(answer["error"], error);
        }
        assert_eq!(answer["id"], "a");
    }

    #[test]
    fn the_header_tells_the_era_of_a_request_that_does_not() {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        assert_eq!(answer(&body, Some("2026-07-28"), Some(&page())).unwrap()["error"]["code"], -32000);
    }

    #[rstest]
    #[case(json!({ KEY: { "action": "accept" } }), Some(Reply::Accepted))]
    #[case(json!({ KEY: { "action": "decline" } }), Some(Reply::Declined))]
    #[case(json!({ KEY: { "action": "cancel" } }), Some(Reply::Declined))]
    #[case(json!({ KEY: 7 }), Some(Reply::Declined))]
    #[case(json!({ "other": { "action": "accept" } }), None)]
    #[case(json!([]), None)]
    fn what_the_person_did_about_the_page_is_read(#[case] replies: Value, #[case] expected: Option<Reply>) {
        let body = stateless("tools/call", &json!({ "elicitation": { "url": {} } }), &replies);
        assert_eq!(Asked::read(body.to_string().as_bytes(), None).reply(), expected);
        let asked_again = answer(&body, None, Some(&page())).unwrap().get("result").is_some();
        assert_eq!(asked_again, expected != Some(Reply::Declined));
    }

    // LIM-4
    #[test]
    fn a_batch_of_very_many_requests_is_not_answered_one_by_one() {
        let batch = |length: usize| vec![json!({ "id": 1, "method": "ping" }); length].into();
        let count = |batch: &Value| answer(batch, None, None).and_then(|answer| Some(answer.as_array()?.len()));
        assert_eq!((count(&batch(MOST)), count(&batch(MOST + 1))), (Some(MOST), None));
    }

    #[rstest]
    #[case(b"")]
    #[case(b"{")]
    #[case(b"[]")]
    #[case(b"7")]
    #[case(br#"{"method": "note"}"#)]
    #[case(br#"{"method": "ping", "id": null}"#)]
    #[case(br#"{"method": "ping", "id": {}}"#)]
    #[case(br#"[{"method": "note"}, {"id": 1, "result": {}}]"#)]
    fn where_nobody_waits_there_is_no_answer(#[case] body: &[u8]) {
        assert_eq!(Asked::read(body, None).answer(Some(&page()), "head", "text", &Map::new()), None);
    }
}
