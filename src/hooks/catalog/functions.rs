//! The functions and values of API v1.

use super::options::{COMMAND, DECIDE, EVERY, EXEC, HOLD, KV_SET, LOGS, ON, REQUEST, SHORT_REQUEST};
use super::{Arg, Constant, Function, Kind};

const fn arg(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, required: true }
}

const fn opt(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, required: false }
}

const fn plain(name: &'static str, args: &'static [Arg], returns: &'static str, summary: &'static str) -> Function {
    Function { name, args, returns, fails: false, waits: false, permission: "", summary }
}

const fn fallible(name: &'static str, args: &'static [Arg], returns: &'static str, summary: &'static str) -> Function {
    Function { name, args, returns, fails: true, waits: false, permission: "", summary }
}

const fn waiting(
    name: &'static str,
    args: &'static [Arg],
    returns: &'static str,
    permission: &'static str,
    summary: &'static str,
) -> Function {
    Function { name, args, returns, fails: true, waits: true, permission, summary }
}

const SERVICE: Arg = arg("service", Kind::Text);
const PATH: Arg = arg("path", Kind::Text);
const SHORT: &[Arg] = &[arg("url", Kind::Secretable), opt("options", Kind::Options(&SHORT_REQUEST))];
const LOG_LINE: &[Arg] = &[arg("message", Kind::Any), opt("fields", Kind::Table)];
const HASH_FORMS: Kind = Kind::Words(&["hex", "base64", "raw"]);
const HTTP: &str = "`http:HOST`, `http:unix:PATH`";
const READ: &str = "`services:read`";
const CONTROL: &str = "`services:control:GLOB`";
const LOG_FILES: &str = "`fs:write:logs` for the log folder";

/// Values that are no functions.
pub static VALUES: [Constant; 5] = [
    Constant { name: "api", kind: "integer", summary: "version of this API: 1" },
    Constant { name: "version", kind: "string", summary: "section3's version" },
    Constant { name: "host", kind: "string", summary: "the host's name, as in events" },
    Constant { name: "config", kind: "table", summary: "a plugin's settings, checked and complete; empty in a hook" },
    Constant { name: "json.null", kind: "lightuserdata", summary: "JSON's null, where one must be written" },
];

