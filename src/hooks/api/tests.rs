//! The table as scripts find it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use mlua::{Table, Value};
use serde_json::json;

use super::testing::{Play, answer, eval, fails, play};
use crate::hooks::catalog::{FUNCTIONS, VALUES};
use crate::hooks::script::{IoFault, Phase, RequestBody};
use crate::value::json;

/// What the runtime of the host adds.
const OF_THE_HOST: [&str; 9] = ["on", "every", "after", "spawn", "sleep", "decide", "check", "probe", "command"];

fn names(table: &Table, prefix: &str, out: &mut BTreeSet<String>) {
    for pair in table.pairs::<String, Value>() {
        let (name, value) = pair.expect("a name");
        match value {
            Value::Table(inner) if name != "config" => names(&inner, &format!("{prefix}{name}."), out),
            _ => drop(out.insert(format!("{prefix}{name}"))),
        }
    }
}

#[test]
fn the_catalog_is_what_the_table_offers() {
    let offered = play(None, async |play| {
        let mut offered = BTreeSet::new();
        names(&play.lua.globals().get("s3").expect("a table"), "", &mut offered);
        offered
    });
    let described = FUNCTIONS.iter().map(|function| function.name).chain(VALUES.iter().map(|value| value.name));
    let described: BTreeSet<String> = described.filter(|name| !OF_THE_HOST.contains(name)).map(str::to_owned).collect();
    assert_eq!(offered, described);
}

/// What the catalog says waits cannot be called by a file body, and nothing else is refused there for that.
#[test]
fn the_file_body_only_registers() {
    for function in FUNCTIONS.iter().filter(|function| function.waits && !OF_THE_HOST.contains(&function.name)) {
        let said = play(None, async |play| {
            play.script.phase.set(Phase::Loading);
            play.run::<Value>(&format!("s3.{}()", function.name)).await.expect_err(function.name)
        });
        assert_eq!(said, format!("hook.lua:1: s3.{}: call this inside a handler", function.name));
    }
    for code in ["s3.kv.set('a', 1)", "s3.kv.incr('a')", "s3.kv.delete('a')", "s3.emit('x')"] {
        let said = play(None, async |play| {
            play.script.phase.set(Phase::Loading);
            play.run::<Value>(code).await.expect_err(code)
        });
        assert!(said.ends_with(": call this inside a handler"), "{said}");
    }
    for code in ["s3.kv.get 'a'", "s3.log.info 'x'", "s3.secret 'tok'", "s3.now()", "s3.json.encode{}"] {
        play(None, async |play| {
            play.script.phase.set(Phase::Loading);
            play.run::<Value>(code).await.unwrap_or_else(|error| panic!("{code}: {error}"));
        });
    }
}

#[test]
fn what_waits_does_not_inside_of_a_callback() {
    let said = fails("table.sort({2, 1}, function(a, b) s3.services.list() return a < b end)");
    assert_eq!(said, "hook.lua:1: s3.services.list: cannot wait here: move the call out of the callback");
}

#[test]
fn own() {
    for (code, result) in [
        ("s3.api", "1"),
        ("s3.version", "0.0.0"),
        ("s3.host", "box"),
        ("next(s3.config)", "nil"),
        ("s3.env 'HOME'", "/root"),
        ("s3.env 'NONE'", "nil"),
        ("s3.secret 'tok'", "[secret]"),
        ("'Bearer ' .. s3.secret 'tok'", "[secret]"),
        ("s3.now()", "1767225600.0"),
        ("s3.time.format()", "2026-01-01T00:00:00.000Z"),
        ("s3.mono()", "0.0"),
    ] {
        assert_eq!(eval::<String>(&format!("return tostring({code})")), result, "{code}");
    }
    assert_eq!(fails("s3.secret 'tik'"), "hook.lua:1: s3.secret: `secrets:` of the config has no `tik`; did you mean `tok`?");
    assert_eq!(fails("s3.secret 'broken'"), "hook.lua:1: s3.secret: cannot read the secret `broken`: gone");
    play(Some(&[]), async |play| {
        assert_eq!(play.run::<String>("return s3.config.url .. #s3.config.list").await, Ok("http://x2".to_owned()));
    });
}

