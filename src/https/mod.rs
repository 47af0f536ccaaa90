//! Floor 1: the one HTTP client there is, as hooks and `self update` build it: which TLS provider, which certificates.
//!
//! The supervisor itself never comes here: it holds no TLS and asks no name server. A client reads the certificates when
//! it is built (about 0.7 MiB), so build it at the first use and keep it.
//!
//! What each caller decides for itself: limits of time and size, redirects beyond none, proxies.

mod roots;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use rustls::CertificateError;
use rustls::crypto::ring;
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

pub use roots::Roots;

/// Why there is no client.
#[derive(Debug)]
pub enum Fault {
    /// A file of certificates that was named on purpose cannot be read.
    Certificates {
        /// The file that `SSL_CERT_FILE` names.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The provider offers no protocol version that we accept: a fault of the build.
    Provider(rustls::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates { file, what } => {
                write!(f, "cannot use the certificates in {} (from SSL_CERT_FILE): {what}", file.display())
            }
            Self::Provider(error) => write!(f, "cannot set up TLS: {error}"),
        }
    }
}

impl Error for Fault {}

/// A builder with TLS set up: TLS 1.2 and 1.3 by ring, trust in [`Roots::of_this_system`], HTTP/1.1, our name as user agent,
/// no redirects, no `Referer`.
///
/// Nothing process-wide is installed, and `build()` finds the provider in the builder, where reqwest would panic without one.
///
/// # Errors
/// [`Fault`]: `SSL_CERT_FILE` names what is no file of certificates.
pub fn client() -> Result<reqwest::ClientBuilder, Fault> {
    client_trusting(Roots::of_this_system()?)
}

/// [`client`] with other roots.
///
/// # Errors
/// [`Fault::Provider`] only.
pub fn client_trusting(roots: Roots) -> Result<reqwest::ClientBuilder, Fault> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(Fault::Provider)?
        .with_root_certificates(roots.into_store())
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("section3/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false))
}

/// What TLS is made of: ring, less what nobody here needs.
fn provider() -> CryptoProvider {
    CryptoProvider { key_provider: &NoKeys, ..ring::default_provider() }
}

/// No client has a certificate of its own, so nothing is ever signed: the code for that is 28 KB of the program.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("a client has no key of its own here".to_owned()))
    }
}

/// What to do about an error, where it is that nobody we trust has signed a server's certificate: what TLS itself says of it
/// helps nobody.
#[must_use]
pub fn distrust(error: &(dyn Error + 'static)) -> Option<&'static str> {
    // What lies in an error of the standard library is not its source.
    fn below<'a>(&error: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as _).or_else(|| error.source())
    }
    let unknown = |error: &(dyn Error + 'static)| {
        matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
    };
    std::iter::successors(Some(error), below)
        .any(unknown)
        .then_some("its certificate is signed by nobody who is trusted; `SSL_CERT_FILE` names a PEM file of others to trust")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_authority_is_told_apart_however_deep_it_lies() {
        let tls = |what| rustls::Error::InvalidCertificate(what);
        let deep = io::Error::other(io::Error::other(tls(CertificateError::UnknownIssuer)));
        assert!(distrust(&deep).is_some_and(|said| said.contains("SSL_CERT_FILE")));
        assert!(distrust(&tls(CertificateError::UnknownIssuer)).is_some());
        assert_eq!(distrust(&tls(CertificateError::Expired)), None);
        assert_eq!(distrust(&io::Error::other("no")), None);
    }

    #[test]
    fn a_client_is_built_without_a_process_wide_provider() {
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
        let built = client_trusting(Roots::built_in()).map(reqwest::ClientBuilder::build);
        assert!(matches!(built, Ok(Ok(_))), "{built:?}");
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }
}
