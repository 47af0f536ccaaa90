//! What `section3 self update` does, in a row. Decides nothing itself; blocks until it is done.

use std::time::SystemTime;

use reqwest::Url;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::decision::{Here, Verdict, judge, manifest_is_as_stated};
use super::fetch::{Fetcher, Limits, Size};
use super::install::{Incoming, Wanted};
use super::manifest::{Manifest, Program};
use super::place::Site;
use super::record::Record;
use super::sha256::Sha256;
use super::signature::Signature;
use super::source::Source;
use super::{MAX_MANIFEST, MAX_PROGRAM, MAX_SIGNATURE, failed, trial};
use crate::sys::words;
use crate::value::Version;
use crate::value::duration::Human;
use crate::wire::{Fault, FaultCode};

/// What there is to install.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Its version.
    pub version: Version,
    /// When it was published; unknown for a version that the operator named.
    pub published: Option<SystemTime>,
    /// The file; nothing but its name is known for a version that the operator named.
    program: Program,
    named: bool,
}

/// How much of a download is there: bytes, and of how many where that is known.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// A release server, and what is done there.
pub struct Job {
    source: Source,
    fetcher: Fetcher,
    limits: Limits,
    runtime: Runtime,
}

impl Job {
    /// Prepares; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// That there is no runtime or no TLS.
    pub fn new(source: Source, limits: Limits) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(format!("cannot set up the network: {}", words::io(&error))))?;
        let fetcher = Fetcher::new(&source.url, limits)?;
        Ok(Self { source, fetcher, limits, runtime })
    }

    /// What the newest release is, if it is to be installed here.
    ///
    /// # Errors
    ///
    /// Why that is not known, or why it is refused.
    pub fn newest(&self, here: Here<'_>) -> Result<Option<Offer>, Fault> {
        let (manifest, statement) = self.within(async {
            let url = self.url("latest.json")?;
            let bytes = self.fetcher.bytes(&url, MAX_MANIFEST).await?;
            let signature = self.signature(&url).await?;
            let statement = self.source.keys.verify(&bytes[..], &signature).map_err(|flaw| not_accepted(&url, &flaw))?;
            Ok((bytes, statement))
        })?;
        let sum = Sha256::of(&manifest);
        let manifest = Manifest::parse(&manifest)
            .map_err(|what| failed(format!("the release manifest is signed, but cannot be used: {what}")))?;
        manifest_is_as_stated(&manifest, sum, &statement)?;
        Ok(match judge(&manifest, here)? {
            Verdict::UpToDate => None,
            Verdict::Install(program) => {
                Some(Offer { version: manifest.version, published: Some(manifest.published), program, named: false })
            }
        })
    }

    /// A version that the operator named, whatever runs and whatever is newest: what its signature states is all there is.
    #[must_use]
    pub fn named(version: Version, target: &str) -> Offer {
        let program = Program { file: format!("{}-{target}", super::PRODUCT), size: MAX_PROGRAM, sha256: Sha256::of(b"") };
        Offer { version, published: None, program, named: true }
    }

    /// Downloads an offer, verifies it and puts it in place of the program, of version `old`.
    ///
    /// # Errors
    ///
    /// Why not; then the old program is still in place.
    pub fn install(&self, offer: &Offer, old: Version, target: &str, site: &Site, progress: Progress<'_>) -> Result<(), Fault> {
        let url = self.url(&format!("{}/{}", offer.version, offer.program.file))?;
        let (signature, incoming) = self.within(async {
            let signature = self.signature(&url).await?;
            let mut incoming = Incoming::new(site)?;
            let size = if offer.named { Size::AtMost(MAX_PROGRAM) } else { Size::Exactly(offer.program.size) };
            let whole = (!offer.named).then_some(offer.program.size);
            let mut come = 0;
            self.fetcher
                .stream(&url, size, |piece| {
                    incoming.write(piece)?;
                    come += piece.len() as u64;
                    progress(come, whole);
                    Ok(())
                })
                .await?;
            Ok((signature, incoming))
        })?;
        let sha256 = (!offer.named).then_some(offer.program.sha256);
        let wanted = Wanted { version: offer.version, target, sha256 };
        let verified = incoming.seal()?.verify(url.as_str(), &self.source.keys, &signature, wanted, trial::PATIENCE)?;
        verified.install(old)
    }

    async fn signature(&self, of: &Url) -> Result<Signature, Fault> {
        let mut url = of.clone();
        url.set_path(&format!("{}.minisig", of.path()));
        let bytes = self.fetcher.bytes(&url, MAX_SIGNATURE).await?;
        Signature::parse(&bytes).map_err(|flaw| not_accepted(of, &flaw))
    }

    fn url(&self, path: &str) -> Result<Url, Fault> {
        self.source.url.join(path).map_err(|error| failed(format!("no URL: {}{path}: {error}", self.source.url)))
    }

    /// All of this within the total limit.
    fn within<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limit = self.limits.total;
        self.runtime.block_on(async { timeout(limit, work).await }).unwrap_or_else(|_| {
            let message = format!("{} took longer than {}", self.source.url, Human(limit));
            Err(Fault::new(FaultCode::Timeout, message))
        })
    }

    /// Ends without waiting for a name server that does not answer.
    pub fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// What is known here, for [`Job::newest`].
