//! Bytes from the release server, bounded in size and in time. Nothing that comes from here is believed by anyone.

use std::io;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, LOCATION};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::timeout;

use super::failed;
use super::source::is_loopback;
use crate::https;
use crate::sys::words;
use crate::value::duration::Human;
use crate::wire::{Fault, FaultCode};

/// How long a server may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection, name look-up and TLS included.
    pub connect: Duration,
    /// From one piece of an answer to the next.
    pub idle: Duration,
    /// For everything together: a byte every few seconds is never idle.
    pub total: Duration,
}

/// The limits of `self update`.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(10), idle: Duration::from_secs(10), total: Duration::from_secs(300) };

/// Redirects that are followed, to the same host only.
const MAX_REDIRECTS: usize = 3;

/// How much is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// So many bytes or fewer.
    AtMost(u64),
    /// What was signed.
    Exactly(u64),
}

impl Size {
    const fn most(self) -> u64 {
        match self {
            Self::AtMost(size) | Self::Exactly(size) => size,
        }
    }

    fn exceeded(self, url: &Url) -> Fault {
        failed(match self {
            Self::AtMost(size) => format!("{url} has more than the {size} bytes that are allowed"),
            Self::Exactly(size) => format!("{url} has more bytes than the {size} that are signed"),
        })
    }
}

/// A client with its limits.
pub struct Fetcher {
    client: Client,
    limits: Limits,
}

impl Fetcher {
    /// A client for this server. Proxies of the environment are used, but not for this very machine.
    ///
    /// # Errors
    ///
    /// That there is no TLS.
    pub fn new(server: &Url, limits: Limits) -> Result<Self, Fault> {
        let builder = https::client().map_err(|fault| failed(fault.to_string()))?.connect_timeout(limits.connect);
        let builder = if is_loopback(server) { builder.no_proxy() } else { builder.https_only(true) };
        let client = builder.build().map_err(|error| failed(format!("cannot make an HTTP client: {}", reason(&error))))?;
        Ok(Self { client, limits })
    }

    /// All of a small file.
    ///
    /// # Errors
    ///
    /// As [`Self::stream`].
    pub async fn bytes(&self, url: &Url, most: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.stream(url, Size::AtMost(most), |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }

    /// A file, piece by piece as it comes.
    ///
    /// # Errors
    ///
    /// `timeout`, or `failed` with what the server did; or what `sink` says.
    pub async fn stream(&self, url: &Url, size: Size, mut sink: impl FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut response = self.answer(url).await?;
        if response.content_length().is_some_and(|length| length > size.most()) {
            return Err(size.exceeded(url));
        }
        let mut come = 0_u64;
        loop {
            let piece = timeout(self.limits.idle, response.chunk()).await.map_err(|_| self.silent(url))?;
            match piece.map_err(|error| failed(format!("{url} broke off after {come} bytes: {}", reason(&error))))? {
                Some(piece) => {
                    come += piece.len() as u64;
                    if come > size.most() {
                        return Err(size.exceeded(url));
                    }
                    sink(&piece)?;
                }
                None => break,
            }
        }
        match size {
            Size::Exactly(signed) if come < signed => Err(failed(format!("{url} ended after {come} bytes; signed are {signed}"))),
            Size::Exactly(_) | Size::AtMost(_) => Ok(()),
        }
    }

    /// The head of the answer to a GET: 200, whole and uncompressed.
    async fn answer(&self, asked: &Url) -> Result<Response, Fault> {
        let mut url = asked.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            let patience = self.limits.connect + self.limits.idle;
            let response = match timeout(patience, request.send()).await {
                Err(_) => return Err(self.silent(&url)),
                Ok(Err(error)) if error.is_timeout() => {
                    let within = Human(self.limits.connect);
                    return Err(Fault::new(FaultCode::Timeout, format!("cannot connect to {url} within {within}")));
                }
                Ok(Err(error)) => return Err(failed(format!("cannot get {url}: {}", reason(&error)))),
                Ok(Ok(response)) => response,
            };
            match response.status() {
                StatusCode::OK => {
                    let encoding = response.headers().get(CONTENT_ENCODING);
                    return match encoding.filter(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
                        None => Ok(response),
                        Some(encoding) => Err(failed(format!(
                            "{url} is sent with Content-Encoding `{}`, which was not asked for",
                            String::from_utf8_lossy(encoding.as_bytes())
                        ))),
                    };
                }
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = next(&url, &response)?,
                other => return Err(failed(format!("{url} is answered with {other}; only 200 OK is accepted"))),
            }
        }
        Err(failed(format!("{asked} is redirected more than {MAX_REDIRECTS} times")))
    }

    fn silent(&self, url: &Url) -> Fault {
        Fault::new(FaultCode::Timeout, format!("{url}: nothing came for {}", Human(self.limits.idle)))
    }
}

/// Where a redirect leads: to the same scheme, host and port only, for nobody else was named by whoever is trusted.
fn next(url: &Url, response: &Response) -> Result<Url, Fault> {
    let location = response.headers().get(LOCATION).map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned());
    let location = location.ok_or_else(|| failed(format!("{url} is redirected, but not said where to")))?;
    let to = url.join(&location).map_err(|error| failed(format!("{url} is redirected to `{location}`: {error}")))?;
    if to.origin() == url.origin() {
        Ok(to)
    } else {
        Err(failed(format!("{url} is redirected to {to}, another host; only the same one is followed")))
    }
}

/// What lies at the bottom of an error, which names no URL.
fn reason(error: &reqwest::Error) -> String {
    if let Some(words) = https::distrust(error) {
        return words.to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<io::Error>() {
        Some(error) => words::io(error),
        None => innermost.to_string(),
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
