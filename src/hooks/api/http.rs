//! `s3.http`: requests, and when they are tried again.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, Lua, Table, Value};

use super::Shared;
use super::args::{Args, Opts, Secretable, read_duration};
use super::define::{Outcome, waiting};
use super::fault::Fault;
use super::json::{Secrets, to_json};
use super::world::{http, retry_after};
use crate::hooks::clock;
use crate::hooks::script::{HttpRequest, HttpResponse, RequestBody, misuse};
use crate::spec::permission::Permission;
use crate::value::duration::millis;

/// How long one try may take unasked, and at most.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes of an answer unasked, and at most: a quarter of the script's heap.
const BODY: u64 = 1 << 20;
const MAX_BODY: u64 = 8 << 20;
/// Tries with `retry`, unasked and at most.
const ATTEMPTS: i64 = 4;
const MAX_ATTEMPTS: i64 = 50;
/// The first wait's bound, and the bound of all, unasked and at least: whoever refuses is not asked again in the same moment.
const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);
const LEAST: Duration = Duration::from_millis(1);
/// The longest wait that `retry.after` can ask for, as of `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// When to try again.
#[derive(Clone)]
struct Retry {
    attempts: u32,
    base: Duration,
    cap: Duration,
    after: Option<Function>,
}

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    let own = shared.clone();
    waiting(lua, s3, shared, "http.request", move |lua, args| {
        let options = args.options(0);
        let url = options.secretable("url").unwrap_or(Secretable::Plain(Vec::new()));
        begin(&own, lua, &args, &url, options.text("method"), &options)
    })?;
    for (name, method) in [("http.get", "GET"), ("http.post", "POST"), ("http.put", "PUT")] {
        let own = shared.clone();
        waiting(lua, s3, shared, name, move |lua, args| {
            begin(&own, lua, &args, &args.secretable(0), Some(method.to_owned()), &args.options(1))
        })?;
    }
    Ok(())
}

/// Everything that can be a mistake, then the waiting.
fn begin(
    own: &Shared,
    lua: &Lua,
    args: &Args,
    url: &Secretable,
    method: Option<String>,
    options: &Opts,
) -> mlua::Result<impl Future<Output = Outcome<Table>> + use<>> {
    let url = String::from_utf8_lossy(url.reveal()).into_owned();
    let mut headers: Vec<(String, String)> = options
        .map("headers")
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(value.reveal()).into_owned()))
        .collect();
    let body = body(own, lua, args, options, &mut headers)?;
    let method = method.unwrap_or_else(|| if matches!(body, RequestBody::Empty) { "GET" } else { "POST" }.to_owned());
    if method.is_empty() || !method.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'-') {
        return Err(args.misuse(lua, format!("`method` is a word in capitals, found `{method}`")));
    }
    let timeout = options.duration("timeout").unwrap_or(TIMEOUT);
    if timeout > MAX_TIMEOUT || timeout.is_zero() {
        return Err(args.misuse(lua, "`timeout` is more than 0 and at most 10m"));
    }
    let max_body = options.size("max_body").unwrap_or(BODY);
    if max_body > MAX_BODY {
        return Err(args.misuse(lua, "`max_body` is at most 8M"));
    }
    let max_body = usize::try_from(max_body).unwrap_or(usize::MAX);
    let request = HttpRequest { method, url, headers, body, timeout, max_body };
    let retry = retry(lua, args, options.options("retry"))?;
    // Who is asked is what the client itself makes of the address, not what it looks like.
    let parts = http::parts(&request);
    if let Ok(parts) = &parts {
        let wanted = Permission::parse(&format!("http:{}", parts.whom()));
        let wanted = wanted.map_err(|rule| args.misuse(lua, format!("the address has no host to permit: {rule}")))?;
        own.permits.require(lua, args.name(), &wanted)?;
    }
    let (lua, own) = (lua.clone(), own.clone());
    Ok(async move {
        if let Err(bad) = parts {
            return Ok(Err(Fault::from(bad).scrubbed(&own.known)));
        }
        send(&lua, &own, request, retry).await
    })
}