#[must_use]
pub fn here<'a>(running: Version, record: &Record, target: &'a str, now: SystemTime) -> Here<'a> {
    Here { running, newest: record.newest, target, now }
}

fn not_accepted(url: &Url, flaw: &super::signature::Flaw) -> Fault {
    failed(format!("the signature of {url} is not accepted: {flaw}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::update::fetch::LIMITS;
    use crate::update::place::Place;
    use crate::update::signature::Keys;

    /// What must be signed has a bound of its own each time, whatever its server says of it.
    #[test]
    fn nothing_is_longer_than_its_kind_may_be() {
        let signature = || include_str!("testdata/hello.minisig").to_owned();
        for (path, most) in [
            ("/latest.json", MAX_MANIFEST),
            ("/latest.json.minisig", MAX_SIGNATURE),
            ("/0.2.0/section3-t.minisig", MAX_SIGNATURE),
            ("/0.2.0/section3-t", MAX_PROGRAM),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("an address").port();
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let (mut head, mut byte) = (Vec::new(), [0]);
                    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                        head.push(byte[0]);
                    }
                    let asked = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap_or_default().to_owned();
                    let (length, body) = match asked.ends_with(".minisig") {
                        _ if asked == path => (most + 1, String::new()),
                        true => (signature().len() as u64, signature()),
                        false => (2, "{}".to_owned()),
                    };
                    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
                }
            });
            let key = include_str!("testdata/key.pub").lines().nth(1).unwrap_or_default();
            let url = format!("http://127.0.0.1:{port}/").parse().expect("a URL");
            let source = Source { url, keys: Keys::parse(&[key]).expect("a key") };
            let job = Job::new(source, LIMITS).expect("a job");
            let running = Version { major: 0, minor: 1, patch: 0 };
            let fault = if path.starts_with("/latest") {
                job.newest(here(running, &Record::default(), "t", SystemTime::UNIX_EPOCH)).expect_err(path)
            } else {
                let folder = tempfile::tempdir().expect("a folder");
                let program = folder.path().join("section3");
                std::fs::write(&program, "old").expect("a program");
                let site = Place::at(&program).and_then(Place::lock).expect("a site");
                let offer = Job::named(Version { minor: 2, ..running }, "t");
                job.install(&offer, running, "t", &site, &mut |_, _| ()).expect_err(path)
            };
            assert!(fault.message.ends_with(&format!("{path} has more than the {most} bytes that are allowed")), "{fault}");
            job.end();
        }
    }

    /// A server that is never silent for long and never done.
    #[test]
    fn a_byte_now_and_then_ends_at_the_total_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                // The client sends nothing more: each read is a short wait.
                while stream.write_all(b"x").is_ok() {
                    let _ = stream.read(&mut [0; 512]);
                }
            }
        });
        let key = include_str!("testdata/key.pub").lines().nth(1).unwrap_or_default();
        let source = Source {
            url: format!("http://127.0.0.1:{port}/").parse().expect("a URL"),
            keys: Keys::parse(&[key]).expect("a key"),
        };
        let long = Duration::from_secs(60);
        let job = Job::new(source, Limits { connect: long, idle: long, total: Duration::from_millis(300) }).expect("a job");
        let running = Version { major: 0, minor: 1, patch: 0 };
        let asked = here(running, &Record::default(), "linux-amd64", SystemTime::UNIX_EPOCH);
        let fault = job.newest(asked).expect_err("too slow");
        assert_eq!(fault.code, FaultCode::Timeout);
        assert!(fault.message.contains("took longer than 300ms"), "{fault}");
        job.end();
    }
}
