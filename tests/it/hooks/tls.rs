//! A receiver whose certificate is signed by a company's own authority.

use std::path::Path;

use serde_json::{Value, json};

use super::home_with_hooks;
use crate::support::tls::TlsServer;
use crate::support::{Home, Launch};

const ASKS: &str = r#"s3.on("daemon_start", function()
  local answer, err = s3.http.get(s3.env "URL" .. "greeting")
  s3.emit("answer", answer and {status = answer.status, body = answer.body} or {code = err.code, message = err.message, retryable = err.retryable})
end)"#;

/// What a hook is answered where this file is trusted besides what is built in.
fn answer(server: &TlsServer, trusted: Option<&Path>) -> Value {
    let home: Home = home_with_hooks("", &[("asks", ASKS)]);
    // Set either way: what the test itself was started with is no part of it.
    let trusted = trusted.map(|path| path.display().to_string()).unwrap_or_default();
    let launch = Launch::new(home).env("URL", &server.url()).env("SSL_CERT_FILE", &trusted).env("NO_PROXY", "*");
    let daemon = launch.start();
    daemon.events().until_daemon("custom.answer")["data"].clone()
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_ssl_cert_file_names_it_and_nowhere_else() {
    let www = tempfile::tempdir().expect("a folder");
    std::fs::write(www.path().join("greeting"), "hello").expect("written");
    let server = TlsServer::new(www.path());

    assert_eq!(answer(&server, Some(&server.authority())), json!({"status": 200, "body": "hello"}));

    let refused = answer(&server, None);
    assert_eq!(refused["code"], "connect", "{refused}");
    let said = refused["message"].as_str().expect("a message");
    assert!(said.starts_with("cannot reach 127.0.0.1: its certificate is signed by nobody who is trusted"), "{said}");
    assert!(said.contains("SSL_CERT_FILE"), "{said}");

    let unusable = answer(&server, Some(&www.path().join("greeting")));
    let said = unusable["message"].as_str().expect("a message");
    assert!(said.contains("greeting (from SSL_CERT_FILE): it holds no certificate; allowed is a PEM file"), "{said}");
}