fn body(own: &Shared, lua: &Lua, args: &Args, options: &Opts, headers: &mut Vec<(String, String)>) -> mlua::Result<RequestBody> {
    if ["json", "body", "file"].iter().filter(|name| options.has(name)).count() > 1 {
        return Err(args.misuse(lua, "one of `json`, `body` and `file`, not several"));
    }
    if options.has("json") {
        let json =
            to_json(lua, &options.value("json"), Secrets::Sent).map_err(|what| args.misuse(lua, format!("`json`: {what}")))?;
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        return Ok(RequestBody::Bytes(json.to_string().into_bytes()));
    }
    if let Some(text) = options.secretable("body") {
        return Ok(RequestBody::Bytes(text.reveal().to_vec()));
    }
    match options.text("file") {
        Some(path) => Ok(RequestBody::File(own.path(lua, args, &path)?)),
        None => Ok(RequestBody::Empty),
    }
}

fn retry(lua: &Lua, args: &Args, options: Option<Opts>) -> mlua::Result<Retry> {
    let Some(options) = options else { return Ok(Retry { attempts: 1, base: BASE, cap: CAP, after: None }) };
    let attempts = options.integer("attempts").unwrap_or(ATTEMPTS);
    if !(1..=MAX_ATTEMPTS).contains(&attempts) {
        return Err(args.misuse(lua, format!("`attempts` of `retry` is 1 to {MAX_ATTEMPTS}")));
    }
    let base = options.duration("base").unwrap_or(BASE).max(LEAST);
    let cap = options.duration("cap").unwrap_or(CAP).max(LEAST);
    Ok(Retry { attempts: u32::try_from(attempts).unwrap_or(1), base, cap, after: options.function("after") })
}

async fn send(lua: &Lua, own: &Shared, request: HttpRequest, retry: Retry) -> Outcome<Table> {
    let began = clock::now();
    let mut attempt = 1;
    loop {
        let tried = {
            let turn = own.requests.acquire().await;
            let tried = own.script.effects.http(request.clone()).await;
            drop(turn);
            tried
        };
        let is_last = attempt >= retry.attempts;
        let mut wait = jittered(own, &retry, attempt);
        match tried {
            Err(failed) if is_last || !failed.retryable => {
                let mut failed = Fault::from(failed);
                if attempt > 1 {
                    failed.message = format!("{}, at try {attempt}", failed.message);
                }
                return Ok(Err(failed.scrubbed(&own.known)));
            }
            Err(_) => {}
            Ok(answer) => {
                let again = matches!(answer.status, 408 | 425 | 429 | 500 | 502 | 503 | 504);
                let asked = header(&answer, "retry-after").and_then(|value| retry_after(value, own.script.effects.wall()));
                let table = told(lua, answer, attempt, millis(clock::now().saturating_duration_since(began)))?;
                if is_last || !again {
                    return Ok(Ok(table));
                }
                wait = wait.max(asked.unwrap_or_default());
                if let Some(after) = &retry.after {
                    match after.call::<Value>(table)? {
                        Value::Nil => {}
                        value => match read_duration(&value) {
                            Ok(own_wait) => wait = own_wait.min(LONGEST_WAIT),
                            Err(rule) => return Err(misuse(lua, format!("s3.http.request: `after` of `retry`: {rule}"))),
                        },
                    }
                }
            }
        }
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// A random part of `base` times two to the number of tries, of at most `cap`: many that failed together do not come back
/// together.
fn jittered(own: &Shared, retry: &Retry, attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt - 1);
    retry.base.saturating_mul(factor).min(retry.cap).mul_f64(own.chance.roll())
}

fn header<'a>(answer: &'a HttpResponse, name: &str) -> Option<&'a str> {
    answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn told(lua: &Lua, answer: HttpResponse, attempts: u32, ms: u64) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("ok", (200..300).contains(&answer.status))?;
    table.raw_set("status", answer.status)?;
    let headers = lua.create_table()?;
    for (name, value) in answer.headers {
        let value = match headers.raw_get::<Option<String>>(name.as_str())? {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        headers.raw_set(name, value)?;
    }
    table.raw_set("headers", headers)?;
    table.raw_set("body", lua.create_string(&answer.body)?)?;
    table.raw_set("attempts", attempts)?;
    table.raw_set("ms", ms)?;
    Ok(table)
}

/// Where the random parts come from; with a seed they are the same each time.
#[derive(Clone, Debug)]
pub struct Chance(Rc<Cell<u64>>);

impl Default for Chance {
    fn default() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }
}

impl Chance {
    /// The same each time.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Rc::new(Cell::new(seed)))
    }

    /// From 0 to 1: splitmix64.
    #[allow(clippy::cast_precision_loss, reason = "53 bits are what fits")]
    pub fn roll(&self) -> f64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
