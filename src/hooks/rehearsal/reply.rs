//! Scripted answers: `POST host=503,200`, `* host=429:7,200`, `exec gzip=1,0`.

use std::cell::Cell;

use crate::hooks::script::{HttpResponse, IoFault};
use crate::value::Glob;

/// What is answered to whom, one after the other; the last one stays.
#[derive(Clone, Debug)]
pub struct Reply {
    method: String,
    whom: Glob,
    answers: Vec<Answer>,
}

/// All replies of a rehearsal, each with how many of its answers were given.
#[derive(Debug)]
pub struct Replies(Vec<(Reply, Cell<usize>)>);

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status, and the seconds of its `Retry-After`; or an exit code.
    Code(u16, Option<u32>),
    /// Nobody is there.
    Refused,
    /// Nobody answers in time.
    Timeout,
}

const RULE: &str = "write METHOD HOST=ANSWERS, such as 'POST api.example.net=503,429:7,200', 'GET unix:/run/x.sock=refused,200', \
                    '* *=timeout' or 'exec gzip=1,0'";

impl Reply {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// How one is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: {RULE}");
        let (method, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let (whom, answers) = rest.trim().rsplit_once('=').ok_or_else(wrong)?;
        let answers = answers.split(',').map(|word| answer(word.trim()).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
        let is_exec = method == "exec";
        let fits = |answer: &Answer| match answer {
            Answer::Code(code, wait) if is_exec => *code < 256 && wait.is_none(),
            Answer::Code(code, _) => (100..600).contains(code),
            Answer::Refused | Answer::Timeout => true,
        };
        if whom.is_empty() || !answers.iter().all(fits) {
            return Err(wrong());
        }
        Ok(Self { method: method.to_owned(), whom: Glob::new(whom), answers })
    }

    fn is_for(&self, method: &str, whom: &str) -> bool {
        let fits = self.method == method || (self.method == "*" && method != "exec");
        fits && self.whom.matches(whom)
    }
}

fn answer(word: &str) -> Option<Answer> {
    match word {
        "refused" => Some(Answer::Refused),
        "timeout" => Some(Answer::Timeout),
        word => match word.split_once(':') {
            Some((code, wait)) => Some(Answer::Code(code.parse().ok()?, Some(wait.parse().ok()?))),
            None => Some(Answer::Code(word.parse().ok()?, None)),
        },
    }
}

impl Replies {
    /// None of their answers was given yet.
    pub fn new(replies: Vec<Reply>) -> Self {
        Self(replies.into_iter().map(|reply| (reply, Cell::new(0))).collect())
    }

    /// The next answer of the first reply that is meant; without one all is well.
    pub fn next(&self, method: &str, whom: &str) -> Answer {
        let meant = self.0.iter().find(|(reply, _)| reply.is_for(method, whom));
        let next = meant.and_then(|(reply, given)| {
            let at = given.get().min(reply.answers.len() - 1);
            given.set(at + 1);
            reply.answers.get(at).copied()
        });
        next.unwrap_or(Answer::Code(if method == "exec" { 0 } else { 200 }, None))
    }
}

impl Answer {
    /// As the answer to a request.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn http(self, whom: &str) -> Result<HttpResponse, IoFault> {
        let fault = |code, message| Err(IoFault { code, message, retryable: true });
        match self {
            Self::Code(status, wait) => {
                let headers = wait.map(|wait| ("retry-after".to_owned(), wait.to_string())).into_iter().collect();
                Ok(HttpResponse { status, headers, body: Vec::new() })
            }
            Self::Refused => fault("connect", format!("cannot reach {whom}: connection refused")),
            Self::Timeout => fault("timeout", format!("no whole answer of {whom} in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_the_last_one_stays() {
        let replies = ["POST a.b=503,429:7,200", "* unix:*=refused", "exec gzip=1,0"]
            .into_iter()
            .map(|text| Reply::parse(text).expect(text));
        let replies = Replies::new(replies.collect());
        for (method, whom, wanted) in [
            ("POST", "a.b", Answer::Code(503, None)),
            ("GET", "a.b", Answer::Code(200, None)),
            ("POST", "a.b", Answer::Code(429, Some(7))),
            ("POST", "a.b", Answer::Code(200, None)),
            ("POST", "a.b", Answer::Code(200, None)),
            ("PUT", "unix:/run/x", Answer::Refused),
            ("PUT", "unix:/run/x", Answer::Refused),
            ("exec", "gzip", Answer::Code(1, None)),
            ("exec", "gzip", Answer::Code(0, None)),
            ("exec", "true", Answer::Code(0, None)),
        ] {
            assert_eq!(replies.next(method, whom), wanted, "{method} {whom}");
        }
        let late = Answer::Code(429, Some(7)).http("a.b").expect("an answer");
        assert_eq!(late.headers, [("retry-after".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn what_is_none() {
        for text in
            ["", "POST", "POST a.b", "POST a.b=", "POST a.b=ok", "POST a.b=99", "POST =200", "exec gzip=256", "exec gzip=1:2"]
        {
            assert!(Reply::parse(text).expect_err(text).contains("write METHOD HOST=ANSWERS"), "{text}");
        }
    }
}