#[test]
fn events_are_told() {
    play(None, async |play| {
        play.run::<()>("s3.emit('deploy', {v = '1.2'}) s3.emit 'x'").await.expect("told");
        tokio::task::yield_now().await;
        assert_eq!(play.told(), [r#"{"emit":{"name":"deploy","data":{"v":"1.2"}}}"#, r#"{"emit":{"name":"x","data":{}}}"#]);
    });
    for (code, says) in [
        ("s3.emit 'a b'", "an event's name is 1 to 64 letters, digits, `_`, `.` or `-`, found `a b`"),
        ("s3.emit('a', {1})", "the data of an event has names, found a list"),
        ("s3.emit('a', {x = ('y'):rep(20000)})", "the data of an event is at most 16 KiB, found 20008 bytes"),
    ] {
        assert_eq!(fails(code), format!("hook.lua:1: s3.emit: {says}"));
    }
}

#[test]
fn lines() {
    play(None, async |play| {
        let code = "s3.log.info('a', {n = 1, s = 'x', t = {1}, k = s3.secret 'tok'}) s3.log.warn(s3.secret 'tok')
            s3.log.error('broke: t0p-secret') s3.log.debug(nil == 1)";
        play.run::<()>(code).await.expect("told");
        assert_eq!(
            play.told(),
            [
                r#"info: a {"k": "[secret]", "n": "1", "s": "x", "t": "[1]"}"#,
                "warning: [secret] {}",
                "error: broke: [secret] {}",
                "debug: false {}",
            ]
        );
    });
}

#[test]
fn services() {
    play(None, async |play| {
        for (code, result) in [
            ("s3.services.get('web').state", "running"),
            ("s3.services.get('web').pid", "nil"),
            ("select(2, s3.services.get 'nope').code", "unknown_service"),
            ("select(2, s3.services.get 'nope')", "no service `nope`"),
            ("#s3.services.list()", "2"),
            ("s3.services.list('d*')[1].name", "db"),
            ("s3.services.logs('web', {lines = 3})[2]", "two"),
            ("s3.services.restart 'web'", "true"),
            ("s3.services.signal('web', 'HUP')", "true"),
            ("s3.services.hold('web', {reason = 'r', ['for'] = '1m'})", "true"),
            ("s3.services.release 'web'", "true"),
        ] {
            assert_eq!(play.run::<String>(&format!("return tostring({code})")).await, Ok(result.to_owned()), "{code}");
        }
        assert!(play.told().contains(&r#"{"logs":{"service":"web","lines":3}}"#.to_owned()));
        assert!(play.told().contains(&r#"{"hold":{"service":"web","reason":"r","for_ms":60000}}"#.to_owned()));
    });
    assert!(fails("s3.services.signal('web', 'KILLL')").starts_with("hook.lua:1: s3.services.signal: `KILLL`: "));
    assert_eq!(fails("s3.services.logs('web', {lines = 0})"), "hook.lua:1: s3.services.logs: `lines` is 1 to 1000");
    assert!(fails("s3.services.hold('web', {})").contains("lacks `reason`"));
}

#[test]
fn a_plugin_that_was_granted_nothing_may_do_nothing() {
    play(Some(&[]), async |play| {
        for code in [
            "s3.http.get 'http://h/'",
            "s3.exec{cmd = {'true'}}",
            "s3.services.list()",
            "s3.services.get 'web'",
            "s3.services.logs 'web'",
            "s3.services.start 'web'",
            "s3.services.signal('web', 'HUP')",
            "s3.secret 'tok'",
            "s3.env 'HOME'",
        ] {
            let said = play.run::<Value>(code).await.expect_err(code);
            assert!(said.contains("needs the permission"), "{code}: {said}");
        }
        assert_eq!(play.told(), Vec::<String>::new());
    });
}

#[test]
fn a_secret_is_not_kept_and_not_told() {
    play(None, async |play| {
        let code = "s3.kv.set('k', {s3.secret 'tok'}) s3.emit('x', {k = s3.secret 'tok'}) return tostring(s3.kv.get('k')[1])";
        assert_eq!(play.run::<String>(code).await.as_deref(), Ok("[secret]"));
        tokio::task::yield_now().await;
        assert_eq!(play.told(), [r#"{"emit":{"name":"x","data":{"k":"[secret]"}}}"#]);
    });
}

#[test]
fn what_is_too_much_to_ask_for() {
    for (code, says) in [
        ("s3.fs.read('a', '9M')", "at most 8M of a file can be read"),
        ("s3.kv.set('a', s3.json.null)", "nothing cannot be kept"),
        ("local t = {} for n = 1, 1001 do t[n] = 'x' end s3.exec{cmd = t}", "has more than 1000 entries"),
        ("s3.json.array(setmetatable({}, {}))", "this table is read-only or has a metatable"),
    ] {
        assert!(fails(code).contains(says), "{code}: {}", fails(code));
    }
}

#[test]
fn what_is_no_use_is_not_tried_again_and_no_wait_is_longer_than_an_hour() {
    play(None, async |play| {
        play.stage.answers.borrow_mut().push_back(Err(IoFault { code: "invalid", message: "no".to_owned(), retryable: false }));
        let code = "local r, err = s3.http.get('http://h', {retry = {attempts = 3}}) return err.code .. ': ' .. err";
        assert_eq!(play.run::<String>(code).await.as_deref(), Ok("invalid: no"));
        assert_eq!(play.told(), ["0 GET http://h"]);
    });
    play(None, async |play| {
        play.stage.answers.borrow_mut().push_back(answer(503, &[], ""));
        let code = "return s3.http.get('http://h', {retry = {attempts = 2, after = function() return '2h' end}}).status";
        assert_eq!(play.run::<u16>(code).await, Ok(200));
        assert_eq!(play.told(), ["0 GET http://h", "3600000 GET http://h"]);
    });
}

#[test]
fn a_plugin_may_do_what_it_was_granted() {
    let granted = ["http:a.b", "http:unix:/run/x", "exec:true", "services:read", "services:control:w*", "secret:tok", "env:HOME"];
    play(Some(&granted), async |play| {
        for code in [
            "s3.http.get 'https://A.b:81/x'",
            "s3.http.get 'unix:/run/x:/y'",
            "s3.exec{cmd = {'true'}}",
            "s3.services.list()",
            "s3.services.stop 'web'",
            "s3.secret 'tok'",
            "s3.env 'HOME'",
            "s3.fs.write('a', 'b')",
            "s3.fs.list(s3.config.nothing or '')",
        ] {
            play.run::<Value>(code).await.unwrap_or_else(|error| panic!("{code}: {error}"));
        }
        let logs = play.script.log_dir.display();
        for (code, permission) in [
            ("s3.http.get 'http://b.b/'".to_owned(), "http:b.b"),
            ("s3.http.get 'http://a.b@c.d/'".to_owned(), "http:c.d"),
            ("s3.http.get 'HTTP://e.f\\\\@a.b/'".to_owned(), "http:e.f"),
            ("s3.http.get 'unix:/run/y:/'".to_owned(), "http:unix:/run/y"),
            ("s3.exec{cmd = {'/bin/true'}}".to_owned(), "exec:/bin/true"),
            ("s3.services.stop 'db'".to_owned(), "services:control:db"),
            ("s3.secret 'broken'".to_owned(), "secret:broken"),
            ("s3.env 'PATH'".to_owned(), "env:PATH"),
            (format!("s3.fs.remove '{logs}/web.log.1'"), "fs:write:logs"),
            (format!("s3.fs.write('{logs}/a', 'b')"), "fs:write:logs"),
            (format!("s3.fs.append('{logs}/a', 'b')"), "fs:write:logs"),
            (format!("s3.fs.mkdir '{logs}/a'"), "fs:write:logs"),
            (format!("s3.fs.rename('{logs}/a', 'b')"), "fs:write:logs"),
            (format!("s3.fs.rename('a', '{logs}/b')"), "fs:write:logs"),
        ] {
            let text: mlua::Result<Value> = play.lua.load(&code).set_name("@hook.lua").eval_async().await;
            let said = text.expect_err(&code).to_string();
            assert!(said.contains(&format!("needs the permission `{permission}`")), "{said}");
            assert!(said.contains(&format!("plugins:\n  script:\n    allow: [\"{permission}\"]")), "{said}");
        }
    });
}

#[test]
fn what_is_kept() {
    play(None, async |play| {
        for (code, result) in [
            ("s3.kv.get 'a'", "nil"),
            ("s3.kv.get('a', 7)", "7"),
            ("s3.kv.set('a', {x = {1, 2}})", "true"),
            ("s3.kv.get('a').x[2]", "2"),
            ("s3.kv.incr 'n'", "1"),
            ("s3.kv.incr('n', 2.5)", "3.5"),
            ("select(2, s3.kv.incr 'a')", "`a` is no number"),
            ("s3.kv.set('short', 1, {ttl = '10s'})", "true"),
            ("table.concat(s3.kv.keys(), ',')", "a,n,short"),
            ("table.concat(s3.kv.keys 's', ',')", "short"),
            ("s3.kv.delete 'n'", "true"),
            ("s3.kv.delete 'n'", "false"),
        ] {
            assert_eq!(play.run::<String>(&format!("return tostring({code})")).await, Ok(result.to_owned()), "{code}");
        }
        play.stage.wall.set(play.stage.wall.get() + 10);
        assert_eq!(play.run::<String>("return table.concat(s3.kv.keys(), ',')").await, Ok("a".to_owned()));
        assert_eq!(play.run::<String>("return tostring(s3.kv.incr 'short')").await, Ok("1".to_owned()));
        // Bounds: a value, then all of them; what is over makes room.
        let large = "local v, err = s3.kv.set('l', ('x'):rep(65535)) return err and err.code";
        assert_eq!(play.run::<Option<String>>(large).await, Ok(Some("too_large".to_owned())));
        let fill =
            "local n = 0 while s3.kv.set('k' .. n, ('x'):rep(60000), {ttl = n == 0 and '1s' or '1h'}) do n = n + 1 end return n";
        assert_eq!(play.run::<i64>(fill).await, Ok(17));
        let full = "local v, err = s3.kv.set('z', ('x'):rep(60000)) return err and err.code";
        assert_eq!(play.run::<Option<String>>(full).await, Ok(Some("full".to_owned())));
        play.stage.wall.set(play.stage.wall.get() + 1);
        assert_eq!(play.run::<Option<String>>(full).await, Ok(None));
    });
    assert!(fails("s3.kv.set('', 1)").contains("a key has 1 to 256 bytes"));
    assert!(fails("s3.kv.set('a', nil)").contains("argument 2 (`value`) is missing"));
}

#[test]
fn what_is_kept_outlives_the_script() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let again = |code: &str| {
        let play = async { Play::new(dir.path(), None).run::<String>(code).await };
        let result = tokio::task::LocalSet::new().block_on(&runtime, play).expect(code);
        // The write is another task of the same set: a second one lets it end.
        result
    };
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let play = Play::new(dir.path(), None);
        play.run::<()>("s3.kv.set('a', {1}) s3.kv.set('b', 'x') s3.kv.set('c', 1, {ttl = 1})").await.expect("kept");
        let file = dir.path().join("script.kv.json");
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        play.stage.wall.set(0);
    });
    assert_eq!(again("return s3.kv.get('b') .. s3.kv.get('a')[1]"), "x1");
    std::fs::write(dir.path().join("script.kv.json"), "no JSON").expect("written");
    assert_eq!(again("return tostring(s3.kv.get 'b')"), "nil");
}

#[test]
fn programs() {
    play(None, async |play| {
        let code =
            "local r = s3.exec{cmd = {'gzip', '-f', 1}, stdin = 'in' .. s3.secret 'tok', env = {K = s3.secret 'tok', A = 1},
            cwd = '/', timeout = '2m', max_output = '1K'} return r.code .. r.stdout";
        assert_eq!(play.run::<String>(code).await, Ok("0".to_owned()));
        let request = play.stage.execs.borrow()[0].clone();
        assert_eq!(request.argv, ["gzip", "-f", "1"]);
        assert_eq!(request.stdin, b"int0p-secret");
        assert_eq!(request.env, [("A".to_owned(), "1".to_owned()), ("K".to_owned(), "t0p-secret".to_owned())]);
        assert_eq!((request.timeout, request.max_output), (Duration::from_secs(120), 1024));
    });
    for (args, says) in [
        ("{cmd = {}}", "`cmd` names no program"),
        ("{cmd = {'a\\0'}}", "a word of `cmd` holds a zero byte"),
        ("{cmd = {'a'}, env = {['b='] = 1}}", "`b=` cannot be set: no name with `=`, no zero bytes"),
        ("{cmd = {'a'}, timeout = '11m'}", "`timeout` is more than 0 and at most 10m"),
        ("{cmd = {'a'}, max_output = '5M'}", "`max_output` is at most 4M"),
    ] {
        assert_eq!(fails(&format!("s3.exec{args}")), format!("hook.lua:1: s3.exec: {says}"));
    }
}

#[test]
fn files() {
    play(None, async |play| {
        for (code, result) in [
            ("s3.fs.write('a.txt', 'one')", "true"),
            ("s3.fs.append('a.txt', ' two')", "true"),
            ("s3.fs.read 'a.txt'", "one two"),
            ("select(2, s3.fs.read('a.txt', 3)).code", "too_large"),
            ("select(2, s3.fs.read 'none').code", "not_found"),
            ("s3.fs.mkdir 'd/e'", "true"),
            ("s3.fs.rename('a.txt', 'd/b.txt')", "true"),
            ("s3.fs.stat('d/b.txt').size", "7"),
            ("s3.fs.stat('d').kind", "dir"),
            ("s3.fs.list('d', '*.txt')[1].name", "b.txt"),
            ("#s3.fs.list('d', '*.gz')", "0"),
            ("s3.fs.remove 'd/b.txt'", "true"),
        ] {
            let result = Ok(result.to_owned());
            assert_eq!(play.run::<String>(&format!("return tostring({code})")).await, result, "{code}");
        }
    });
    for code in ["s3.fs.read '/etc/passwd'", "s3.fs.write('../x', 'y')", "s3.http.put('http://x', {file = '/etc/passwd'})"] {
        assert!(fails(code).contains("is neither below the script's own folder"), "{code}");
    }
}

#[test]
fn requests() {
    play(None, async |play| {
        play.stage.answers.borrow_mut().push_back(answer(201, &[("x-a", "1"), ("x-a", "2")], "hi"));
        let code =
            "local r = s3.http.request{url = 'https://h/' .. s3.secret 'tok', headers = {A = 'Bearer ' .. s3.secret 'tok'},
            json = {k = s3.secret 'tok', l = s3.json.array{}}, timeout = 3}
            return table.concat({tostring(r.ok), r.status, r.headers['x-a'], r.body, r.attempts}, ' ')";
        assert_eq!(play.run::<String>(code).await, Ok("true 201 1, 2 hi 1".to_owned()));
        let request = play.stage.requests.borrow()[0].clone();
        assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://h/t0p-secret"));
        assert_eq!(
            request.headers,
            [("A".to_owned(), "Bearer t0p-secret".to_owned()), ("content-type".to_owned(), "application/json".to_owned())]
        );
        let RequestBody::Bytes(body) = request.body else { panic!("no bytes") };
        assert_eq!(json::from_slice::<serde_json::Value>(&body).expect("JSON"), json!({"k": "t0p-secret", "l": []}));
        play.run::<Value>("s3.http.get('http://h') s3.http.put('http://h', {body = 'x'}) s3.http.request{url = 'http://h'}")
            .await
            .expect("sent");
        let methods: Vec<String> = play.stage.requests.borrow().iter().map(|request| request.method.clone()).collect();
        assert_eq!(methods, ["POST", "GET", "PUT", "GET"]);
        play.run::<Value>("s3.http.put('http://h', {json = 1, headers = {['Content-Type'] = 'a/b'}})").await.expect("sent");
        let last = play.stage.requests.borrow().last().cloned().expect("a request");
        assert_eq!(last.headers, [("Content-Type".to_owned(), "a/b".to_owned())]);
    });
    for (args, says) in [
        ("{url = 'http://h', json = 1, body = 'x'}", "one of `json`, `body` and `file`, not several"),
        ("{url = 'http://h', method = 'get'}", "`method` is a word in capitals, found `get`"),
        ("{url = 'http://h', method = ''}", "`method` is a word in capitals, found ``"),
        ("{url = 'http://h', timeout = 0}", "`timeout` is more than 0 and at most 10m"),
        ("{url = 'http://h', timeout = '1h'}", "`timeout` is more than 0 and at most 10m"),
        ("{url = 'http://h', max_body = '9M'}", "`max_body` is at most 8M"),
        ("{url = 'http://h', retry = {attempts = 0}}", "`attempts` of `retry` is 1 to 50"),
    ] {
        let said = fails(&format!("s3.http.request{args}"));
        assert!(said.starts_with(&format!("hook.lua:1: s3.http.request: {says}")), "{said}");
    }
    // What may come from data is no mistake of the script.
    for args in [
        "{url = 'http://h h/'}",
        "{url = 'ftp://h/'}",
        "{url = 'unix:run/x:/y'}",
        "{url = 'http://h', headers = {['a b'] = 1}}",
        "{url = 'http://h', headers = {a = 'x\\ny'}}",
    ] {
        let code = format!("local ok, res, err = pcall(s3.http.request, {args}) return ok and err.code or tostring(res)");
        let said: String = eval(&code);
        assert_eq!(said, "invalid", "{args}");
    }
    let bad = "s3.secret 'tok' local _, err = s3.http.get('http://h', {headers = {['t0p-secret '] = 1}}) return tostring(err)";
    assert_eq!(eval::<String>(bad), "`[secret] ` is no name of a header");
}

/// A script that answers a storm of events does not open a connection for each.
#[test]
fn so_many_requests_at_once() {
    play(None, async |play| {
        let ask = |_| Box::pin(play.run::<Value>("s3.http.get 'http://h/'"));
        let mut asks: VecDeque<_> = (0..3 * super::REQUESTS).map(ask).collect();
        while let Some(mut ask) = asks.pop_front() {
            tokio::select! {
                biased;
                done = &mut ask => drop(done.expect("an answer")),
                () = std::future::ready(()) => asks.push_back(ask),
            }
            tokio::task::yield_now().await;
        }
        assert_eq!((play.stage.most.get(), tries(play).len()), (super::REQUESTS, 3 * super::REQUESTS));
    });
}

#[test]
fn tries_are_never_made_in_the_same_moment() {
    for options in ["base = 0", "cap = 0", "base = 0, cap = 0", "base = '1s', cap = '1s'"] {
        play(None, async |play| {
            play.stage.answers.borrow_mut().extend((0..50).map(|_| answer(503, &[], "")));
            let code = format!("return s3.http.get('http://h', {{retry = {{attempts = 50, {options}}}}}).attempts");
            assert_eq!(play.run::<u32>(&code).await, Ok(50));
            let tries = tries(play);
            assert!(tries.windows(2).all(|pair| pair[0] < pair[1]), "{options}: {tries:?}");
        });
    }
}

/// When each try was made, in milliseconds of the virtual clock.
fn tries(play: &Play) -> Vec<u64> {
    let told = play.told();
    told.iter().map(|line| line.split(' ').next().and_then(|at| at.parse().ok()).expect("a time")).collect()
}

fn refused() -> Result<crate::hooks::script::HttpResponse, IoFault> {
    Err(IoFault { code: "connect", message: "cannot reach h/t0p-secret: connection refused".to_owned(), retryable: true })
}

#[test]
fn what_fails_is_tried_again_later_and_later() {
    play(None, async |play| {
        play.stage.answers.borrow_mut().extend([answer(503, &[], ""), refused(), answer(429, &[], ""), answer(200, &[], "")]);
        let code = "s3.secret 'tok' local r = s3.http.post('http://h', {retry = {attempts = 9, base = '1s', cap = '3s'}}) return r.attempts";
        assert_eq!(play.run::<i64>(code).await, Ok(4));
        let tries = tries(play);
        let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(waits.iter().zip([1000, 2000, 3000]).all(|(wait, most)| *wait <= most + 1), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait > 0), "{waits:?}");
    });
    play(None, async |play| {
        play.stage.answers.borrow_mut().extend([refused(), refused()]);
        let code = "s3.secret 'tok' local r, err = s3.http.post('http://h', {retry = {attempts = 2}}) return tostring(r) .. ' ' .. err.code .. ' ' .. err";
        let said = play.run::<String>(code).await.expect("told");
        assert_eq!(said, "nil connect cannot reach h/[secret]: connection refused, at try 2");
    });
    // One that is no use is not repeated, and neither is anything without `retry`.
    for (status, retry) in [(404, ", {retry = {}}"), (400, ", {retry = {}}"), (302, ", {retry = {}}"), (503, "")] {
        play(None, async |play| {
            play.stage.answers.borrow_mut().push_back(answer(status, &[], ""));
            let code = format!("local r = s3.http.get('http://h'{retry}) return r.status");
            assert_eq!(play.run::<u16>(&code).await, Ok(status));
            assert_eq!(tries(play).len(), 1);
        });
    }
}

#[test]
fn retry_after_is_obeyed_and_so_is_the_script() {
    for (headers, options, waited) in [
        (&[("retry-after", "7")][..], "", 7_000),
        (&[("retry-after", "86400")][..], "", 3_600_000),
        (&[("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT")][..], "", 60_000),
        (&[][..], ", after = function(r) return s3.json.decode(r.body).wait end", 3_000),
        (&[("retry-after", "9")][..], ", after = function(r) return '2s' end", 2_000),
        (&[("retry-after", "9")][..], ", after = function(r) end", 9_000),
    ] {
        play(None, async |play| {
            play.stage.answers.borrow_mut().push_back(answer(429, headers, "{\"wait\":3}"));
            let code = format!("return s3.http.get('http://h', {{retry = {{base = '1ms'{options}}}}}).attempts");
            assert_eq!(play.run::<i64>(&code).await, Ok(2));
            let tries = tries(play);
            assert!((waited..waited + 3).contains(&(tries[1] - tries[0])), "{options}: {tries:?}");
        });
    }
    let bad = "s3.http.get('http://h', {retry = {after = function() return 'soon' end}})";
    play(None, async |play| {
        play.stage.answers.borrow_mut().push_back(answer(429, &[], ""));
        let said = play.run::<Value>(bad).await.expect_err("a mistake");
        assert!(said.contains("s3.http.request: `after` of `retry`: a duration is a number with a unit"), "{said}");
    });
}
