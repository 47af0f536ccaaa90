//! A web server that does as it is told, and remembers what it was asked.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What is done about a request instead of an answer with the file.
pub type Act = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

/// A server of one folder.
pub struct Server {
    port: u16,
    state: Arc<State>,
}

struct State {
    root: PathBuf,
    acts: Mutex<HashMap<String, Act>>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    /// Serves this folder from now on.
    pub fn new(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State { root: root.to_owned(), acts: Mutex::default(), asked: Mutex::default() });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { port, state }
    }

    /// Its address, as a release URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Does this about the path from now on.
    pub fn does(&self, path: &str, act: impl Fn(&mut TcpStream) + Send + Sync + 'static) {
        self.state.acts.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Arc::new(act));
    }

    /// Answers the path with this head (after `HTTP/1.1 `) and, behind it, the file.
    pub fn heads(&self, path: &str, head: &str) {
        let body = fs::read(self.state.root.join(path.trim_start_matches('/'))).unwrap_or_default();
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        self.does(path, move |stream| {
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        });
    }

    /// The paths that were asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        let act = self.acts.lock().unwrap_or_else(PoisonError::into_inner).get(&path).cloned();
        if let Some(act) = act {
            return act(&mut stream);
        }
        let (status, body) = match fs::read(self.root.join(path.trim_start_matches('/'))) {
            Ok(body) => ("200 OK", body),
            Err(_) => ("404 Not Found", Vec::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    }
}
