//! Requests of scripts: over TCP, TLS and Unix sockets. One try each; when to try again is the API's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use tokio::sync::mpsc;

use super::files::Roots;
use crate::hooks::script::{HttpRequest, HttpResponse, IoFault, RequestBody};
use crate::https;
use crate::sys::words;
use crate::value::duration::Human;

/// Clients for Unix sockets that are kept: one script talks to one or two.
const SOCKETS_KEPT: usize = 4;

/// A piece of a file on its way, and how many of them wait.
const PIECE: usize = 64 << 10;
const PIECES: usize = 2;

/// The clients of one script. Each is made when it is first needed: the certificates alone take 0.7 MiB.
#[derive(Debug, Default)]
pub struct Web {
    net: RefCell<Option<Client>>,
    sockets: RefCell<VecDeque<(PathBuf, Client)>>,
}

/// A request in the parts that reqwest wants.
#[derive(Debug)]
pub struct Parts {
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Net(Url),
    Socket(PathBuf, Url),
}

/// Checks what a request is made of, without its body.
///
/// # Errors
///
/// Code `invalid`: what cannot be sent, without values, which may be secret.
pub fn parts(request: &HttpRequest) -> Result<Parts, IoFault> {
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("the method is no word"))?;
    let mut headers = Vec::with_capacity(request.headers.len());
    for (name, value) in &request.headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("`{name}` is no name of a header")))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| invalid(format!("the value of the header `{name}` holds a control character")))?;
        headers.push((parsed, value));
    }
    let target = match request.url.strip_prefix("unix:") {
        Some(address) => {
            let (socket, path) = address.split_once(":/").unwrap_or((address, ""));
            if !socket.starts_with('/') {
                return Err(invalid("an address of a Unix socket is `unix:/SOCKET:/PATH`"));
            }
            let url = Url::parse(&format!("http://localhost/{path}"))
                .map_err(|error| invalid(format!("the address is bad: {error}")))?;
            Target::Socket(PathBuf::from(socket), url)
        }
        None => {
            let hint = if request.url.is_ascii() { "" } else { "; a host name beyond ASCII is written as `xn--...`" };
            let url = Url::parse(&request.url).map_err(|error| invalid(format!("the address is bad: {error}{hint}")))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(invalid("an address begins with `http://`, `https://` or `unix:/`"));
            }
            Target::Net(url)
        }
    };
    Ok(Parts { method, headers, target })
}

impl Parts {
    /// Who is asked: the host, or `unix:` and the socket.
    #[must_use]
    pub fn whom(&self) -> String {
        match &self.target {
            Target::Net(url) => url.host_str().unwrap_or_default().to_owned(),
            Target::Socket(socket, _) => format!("unix:{}", socket.display()),
        }
    }
}

impl Web {
    /// Makes one request. Redirects are not followed; variables such as `HTTPS_PROXY` are obeyed, but for Unix sockets.
    ///
    /// # Errors
    ///
    /// Where no answer came, or one that is too long.
    pub async fn request(&self, roots: &Roots, request: HttpRequest) -> Result<HttpResponse, IoFault> {
        let Parts { method, headers, target } = parts(&request)?;
        let (client, url, whom) = match target {
            Target::Net(url) => {
                let whom = url.host_str().unwrap_or_default().to_owned();
                (self.net()?, url, whom)
            }
            Target::Socket(socket, url) => (self.socket(&socket)?, url, socket.display().to_string()),
        };
        let mut building = client.request(method, url);
        for (name, value) in headers {
            building = building.header(name, value);
        }
        building = match request.body {
            RequestBody::Empty => building,
            RequestBody::Bytes(bytes) => building.body(bytes),
            RequestBody::File(path) => {
                let roots = roots.clone();
                building.body(reqwest::Body::wrap(upload(roots, path).await?))
            }
        };
        let late = || IoFault {
            code: "timeout",
            message: format!("no whole answer of {whom} within {}", Human(request.timeout)),
            retryable: true,
        };
        let answer = async {
            let mut response = building.send().await.map_err(|error| told(&whom, &error))?;
            let status = response.status().as_u16();
            let headers = response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect();
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(|error| told(&whom, &error))? {
                if body.len() + piece.len() > request.max_body {
                    let message = format!("the answer of {whom} is longer than `max_body`, {} bytes", request.max_body);
                    return Err(IoFault { code: "too_large", message, retryable: false });
                }
                body.extend_from_slice(&piece);
            }
            Ok(HttpResponse { status, headers, body })
        };
        tokio::time::timeout(request.timeout, answer).await.map_err(|_| late())?
    }

