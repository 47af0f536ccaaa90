//! One probe as the loop asks it: in its turn, within its limit, again and again.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::clock::Now;
use super::errand::{self, Errands};
use super::hooks::Inquiry;
use super::inbox::Letter;
use crate::hooks::frame;
use crate::probe::file::File;
use crate::probe::http::Http;
use crate::probe::tcp::Tcp;
use crate::probe::{Answer, LookUps};
use crate::spec::Probe;
use crate::value::duration::Human;

/// Errands under way at once, for all services: each is a process.
const MOST_ERRANDS: usize = 32;
/// Connections under way at once, for all services: each is a descriptor.
const MOST_CONNECTIONS: usize = 128;

/// What all questions share.
#[derive(Clone, Debug)]
pub struct Places {
    errands: Rc<Semaphore>,
    connections: Rc<Semaphore>,
    look_ups: LookUps,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            errands: Rc::new(Semaphore::new(MOST_ERRANDS)),
            connections: Rc::new(Semaphore::new(MOST_CONNECTIONS)),
            look_ups: LookUps::default(),
        }
    }
}

/// A question that can be asked at any time.
#[derive(Debug)]
pub struct Question {
    kind: Kind,
    places: Places,
}

#[derive(Debug)]
enum Kind {
    Tcp(Tcp),
    Http(Http),
    File(File),
    Exec(Rc<Errands>, Box<errand::Order>),
    /// A script, through the loop.
    Plugin(mpsc::Sender<Letter>, String, frame::Question),
    /// It cannot be asked, and why.
    Hopeless(String),
}

impl Question {
    /// Of this probe of a service in `dir`; `order` makes the errand where it is one. `None` where one does not ask but is
    /// told.
    pub fn new(
        probe: &Probe,
        dir: Option<&Path>,
        places: &Places,
        errands: &Rc<Errands>,
        order: impl FnOnce(&crate::spec::Command) -> Result<errand::Order, String>,
    ) -> Option<Self> {
        let look_ups = places.look_ups.clone();
        let kind = match probe {
            Probe::Notify(_) | Probe::Log(_) | Probe::Plugin { .. } => return None,
            Probe::Tcp { host, port } => Kind::Tcp(Tcp::new(host.clone(), *port, look_ups)),
            Probe::Http(url) => Kind::Http(Http::new(url.clone(), look_ups)),
            Probe::File(path) => Kind::File(File::new(dir.map_or_else(|| path.clone(), |dir| dir.join(path)), look_ups)),
            Probe::Exec(command) => match order(command) {
                Ok(order) => Kind::Exec(Rc::clone(errands), Box::new(order)),
                Err(message) => Kind::Hopeless(message),
            },
        };
        Some(Self { kind, places: places.clone() })
    }

    /// Of a plugin's probe or check.
    #[must_use]
    pub fn of_plugin(plugin: String, question: frame::Question, inbox: mpsc::Sender<Letter>, places: &Places) -> Self {
        Self { kind: Kind::Plugin(inbox, plugin, question), places: places.clone() }
    }

    /// Asks once, when it is its turn. No answer within `limit` is a bad one. May be dropped at any time.
    pub async fn ask(&mut self, limit: Duration) -> Asked {
        let places = match &self.kind {
            Kind::Tcp(_) | Kind::Http(_) => Some(Rc::clone(&self.places.connections)),
            Kind::Exec(..) => Some(Rc::clone(&self.places.errands)),
            // These have places of their own, that a question which hangs keeps.
            Kind::File(_) | Kind::Plugin(..) | Kind::Hopeless(_) => None,
        };
        let _place = match &places {
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        let began = Now::read().moment;
        let mut is_known = true;
        let answer = tokio::time::timeout(limit, async {
            match &mut self.kind {
                Kind::Tcp(tcp) => tcp.ask().await,
                Kind::Http(http) => http.ask().await,
                Kind::File(file) => file.ask().await,
                Kind::Exec(errands, order) => errand::run(errands, order).await,
                Kind::Plugin(inbox, plugin, question) => {
                    let said = ask_plugin(inbox, plugin, question, limit).await;
                    is_known = said.is_ok();
                    said.unwrap_or_else(Err)
                }
                Kind::Hopeless(message) => Err(message.clone()),
            }
        });
        let answer = answer.await.unwrap_or_else(|_| Err(format!("no answer within {}", Human(limit))));
        Asked { answer, latency: Now::read().moment.since(began), is_known }
    }
}

/// What one question came to.
#[derive(Debug)]
pub struct Asked {
    /// There, or why not.
    pub answer: Answer,
    /// From its turn to the answer.
    pub latency: Duration,
    /// Whether the answer says anything about the service: a plugin that fails says nothing.
    pub is_known: bool,
}

/// The inner answer is the plugin's; the outer one says why there is none.
async fn ask_plugin(
    inbox: &mpsc::Sender<Letter>,
    plugin: &str,
    question: &frame::Question,
    limit: Duration,
) -> Result<Answer, String> {
    let gone = || "the supervisor ends".to_owned();
    let (reply, answer) = oneshot::channel();
    // The question is over before the time of its asker is.
    let inquiry = Inquiry { script: plugin.to_owned(), question: question.clone(), limit: limit.mul_f32(0.9), reply };
    inbox.send(Letter::Inquiry(inquiry)).await.map_err(|_| gone())?;
    let said = answer.await.map_err(|_| gone())?.map_err(|unanswered| format!("{plugin}: {unanswered}"))?;
    match (said.get("ok").and_then(serde_json::Value::as_bool), said.get("reason").and_then(serde_json::Value::as_str)) {
        (Some(true), _) => Ok(Ok(())),
        (Some(false), reason) => Ok(Err(reason.unwrap_or("it says no").to_owned())),
        (None, _) => Err(format!("{plugin}: neither true nor false")),
    }
}
