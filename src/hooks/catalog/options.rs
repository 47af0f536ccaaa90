//! The options tables of API v1.

use super::{Field, Kind, Options};

const fn option(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Field {
    Field { name, kind, required: false, default, meaning }
}

const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> Field {
    Field { name, kind, required: true, default: "", meaning }
}

/// The severities that `on` can ask for.
pub const SEVERITIES: &[&str] = &["debug", "info", "warning", "error", "critical"];

pub static DEDUP: Options = Options {
    class: "section3.Dedup",
    fields: &[
        option(
            "key",
            Kind::Text,
            "\"type\"",
            "events of one service with the same value here are the same: a field of `data` or of the event",
        ),
        required("window", Kind::Duration, "the first goes out at once, the rest of this time is told as one with `count`"),
    ],
};

pub static BATCH: Options = Options {
    class: "section3.Batch",
    fields: &[
        required("wait", Kind::Duration, "the handler gets a list, when nothing came for so long"),
        option("max_wait", Kind::Duration, "6 times wait", "but no later than this after the first"),
        option("max", Kind::Integer, "500", "and no more at once; 1 to 1000"),
        option("flush_on", Kind::Events, "", "these events end the wait"),
    ],
};

pub static ON: Options = Options {
    class: "section3.OnOptions",
    fields: &[
        option("name", Kind::Text, "the first type", "the handler's name in `hook list`; unique in its file"),
        option("service", Kind::Text, "", "only services whose name matches this pattern of `*` and `?`"),
        option("severity", Kind::Words(SEVERITIES), "", "only events that matter at least so much"),
        option(
            "filter",
            Kind::Function("fun(ev: section3.Event): boolean?"),
            "",
            "only events for which it returns true; cannot wait",
        ),
        option("timeout", Kind::Duration, "\"30s\"", "a run of the handler takes at most this long; at most 10m"),
        option("concurrency", Kind::Integer, "4", "runs side by side, for different services; 1 to 16"),
        option("dedup", Kind::Options(&DEDUP), "", "the same again is folded"),
        option("batch", Kind::Options(&BATCH), "", "the handler gets a list of events"),
        option("rate", Kind::Text, "", "such as \"10/1m\": what is more is folded into the next one that goes out"),
    ],
};

pub static EVERY: Options = Options {
    class: "section3.EveryOptions",
    fields: &[
        option("name", Kind::Text, "every-N", "the timer's name in messages"),
        option("timeout", Kind::Duration, "\"30s\"", "a run takes at most this long; at most 10m"),
        option("immediate", Kind::Boolean, "false", "the first run is at once"),
        option("jitter", Kind::Duration, "0", "each run is later by a random part of this"),
    ],
};

pub static RETRY: Options = Options {
    class: "section3.Retry",
    fields: &[
        option(
            "attempts",
            Kind::Integer,
            "4",
            "tries in all; 1 to 50. Tried again: no answer, and 408, 425, 429, 500, 502, 503, 504",
        ),
        option("base", Kind::Duration, "\"500ms\"", "the n-th wait is a random part of base * 2^(n-1); at least 1ms"),
        option(
            "cap",
            Kind::Duration,
            "\"30s\"",
            "and of at most this. `Retry-After` of the answer counts where it is longer, up to 1h",
        ),
        option(
            "after",
            Kind::Function("fun(res: section3.Response): section3.Duration?"),
            "",
            "asked after each answer that is tried again: how long to wait instead, where the answer says so in its own way; cannot wait",
        ),
    ],
};

pub static REQUEST: Options = Options {
    class: "section3.Request",
    fields: &[
        option("method", Kind::Text, "\"GET\", or \"POST\" with a body", "any method, in capitals"),
        required("url", Kind::Secretable, "`http://`, `https://`, or `unix:/socket:/path`"),
        option("headers", Kind::Map, "", "names and values"),
        option("json", Kind::Any, "", "the body as JSON, with its `Content-Type`; secrets in it are sent"),
        option("body", Kind::Secretable, "", "the body as it is"),
        option("file", Kind::Text, "", "the body is this file of the state or the log folder, read while it is sent"),
        option("timeout", Kind::Duration, "\"10s\"", "of one try; at most 10m"),
        option("retry", Kind::Options(&RETRY), "one try", "when to try again"),
        option("max_body", Kind::Size, "\"1M\"", "a longer answer is an error; at most 8M"),
    ],
};

/// What `http.get`, `post` and `put` take beside their address.
pub static SHORT_REQUEST: Options = Options {
    class: "section3.ShortRequest",
    fields: &[
        option("headers", Kind::Map, "", "names and values"),
        option("json", Kind::Any, "", "the body as JSON, with its `Content-Type`; secrets in it are sent"),
        option("body", Kind::Secretable, "", "the body as it is"),
        option("file", Kind::Text, "", "the body is this file of the state or the log folder, read while it is sent"),
        option("timeout", Kind::Duration, "\"10s\"", "of one try; at most 10m"),
        option("retry", Kind::Options(&RETRY), "one try", "when to try again"),
        option("max_body", Kind::Size, "\"1M\"", "a longer answer is an error; at most 8M"),
    ],
};

pub static EXEC: Options = Options {
    class: "section3.Command",
    fields: &[
        required("cmd", Kind::Texts, "the program and its arguments; no shell, and no secrets: everybody can read them"),
        option("stdin", Kind::Secretable, "", "what it reads"),
        option("env", Kind::Map, "", "variables on top of the hook host's own"),
        option("cwd", Kind::Text, "the hook host's", "the folder it runs in"),
        option("timeout", Kind::Duration, "\"10s\"", "then it is killed with all it started; at most 10m"),
        option("max_output", Kind::Size, "\"256K\"", "so much of stdout and of stderr is kept; at most 4M"),
    ],
};

pub static LOGS: Options =
    Options { class: "section3.LogsOptions", fields: &[option("lines", Kind::Integer, "20", "the last so many; 1 to 1000")] };

pub static HOLD: Options = Options {
    class: "section3.HoldOptions",
    fields: &[
        required("reason", Kind::Text, "stands in `status`"),
        option("for", Kind::Duration, "", "it ends by itself; without it `start` or a release ends it"),
    ],
};

pub static KV_SET: Options =
    Options { class: "section3.KvOptions", fields: &[option("ttl", Kind::Duration, "", "it is gone after this time")] };

pub static COMMAND: Options = Options {
    class: "section3.CommandOptions",
    fields: &[
        required("summary", Kind::Text, "one line for `section3 x`"),
        option("args", Kind::Texts, "", "names of its arguments; one that ends in `?` may be absent, the last may end in `...`"),
    ],
};

pub static DECIDE: Options = Options {
    class: "section3.DecideOptions",
    fields: &[option("service", Kind::Text, "", "only services whose name matches this pattern of `*` and `?`")],
};
