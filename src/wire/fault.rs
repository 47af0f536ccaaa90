//! Why a request was not done.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::escape;

/// A refusal or failure: a word for programs, a sentence for people, and where there is one the next step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// The word for programs.
    pub code: FaultCode,
    /// One line, lower case, that names the object; never holds a control byte.
    pub message: String,
    /// The next command, or the nearest known word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What kind of refusal or failure it is; each has one exit code of the CLI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// The request is not one this supervisor knows, or its arguments are not.
    Usage,
    /// A named service does not exist.
    UnknownService,
    /// It was tried and did not succeed.
    Failed,
    /// The time the client allowed is over; what was asked for may still come about.
    Timeout,
    /// The configuration does not hold; nothing was changed.
    InvalidConfig,
    /// The other end is run by a user it does not talk to, or the kernel said no.
    NotPermitted,
    /// A later order for the same service took this one's place.
    Overtaken,
    /// Something of which there is one at a time is under way, or all places for clients are taken.
    Busy,
    /// The supervisor is shutting down.
    ShuttingDown,
    /// The supervisor went on as another program in the middle of the answer; ask again.
    Replaced,
    /// The client did not read, or did not finish its request, in time.
    TooSlow,
    /// Nobody listens at the socket; made by the client.
    NoSupervisor,
    /// The connection ended before the answer did; made by the client.
    ConnectionLost,
    /// A defect of section3. Also stands for codes that a newer supervisor knows and this client does not.
    #[serde(other)]
    Internal,
}

impl FaultCode {
    /// Every code, in the order of the enum.
    pub const ALL: [Self; 14] = [
        Self::Usage,
        Self::UnknownService,
        Self::Failed,
        Self::Timeout,
        Self::InvalidConfig,
        Self::NotPermitted,
        Self::Overtaken,
        Self::Busy,
        Self::ShuttingDown,
        Self::Replaced,
        Self::TooSlow,
        Self::NoSupervisor,
        Self::ConnectionLost,
        Self::Internal,
    ];

    /// The exit code of a command that ends with it.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed
            | Self::Overtaken
            | Self::Busy
            | Self::ShuttingDown
            | Self::Replaced
            | Self::TooSlow
            | Self::ConnectionLost
            | Self::Internal => 1,
            Self::Usage => 2,
            Self::NoSupervisor => 3,
            Self::UnknownService => 4,
            Self::Timeout => 5,
            Self::InvalidConfig => 6,
            Self::NotPermitted => 7,
        }
    }
}

impl Fault {
    /// A fault without a hint. Control bytes in the message are escaped: parts of it come from the other end.
    #[must_use]
    pub fn new(code: FaultCode, message: impl AsRef<str>) -> Self {
        Self { code, message: escape::message(message.as_ref()).into_owned(), hint: None }
    }

    /// The same fault with a next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hint = Some(escape::message(hint.as_ref()).into_owned());
        self
    }

    /// The same fault, hinting at the nearest known word, if one is near.
    #[must_use]
    pub fn with_nearest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::value::nearest::nearest(word, known) {
            Some(near) => self.with_hint(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// No service has this name; `known` are the names there are.
    #[must_use]
    pub fn unknown_service<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let fault = Self::new(FaultCode::UnknownService, format!("no such service: `{}`", shortened(name)));
        let hinted = fault.clone().with_nearest(name, known);
        if hinted.hint.is_some() { hinted } else { fault.with_hint("`section3 status` lists the services") }
    }
}

impl fmt::Display for Fault {
    /// The message, then the hint in the same line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// The first 80 letters of a word that came from the other end: a message repeats enough of it to be found, not 64 KiB.
pub(super) fn shortened(word: &str) -> std::borrow::Cow<'_, str> {
    match word.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &word[..end]).into(),
        None => word.into(),
    }
}

/// As much of a name that somebody sent as a message repeats.
#[must_use]
pub fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_word_and_its_exit_code() {
        let table = FaultCode::ALL
            .map(|code| format!("{} {}", crate::value::json::to_string(&code).unwrap().trim_matches('"'), code.exit_code()))
            .join("\n");
        assert_eq!(
            table,
            "usage 2\nunknown_service 4\nfailed 1\ntimeout 5\ninvalid_config 6\nnot_permitted 7\novertaken 1\nbusy 1\n\
             shutting_down 1\nreplaced 1\ntoo_slow 1\nno_supervisor 3\nconnection_lost 1\ninternal 1"
        );
    }

    #[test]
    fn a_code_of_a_later_version_is_read_as_internal() {
        assert_eq!(crate::value::json::from_str::<FaultCode>("\"made_up\"").unwrap(), FaultCode::Internal);
    }

    #[test]
    fn what_came_from_the_other_end_cannot_move_the_cursor() {
        let fault = Fault::unknown_service("a\x1b[2J\u{202e}b", []);
        assert_eq!(fault.message, r"no such service: `a\x1b[2J\u{202e}b`");
        let fault = Fault::unknown_service(&"x".repeat(60_000), ["web"]);
        assert!(fault.message.len() < 120);
    }

    #[test]
    fn the_next_step_is_the_nearest_name_or_the_list() {
        assert_eq!(Fault::unknown_service("wbe", ["web", "db"]).to_string(), "no such service: `wbe`; did you mean `web`?");
        assert_eq!(
            Fault::unknown_service("q", ["web"]).to_string(),
            "no such service: `q`; `section3 status` lists the services"
        );
    }
}