/// Every function, in the order of the documentation.
pub static FUNCTIONS: [Function; 62] = [
    plain(
        "on",
        &[
            arg("types", Kind::Events),
            opt("options", Kind::Options(&ON)),
            arg("handler", Kind::Function("fun(ev: section3.Event): boolean?, any")),
        ],
        "",
        "Calls the handler for each event. It has failed when it raises or returns `false, reason`",
    ),
    plain(
        "every",
        &[arg("interval", Kind::Duration), opt("options", Kind::Options(&EVERY)), arg("run", Kind::Function("fun()"))],
        "section3.Timer",
        "Calls the function again and again; a run that is due while the last one still runs is left out. It fails as a handler does",
    ),
    plain(
        "after",
        &[arg("delay", Kind::Duration), arg("run", Kind::Function("fun()"))],
        "section3.Timer",
        "Calls the function once, later",
    ),
    plain("spawn", &[arg("run", Kind::Function("fun()"))], "", "Runs the function beside this one"),
    Function {
        name: "sleep",
        args: &[arg("duration", Kind::Duration)],
        returns: "",
        fails: false,
        waits: true,
        permission: "",
        summary: "Waits",
    },
    plain("now", &[], "number", "Seconds since 1970, with a fraction; steps with the clock of the machine"),
    plain("mono", &[], "number", "Seconds on a clock that never steps; for durations"),
    waiting(
        "http.request",
        &[arg("request", Kind::Options(&REQUEST))],
        "section3.Response",
        HTTP,
        "Makes a request; redirects are not followed, and a status of an error is an answer",
    ),
    waiting("http.get", SHORT, "section3.Response", HTTP, "`http.request` with GET"),
    waiting("http.post", SHORT, "section3.Response", HTTP, "`http.request` with POST"),
    waiting("http.put", SHORT, "section3.Response", HTTP, "`http.request` with PUT"),
    waiting(
        "exec",
        &[arg("command", Kind::Options(&EXEC))],
        "section3.ExecResult",
        "`exec:PROGRAM`",
        "Runs a program without a shell and waits for its end",
    ),
    waiting("services.get", &[SERVICE], "section3.Service", READ, "How a service is"),
    waiting(
        "services.list",
        &[opt("glob", Kind::Text)],
        "section3.Service[]",
        READ,
        "How all services are, or those whose name matches",
    ),
    waiting(
        "services.logs",
        &[SERVICE, opt("options", Kind::Options(&LOGS))],
        "string[]",
        READ,
        "The last lines of a service's log",
    ),
    waiting("services.start", &[SERVICE], "true", CONTROL, "Starts a service"),
    waiting("services.stop", &[SERVICE], "true", CONTROL, "Stops a service"),
    waiting("services.restart", &[SERVICE], "true", CONTROL, "Restarts a service"),
    waiting("services.signal", &[SERVICE, arg("signal", Kind::Text)], "true", CONTROL, "Sends a signal to the main process"),
    waiting(
        "services.hold",
        &[SERVICE, arg("options", Kind::Options(&HOLD))],
        "true",
        CONTROL,
        "Keeps a service from being launched again",
    ),
    waiting("services.release", &[SERVICE], "true", CONTROL, "Ends a hold"),
    plain("kv.get", &[arg("key", Kind::Text), opt("default", Kind::Any)], "any", "What was kept under a key"),
    fallible(
        "kv.set",
        &[arg("key", Kind::Text), arg("value", Kind::Any), opt("options", Kind::Options(&KV_SET))],
        "true",
        "Keeps a value that JSON can say, at most 64 KiB, 1 MiB in all; it survives host and supervisor",
    ),
    fallible(
        "kv.incr",
        &[arg("key", Kind::Text), opt("by", Kind::Number)],
        "number",
        "Adds to a number, from 0; its time to live stays",
    ),
    plain("kv.delete", &[arg("key", Kind::Text)], "boolean", "Forgets a key; whether it was there"),
    plain("kv.keys", &[opt("prefix", Kind::Text)], "string[]", "All keys, sorted"),
    plain("log.debug", LOG_LINE, "", "A line of section3.log"),
    plain("log.info", LOG_LINE, "", "A line of section3.log; `print` is the same"),
    plain("log.warn", LOG_LINE, "", "A line of section3.log"),
    plain("log.error", LOG_LINE, "", "A line of section3.log"),
    plain(
        "json.encode",
        &[opt("value", Kind::Any)],
        "string",
        "A list is a table with keys 1 to n; an empty table is an object; secrets are \"[secret]\"",
    ),
    fallible("json.decode", &[arg("text", Kind::Text)], "any", "null in an object is absent, in a list `json.null`"),
    plain("json.array", &[opt("table", Kind::Table)], "table", "Marks a table, so that it is a list even when it is empty"),
    plain(
        "re.match",
        &[arg("text", Kind::Text), arg("pattern", Kind::Text)],
        "string?",
        "Regular expression in linear time: the captures, or the whole match where there are none; nil without a match",
    ),
    plain(
        "re.find",
        &[arg("text", Kind::Text), arg("pattern", Kind::Text), opt("init", Kind::Integer)],
        "integer?, integer?",
        "First and last byte of the first match, then its captures",
    ),
    plain(
        "re.gsub",
        &[arg("text", Kind::Text), arg("pattern", Kind::Text), arg("replacement", Kind::Text), opt("max", Kind::Integer)],
        "string, integer",
        "Replaces matches (`$1`, `${name}`, `$$`); how many there were",
    ),
    plain(
        "crypto.sha256",
        &[arg("text", Kind::Secretable), opt("form", HASH_FORMS)],
        "string",
        "SHA-256, as hexadecimal digits unless said otherwise",
    ),
    plain(
        "crypto.hmac_sha256",
        &[arg("key", Kind::Secretable), arg("text", Kind::Secretable), opt("form", HASH_FORMS)],
        "string",
        "HMAC with SHA-256, as hexadecimal digits unless said otherwise",
    ),
    plain("crypto.base64", &[arg("text", Kind::Secretable)], "string", "Base64 with padding; of a secret a secret"),
    fallible(
        "crypto.base64_decode",
        &[arg("text", Kind::Secretable), opt("prefix", Kind::Text)],
        "string",
        "Back again, with or without padding, and without a prefix such as `whsec_` where it begins so; of a secret a secret",
    ),
    plain("crypto.hex", &[arg("text", Kind::Secretable)], "string", "Hexadecimal digits; of a secret a secret"),
    fallible("crypto.hex_decode", &[arg("text", Kind::Secretable)], "string", "Back again; of a secret a secret"),
    plain(
        "text.truncate",
        &[arg("text", Kind::Text), arg("bytes", Kind::Integer), opt("mark", Kind::Text)],
        "string",
        "At most so many bytes, never half a character; what is cut ends in the mark, usually `…`",
    ),
    plain("text.human_ms", &[arg("ms", Kind::Number)], "string", "`2h34m`"),
    plain("text.human_bytes", &[arg("bytes", Kind::Number)], "string", "`1.5M`"),
    plain(
        "time.format",
        &[opt("seconds", Kind::Number), opt("form", Kind::Text)],
        "string",
        "A time (now without one) as RFC 3339 in UTC, or by `%Y-%m-%d %H:%M:%S` and their like (also `%j %F %T %s %L %%`)",
    ),
    fallible("time.parse", &[arg("text", Kind::Text)], "number", "RFC 3339, or a date of an HTTP header, to seconds since 1970"),
    waiting("fs.list", &[PATH, opt("glob", Kind::Text)], "section3.File[]", "", "What is in a folder, newest first"),
    waiting("fs.stat", &[PATH], "section3.File", "", "One file or folder"),
    waiting("fs.read", &[PATH, opt("max", Kind::Size)], "string", "", "A file, at most 1 MiB or what is said, up to 8M"),
    waiting(
        "fs.write",
        &[PATH, arg("text", Kind::Text)],
        "true",
        LOG_FILES,
        "Writes a file whole: another reader sees the old one or the new one",
    ),
    waiting("fs.append", &[PATH, arg("text", Kind::Text)], "true", LOG_FILES, "Adds to a file"),
    waiting("fs.rename", &[arg("from", Kind::Text), arg("to", Kind::Text)], "true", LOG_FILES, "Renames; both in the same root"),
    waiting("fs.remove", &[PATH], "true", LOG_FILES, "Removes a file or an empty folder"),
    waiting("fs.mkdir", &[PATH], "true", LOG_FILES, "Makes a folder, with those above it"),
    Function {
        name: "secret",
        args: &[arg("name", Kind::Text)],
        returns: "section3.Secret",
        fails: false,
        waits: false,
        permission: "`secret:NAME`",
        summary: "A secret of the config's `secrets:`; raises where it cannot be read. Prints as `[secret]`, also after `..`",
    },
    Function {
        name: "env",
        args: &[arg("name", Kind::Text)],
        returns: "string?",
        fails: false,
        waits: false,
        permission: "`env:NAME`",
        summary: "A variable of the hook host's environment",
    },
    plain(
        "emit",
        &[arg("name", Kind::Text), opt("data", Kind::Table)],
        "",
        "Tells the event `custom.NAME`; at most 16 KiB of data",
    ),
    Function {
        name: "decide",
        args: &[
            arg("point", Kind::Words(&["start", "restart", "stop"])),
            opt("options", Kind::Options(&DECIDE)),
            arg("advise", Kind::Function("fun(c: table): table?")),
        ],
        returns: "",
        fails: false,
        waits: false,
        permission: "`decide:POINT`",
        summary: "Advises on services whose `decisions:` name this script; nothing returned is no opinion",
    },
    plain(
        "check",
        &[arg("name", Kind::Text), arg("run", Kind::Function("fun(c: table): boolean, string?"))],
        "",
        "Plugins: for `health: {plugin: NAME.CHECK}`; `true`, or `false, reason`",
    ),
    plain(
        "probe",
        &[arg("name", Kind::Text), arg("run", Kind::Function("fun(c: table): boolean, string?"))],
        "",
        "Plugins: for `ready: {plugin: NAME.PROBE}`; asked until it returns true",
    ),
    plain(
        "command",
        &[arg("name", Kind::Text), arg("options", Kind::Options(&COMMAND)), arg("run", Kind::Function("fun(args: table): any"))],
        "",
        "Plugins: `section3 x PLUGIN COMMAND`; what it returns is printed",
    ),
];
