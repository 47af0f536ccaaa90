//! Releases on a server whose certificate is signed by a company's own authority.

use std::fs;

use super::stand::{NEW, Stand, shown};
use crate::support::home::finish;
use crate::support::tls::TlsServer;

#[test]
fn an_authority_of_ones_own_is_trusted_where_ssl_cert_file_names_it() {
    let stand = Stand::offering();
    let server = TlsServer::new(&stand.path("www"));
    stand.source(&format!("url: {}\nkeys: [{}]\n", server.url(), stand.key.line()));
    let update = |trusted: &str| {
        let mut command = stand.command(&["self", "update"]);
        command.env("SSL_CERT_FILE", trusted);
        finish(command.spawn().expect("unshare"), "self update")
    };

    let refused = [format!("cannot get {}latest.json", server.url()), "signed by nobody who is trusted".to_owned()];
    update("").exits(1).says(&[&refused[0], &refused[1], "SSL_CERT_FILE"]);
    fs::write(stand.path("no.pem"), "no certificate").expect("written");
    update(&shown(&stand.path("no.pem"))).exits(1).says(&["no.pem (from SSL_CERT_FILE): it holds no certificate"]);
    assert!(stand.has_old() && stand.server.asked().is_empty());

    update(&shown(&server.authority())).exits(0).says(&[&format!("section3 {NEW} is installed")]);
    assert!(stand.has(NEW));
}
