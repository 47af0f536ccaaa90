//! Whom TLS trusts: the certificates that are built in (Mozilla's list), and those of the system where it has any, which is how
//! a company's own authority gets in. A `FROM scratch` image has none and still reaches the world.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use nix::errno::Errno;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Fault;

/// Where distributions keep the bundle of what they trust; the first that is there counts.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",                  // older ones of these
    "/etc/ssl/ca-bundle.pem",                            // openSUSE
    "/etc/ssl/cert.pem",                                 // Alpine
];

/// A set of certificates that are trusted to sign those of servers.
#[derive(Debug, Clone)]
pub struct Roots(RootCertStore);

impl Roots {
    /// Those that are built in.
    #[must_use]
    pub fn built_in() -> Self {
        Self(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    }

    /// Those that are built in and those of the file that `SSL_CERT_FILE` names, or else of the system's bundle.
    ///
    /// # Errors
    /// The file that `SSL_CERT_FILE` names cannot be read or holds no certificate. A bundle of the system that cannot be used
    /// counts as none.
    pub fn of_this_system() -> Result<Self, Fault> {
        let mut roots = Self::built_in();
        if let Some(file) = env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()).map(PathBuf::from) {
            roots.add_file(&file).map_err(|what| Fault::Certificates { file, what })?;
        } else if let Some(bundle) = BUNDLES.iter().map(Path::new).find(|bundle| bundle.is_file()) {
            drop(roots.add_file(bundle));
        }
        Ok(roots)
    }

    /// Trusts the certificates of a PEM file too. One that is no certificate is passed over, as bundles hold odd ones.
    ///
    /// # Errors
    /// In words, without the file's name: it cannot be read, or holds no certificate at all.
    pub fn add_file(&mut self, file: &Path) -> Result<(), String> {
        let pem = fs::read(file).map_err(|error| words(&error))?;
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        match self.0.add_parsable_certificates(certificates) {
            (0, _) => Err("it holds no certificate; allowed is a PEM file".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn into_store(self) -> RootCertStore {
        self.0
    }
}

/// As `sys::words::io`, which is on this floor too: small at the start, but for an abbreviation.
fn words(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else { return error.to_string() };
    let text = Errno::from_raw(number).desc();
    match text.split_at_checked(1) {
        Some((first, rest)) if rest.starts_with(|second: char| second.is_lowercase() || second == ' ') => {
            first.to_lowercase() + rest
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_must_hold_a_certificate() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let mut roots = Roots::built_in();
        assert_eq!(roots.add_file(&file), Err("no such file or directory".to_owned()));
        for text in ["", "noise", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            fs::write(&file, text).expect("written");
            assert_eq!(roots.add_file(&file), Err("it holds no certificate; allowed is a PEM file".to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_the_kernel_says_keeps_its_abbreviations() {
        for (number, said) in
            [(libc::ENOENT, "no such file or directory"), (libc::EIO, "I/O error"), (libc::EISDIR, "is a directory")]
        {
            assert_eq!(words(&io::Error::from_raw_os_error(number)), said);
        }
    }

    #[test]
    fn mozillas_list_is_built_in() {
        assert!(Roots::built_in().into_store().len() > 100);
    }
}
