//! Whom the gateway trusts as an upstream on https: the roots of the platform, and the operator's own.

use doorward::runtime::Settings;

use crate::support::browser::client as http;
use crate::support::document_host::{Host, Reply};
use crate::support::gateway::{Options, TestGateway};

// gateway.md §1: `--outbound-ca-file`
#[tokio::test]
async fn an_upstream_of_a_private_authority_is_served_with_its_ca_file_and_reached_by_nothing_without() {
    let host = Host::start(Reply::json("{}"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &host.root).unwrap();
    for (files, expected) in [(vec![file], 200), (Vec::new(), 502)] {
        let options = Options {
            routes: vec![("one", format!("https://localhost:{}/mcp", host.address.port()))],
            handler: r#""public": true"#.to_owned(),
            settings: Box::new(move |settings: &mut Settings| settings.outbound_ca_files = files),
            ..Options::default()
        };
        let gateway = TestGateway::start_with(options).await;
        let answer = http().get(gateway.resource("one")).header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(answer.status(), expected);
    }
    assert_eq!(host.requests().len(), 1);
}