    fn net(&self) -> Result<Client, IoFault> {
        if let Some(client) = self.net.borrow().as_ref() {
            return Ok(client.clone());
        }
        let builder = https::client().map_err(|fault| unusable(&fault.to_string()))?;
        let client = built(builder)?;
        *self.net.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    fn socket(&self, path: &Path) -> Result<Client, IoFault> {
        let mut sockets = self.sockets.borrow_mut();
        if let Some((_, client)) = sockets.iter().find(|(known, _)| known == path) {
            return Ok(client.clone());
        }
        let builder = https::client_trusting(https::Roots::built_in()).map_err(|fault| unusable(&fault.to_string()))?;
        let client = built(builder.no_proxy().unix_socket(path.to_owned()))?;
        sockets.push_front((path.to_owned(), client.clone()));
        sockets.truncate(SOCKETS_KEPT);
        Ok(client)
    }
}

/// A connection serves one request: one that is kept may be dead when the next crash comes, days later.
fn built(builder: reqwest::ClientBuilder) -> Result<Client, IoFault> {
    builder.pool_max_idle_per_host(0).build().map_err(|error| unusable(&error.to_string()))
}

fn unusable(what: &str) -> IoFault {
    IoFault { code: "client", message: what.to_owned(), retryable: false }
}

fn invalid(what: impl Into<String>) -> IoFault {
    IoFault { code: "invalid", message: what.into(), retryable: false }
}

/// What went wrong, without the address, which may hold a secret.
fn told(whom: &str, error: &reqwest::Error) -> IoFault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = match (https::distrust(error), cause.downcast_ref::<std::io::Error>()) {
        (Some(words), _) => words.to_owned(),
        (None, Some(error)) => words::io(error),
        (None, None) if error.source().is_none() => "the request cannot be made".to_owned(),
        (None, None) => cause.to_string(),
    };
    let (code, begin) = if error.is_connect() {
        ("connect", "cannot reach")
    } else if error.is_builder() {
        return invalid(format!("the request to {whom} cannot be made: {what}"));
    } else {
        ("broken", "no whole answer of")
    };
    IoFault { code, message: format!("{begin} {whom}: {what}"), retryable: true }
}

/// A file on its way.
struct Upload {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    left: u64,
}

/// Opens a file and begins to read it, on a thread that may wait for a disk. What is added to it meanwhile is not sent.
async fn upload(roots: Roots, path: PathBuf) -> Result<Upload, IoFault> {
    let opened = tokio::task::spawn_blocking(move || roots.open(&path)).await;
    let (file, left) = opened.map_err(|error| unusable(&error.to_string()))??;
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut file = file.take(left);
        loop {
            let mut piece = vec![0; PIECE];
            let read = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    piece.truncate(count);
                    Ok(Bytes::from(piece))
                }
                Err(error) => Err(error),
            };
            // Nobody takes it any more: the request is over, as it is after an error.
            if sender.blocking_send(read).is_err() {
                return;
            }
        }
    });
    Ok(Upload { pieces, left })
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.pieces.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(piece))) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(None) if self.left > 0 => {
                self.left = 0;
                Poll::Ready(Some(Err(std::io::Error::other("the file became shorter while it was sent"))))
            }
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;

    use http_body::Body;

    use super::*;

    /// What is sent of a large file that is changed as soon as it is on its way: its bytes, or the error.
    async fn sent(change: impl FnOnce(&File)) -> Result<u64, String> {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, logs) = (dir.path().join("state"), dir.path().join("logs"));
        std::fs::create_dir(&logs).expect("made");
        let path = logs.join("web.log.1");
        let file = File::create(&path).expect("made");
        file.set_len(LARGE).expect("a sparse file");
        let mut upload = upload(Roots { state, logs }, path).await.map_err(|fault| fault.message)?;
        assert_eq!((upload.size_hint().exact(), upload.pieces.max_capacity()), (Some(LARGE), PIECES));
        change(&file);
        let mut sum = 0;
        while let Some(frame) = poll_fn(|context| Pin::new(&mut upload).poll_frame(context)).await {
            let piece = frame.map_err(|error| error.to_string())?.into_data().map_err(|_| "trailers")?;
            sum += piece.len() as u64;
        }
        Ok(sum)
    }

    /// More than can wait for the network.
    const LARGE: u64 = 16 << 20;

    #[tokio::test]
    async fn of_a_file_that_grows_so_much_is_sent_as_was_announced() {
        assert_eq!(sent(|file| file.set_len(2 * LARGE).expect("longer")).await, Ok(LARGE));
    }

    #[tokio::test]
    async fn little_of_a_file_waits_and_one_that_shrinks_is_an_error() {
        let said = sent(|file| file.set_len((PIECES as u64 + 2) * PIECE as u64).expect("shorter")).await;
        assert_eq!(said, Err("the file became shorter while it was sent".to_owned()));
    }

    #[test]
    fn few_sockets_are_remembered_the_last_ones() {
        let web = Web::default();
        for number in 0..2 * SOCKETS_KEPT {
            web.socket(Path::new(&format!("/run/{number}"))).expect("a client");
        }
        let kept: Vec<PathBuf> = web.sockets.borrow().iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(kept, ["/run/7", "/run/6", "/run/5", "/run/4"].map(PathBuf::from));
    }
}
