//! The body of a request on a filtered route (PROX-11, STRM-12).

use doorward::mcp::posted::{self, Target};
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Ok(posted) = posted::read(data) else { return };
    // What a lenient server makes of it: the last of two members counts.
    let value: Value = serde_json::from_slice(data).expect("what was read is JSON");
    let messages = if let Value::Array(batch) = value { batch } else { vec![value] };
    assert_eq!(messages.len(), posted.messages.len());
    for (message, read) in messages.iter().zip(&posted.messages) {
        assert_eq!(message.get("method").and_then(Value::as_str), read.method.as_deref());
        let wanted = message.get("params").and_then(|params| params.get("name")).and_then(Value::as_str);
        if read.method.as_deref() == Some("tools/call")
            && let Some(name) = wanted
        {
            assert_eq!(read.targets, [Target::Tool(name.to_owned())]);
        }
    }
    if posted.is_batch {
        let parts = posted::split(data).expect("a batch comes apart");
        for (part, message) in parts.iter().zip(&messages) {
            assert_eq!(serde_json::from_str::<Value>(part.get()).expect("a part"), *message);
        }
    }
}
