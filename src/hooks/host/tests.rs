//! Scripts on a desk, without a process: what they find, what they register, how their mistakes are told.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::desk::Desk;
use super::load::{Content, load};
use super::pulse::Meter;
use super::source::Folder;
use crate::hooks::frame::{Ask, CallError, Delivery, Done, FromHost, HookError, Question, Verb};
use crate::hooks::script::{
    Effects, ExecRequest, ExecResult, FileChange, HttpRequest, HttpResponse, IoFault, Keeping, Local, Phase, Script, ScriptKind,
};
use crate::spec::script::{Program, Provides, SecretSource};
use crate::value::json::{self, Raw};
use crate::value::sorted::Map;
use crate::wire::event::{HookFaultKind, Severity};

/// What a script did.
#[derive(Default)]
struct Record {
    logged: RefCell<Vec<String>>,
    executed: RefCell<Vec<ExecRequest>>,
}

/// What the one secret of a script is.
const SECRET: &str = "hunter2hunter2";

fn nothing<T>() -> Result<T, IoFault> {
    Err(IoFault { code: "timeout", message: "took too long".to_owned(), retryable: false })
}

impl Effects for Record {
    fn call(&self, _: Verb) -> Local<'_, Result<Value, CallError>> {
        Box::pin(async { Ok(Value::Null) })
    }
    fn http(&self, _: HttpRequest) -> Local<'_, Result<HttpResponse, IoFault>> {
        Box::pin(async { nothing() })
    }
    fn exec(&self, request: ExecRequest) -> Local<'_, Result<ExecResult, IoFault>> {
        self.executed.borrow_mut().push(request);
        Box::pin(async {
            if self.executed.borrow().len() > 1 {
                return nothing();
            }
            Ok(ExecResult { code: Some(3), stderr: b"no such page\n\n".to_vec(), ..ExecResult::default() })
        })
    }
    fn change(&self, _: FileChange) -> Local<'_, Result<(), IoFault>> {
        Box::pin(async { Ok(()) })
    }
    fn log(&self, _: Severity, message: String, _: Map<String, String>) {
        self.logged.borrow_mut().push(message);
    }
    fn secret(&self, _: &str, _: &SecretSource) -> Result<String, IoFault> {
        Ok(SECRET.to_owned())
    }
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// A script and what it told.
struct Stage {
    desk: Rc<Desk>,
    record: Rc<Record>,
    told: Rc<RefCell<Vec<FromHost>>>,
}

fn script(kind: ScriptKind, record: &Rc<Record>) -> Script {
    Script {
        name: "a".to_owned(),
        kind,
        granted: (kind == ScriptKind::Plugin).then(|| vec!["decide:start".to_owned()]),
        settings: Value::Null,
        state_dir: "/nonexistent/state".into(),
        log_dir: "/nonexistent/log".into(),
        host: "h".to_owned(),
        boot: "b".to_owned(),
        version: "0".to_owned(),
        secrets: Map::from([("key".to_owned(), SecretSource::Env("KEY".to_owned()))]),
        effects: Rc::clone(record) as Rc<dyn Effects>,
        phase: Cell::new(Phase::Loading),
        keeping: Keeping::default(),
    }
}

fn stage(kind: ScriptKind, content: Content) -> Result<Stage, HookError> {
    let (record, told) = (Rc::<Record>::default(), Rc::<RefCell<Vec<FromHost>>>::default());
    let tell = Rc::clone(&told);
    let meter = Meter::new(Arc::default(), || ());
    let desk = load(script(kind, &record), content, meter, Rc::new(move |frame| tell.borrow_mut().push(frame)))?;
    Ok(Stage { desk, record, told })
}

/// Lua as the one file of a plugin in the binary.
fn lua(text: &str) -> Content {
    let text: &'static str = Box::leak(format!("local s3 = require 'section3'\n{text}").into_boxed_str());
    let files: &'static [(&'static str, &'static str)] = Box::leak(Box::new([("a.lua", text), ("lib.lua", "return {x = 1}")]));
    Content::Lua { folder: Folder::Binary(files), entry: "a.lua".to_owned(), provides: None }
}

fn hook(text: &str) -> Stage {
    stage(ScriptKind::Hook, lua(text)).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

fn refused(kind: ScriptKind, text: &str) -> String {
    match stage(kind, lua(text)) {
        Ok(_) => panic!("it was loaded: {text}"),
        Err(error) => error.message,
    }
}

fn crash(number: u64, service: &str) -> Delivery {
    let event = json!({
        "v": 1, "id": format!("b-{number}"), "seq": number, "type": "crash", "service": service, "severity": "warning",
        "data": {"code": 7, "signal": null, "crashes": 2, "log_tail": ["one", "two"]},
    });
    let event = Raw::parse(&event.to_string()).unwrap();
    Delivery { delivery: number, script: "a".to_owned(), handler: "crash".to_owned(), attempt: 1, lost: 4, event }
}

impl Stage {
    /// Plays on a runtime until everything has ended.
    fn play(&self, play: impl FnOnce(&Rc<Desk>)) -> &Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            self.desk.open();
            play(&self.desk);
            self.desk.finish().await;
        });
        self
    }

    /// Plays crashes of the service `web`.
    fn crashes(&self, numbers: impl IntoIterator<Item = u64>) -> &Self {
        self.play(|desk| numbers.into_iter().for_each(|number| desk.deliver(&crash(number, "web"))))
    }

    fn logged(&self) -> Vec<String> {
        self.record.logged.borrow().clone()
    }

    fn done(&self) -> Vec<Done> {
        let told = self.told.borrow();
        let done = told.iter().filter_map(|frame| if let FromHost::Done(done) = frame { Some(done.clone()) } else { None });
        done.collect()
    }

    fn error(&self) -> HookError {
        self.done().into_iter().find_map(|done| done.error).expect("a run that failed")
    }

    fn answer(&self, question: Question) -> Result<Value, HookError> {
        let ask = Ask { ask: 9, script: "a".to_owned(), deadline_ms: 60_000, question };
        self.play(|desk| desk.ask(ask));
        let mut told = self.told.borrow_mut();
        let at = told.iter().position(|frame| matches!(frame, FromHost::Answer { ask: 9, .. })).expect("an answer");
        match told.remove(at) {
            FromHost::Answer { result, .. } => result,
            _ => unreachable!("it was looked for"),
        }
    }
}

#[test]
fn an_event_is_a_table_that_can_only_be_read() {
    let stage = hook(
        "s3.on('crash', function(ev)
            print(ev.type, ev.service, ev.data.code, ev.data.signal, ev.count, ev.attempt, ev.lost, ev.cause)
            print(#ev.data.log_tail, table.concat(ev.data.log_tail, '+'), ev.data.log_tail[3])
            for _, line in ipairs(ev.data.log_tail) do print(line) end
            local keys = {}
            for key in pairs(ev.data) do keys[#keys + 1] = key end
            table.sort(keys)
            print(table.concat(keys, ' '))
            print(pcall(function() ev.type = 'x' end))
            print(pcall(function() ev.data.log_tail[1] = 'x' end))
            print(pcall(function() return ev.data.cod end))
            print(pcall(function() return ev.servise end))
            print(pcall(setmetatable, ev, {}))
        end)",
    );
    stage.crashes([1]);
    assert_eq!(
        stage.logged(),
        [
            "crash\tweb\t7\tnil\t1\t1\t4\tnil",
            "2\tone+two\tnil",
            "one",
            "two",
            "code crashes log_tail",
            "false\ta.lua:10: event is read-only; copy it first",
            "false\ta.lua:11: event is read-only; copy it first",
            "false\ta.lua:12: unknown field `cod` of the data of an event; did you mean `code`?",
            "false\ta.lua:13: unknown field `servise` of an event; did you mean `service`?",
            "false\tcannot change a protected metatable",
        ]
    );
}

#[test]
fn mistakes_are_told_with_file_line_and_the_nearest_name() {
    for (text, told) in [
        ("s3.on('gaveup', print)", "a.lua:2: s3.on: argument 1 (`types`) has an unknown event `gaveup`; did you mean `gave_up`?"),
        ("s3.on({'crash', '@problems'}, print)", "did you mean `@problem`?"),
        ("s3.on({}, print)", "names no event"),
        ("s3.on('crash', {timout = 1}, print)", "unknown option `timout`; did you mean `timeout`?"),
        ("s3.on('crash', {timeout = '1h'}, print)", "`timeout`"),
        ("s3.on('crash', {severity = 'warn'}, print)", "warning"),
        ("s3.on('crash', {dedup = {key = 'x'}}, print)", "`window`"),
        ("s3.on('crash', {batch = {wait = '1s', flush_at = 'x'}}, print)", "did you mean `flush_on`?"),
        ("s3.on('crash', {rate = '10'}, print)", "10/1m"),
        ("s3.on('crash', {name = 'x'}, print) s3.on('stop', {name = 'x'}, print)", "there is a handler `x` already"),
        ("s3.on('crash')", "function"),
        ("s3.on('crash', {name = ''}, print)", "`name` has 1 to 64 letters"),
        ("s3.on('crash', {name = ('x'):rep(65)}, print)", "`name` has 1 to 64 letters"),
        ("s3.on('crash', {concurrency = 17}, print)", "`concurrency` is a number from 1 to 16, found 17"),
        ("s3.on('crash', {concurrency = 0}, print)", "`concurrency` is a number from 1 to 16, found 0"),
        ("s3.on('crash', {rate = '0/1m'}, print)", "10/1m"),
        ("s3.on('crash', {rate = '1000001/1m'}, print)", "10/1m"),
        ("s3.on('crash', {rate = '1/0s'}, print)", "10/1m"),
        ("for n = 1, 65 do s3.on('crash', print) end", "a script has at most 64 handlers"),
        ("s3.every('1x', print)", "duration"),
        ("s3.every(0, print)", "at least 10ms"),
        ("s3.sleep(1)", "a.lua:2: s3.sleep: call this inside a handler"),
        ("s3.decide('stopp', print)", "did you mean \"stop\"?"),
        ("s3.check('c', print)", "only a plugin"),
        ("local x = nil + 1", "a.lua:2: attempt to perform arithmetic on a nil value"),
        ("s3.on('crash' print)", "a.lua:2: "),
        ("error('no such luck')", "a.lua:2: no such luck"),
        ("error({message = 'm'})", ""),
        ("require 'nope'", "a.lua:2: cannot require `nope`: there is no nope.lua"),
        ("require '../etc/passwd'", "a.lua:2: cannot require `../etc/passwd`"),
        ("require 'a'", "requires itself"),
    ] {
        let message = refused(ScriptKind::Hook, text);
        assert!(message.contains(told), "{text}\n{message}");
    }
    for (text, told) in [
        ("s3.check('c', print) s3.check('c', print)", "there is a `c` already"),
        ("s3.probe('c', print) s3.probe('c', print)", "there is a `c` already"),
        ("s3.command('c', {summary = 's'}, print) s3.command('c', {summary = 's'}, print)", "there is a command `c` already"),
    ] {
        let message = refused(ScriptKind::Plugin, text);
        assert!(message.contains(told), "{text}\n{message}");
    }
    let message = refused(ScriptKind::Plugin, "s3.decide('stop', print)");
    assert!(message.contains("decide:stop"), "{message}");
}

#[test]
fn there_is_nothing_in_a_state_that_reaches_outside() {
    let stage = hook(
        "s3.on('crash', function()
            print(io, package, dofile, loadfile, string.dump, os.exit, os.execute, os.getenv, os.remove, debug.sethook, warn)
            print(type(os.time()), type(os.date()), type(os.clock()), os.difftime(2, 1), type(collectgarbage('count')))
            print(pcall(collectgarbage, 'stop'))
            print(load('\\27Lua'))
            print(load(function() return nil end), load('return 1 + 1', 'x', 'b')(), load('return y', 'x', 't', {y = 3})())
            print(pcall(setmetatable, {}, {__gc = print}))
            print(pcall(function() getmetatable('').__index = nil end))
            print(debug.traceback('here'):match('^here\\nstack traceback:') ~= nil)
            print(require('lib').x, require('lib') == require('lib'), require('section3') == s3)
            print(xpcall(function(x) error({code = x}) end, function(e) return e.code + 1 end, 4))
            print(pcall(error, 'plain', 0))
            print(select('#', pcall(function() return nil, nil end)))
            print(type(select(2, pcall(string.rep, 'x', 1 << 40))))
        end)",
    );
    stage.crashes([1]);
    let logged = stage.logged();
    let expected = [
        "nil\tnil\tnil\tnil\tnil\tnil\tnil\tnil\tnil\tnil\tnil",
        "number\tstring\tnumber\t1.0\tnumber",
        "false\tcollectgarbage does `count` only",
        "nil\tattempt to load a binary chunk (mode is 't')",
        "",
        "false\ta metatable here has no `__gc`: close what you open",
        "false\t",
        "true",
        "1\ttrue\ttrue",
        "false\t5",
        "false\tplain",
        "3",
        "string",
    ];
    assert_eq!(logged.len(), expected.len(), "{logged:#?} {:?}", stage.done());
    for (found, wanted) in logged.iter().zip(expected) {
        assert!(found.starts_with(wanted), "{found} is not {wanted}");
    }
    assert!(logged[4].ends_with("\t2\t3"), "{}", logged[4]);
}

#[test]
fn a_handler_fails_by_what_it_raises_or_returns() {
    for (body, message) in [
        ("return false, 'the reason'", "the reason"),
        ("return false, {message = 'm', code = 'c'}", "m"),
        ("return false", "it returned false"),
        ("error('raised')", "a.lua:3: raised"),
        ("error({message = 'x'})", ""),
        ("local t = nil; t.x = 1", "a.lua:3: attempt to index a nil value (local 't')"),
        ("s3.on('crash', print)", "a.lua:3: s3.on: call this in the file body, not inside a handler"),
        (
            "table.sort({3, 2, 1}, function(a, b) s3.sleep(0) return a < b end)",
            "a.lua:3: s3.sleep: cannot wait here: move the call out of the callback",
        ),
        ("('x'):gsub('.', function() s3.sleep(0) end)", "cannot wait here"),
    ] {
        let stage = hook(&format!("s3.on('crash', function()\n{body} end)"));
        let error = stage.crashes([1]).error();
        assert_eq!(error.kind, HookFaultKind::Error, "{body}: {error:?}");
        assert!(error.message.starts_with(message) || error.message.contains(message), "{body}: {error:?}");
    }
    let stage = hook("s3.on('crash', function() local function f() return f() + 1 end f() end)");
    // Its heap fills within a second, but where it has to share a processor with many others.
    assert!(matches!(stage.crashes([1]).error().kind, HookFaultKind::Memory | HookFaultKind::Cpu));
    let stage = hook("local function deep() error('x') end\ns3.on('crash', function()\ndeep() end)");
    let traceback = stage.crashes([1]).error().traceback.expect("a traceback");
    assert!(
        traceback.starts_with("a.lua:2: in ") && traceback.contains("a.lua:4: in ") && !traceback.contains("section3:"),
        "{traceback}"
    );
    for body in ["", "return true", "return nil, 'x'", "return 'false'"] {
        let stage = hook(&format!("s3.on('crash', function() {body} end)"));
        assert_eq!(stage.crashes([1]).done()[0].error, None, "{body}");
    }
}

#[test]
fn coroutines_of_a_script_can_wait() {
    let stage = hook(
        "s3.on('crash', function()
            local co = coroutine.wrap(function(a)
                s3.sleep(0)
                local b = coroutine.yield(a + 1)
                s3.sleep('1ms')
                error('from inside ' .. b)
            end)
            print(co(1))
            print(pcall(co, 'x'))
            local other = coroutine.create(function() s3.sleep(0) return 'done' end)
            print(coroutine.resume(other))
            print(coroutine.resume(other))
            print(coroutine.status(other), coroutine.close(other))
        end)",
    );
    assert_eq!(stage.crashes([1]).done()[0].error, None);
    assert_eq!(
        stage.logged(),
        ["2", "false\ta.lua:7: from inside x", "true\tdone", "false\tcannot resume dead coroutine", "dead\ttrue",]
    );
}

#[test]
fn every_delivery_is_begun_and_done_exactly_once() {
    let stage =
        hook("s3.on('crash', {filter = function(ev) return ev.seq ~= 3 end}, function(ev) s3.sleep(0) print(ev.seq) end)");
    stage.crashes([1, 2, 3, 4]);
    assert_eq!(stage.logged(), ["1", "2", "4"]);
    let mut done: Vec<u64> = stage.done().into_iter().flat_map(|done| done.deliveries).collect();
    done.sort_unstable();
    assert_eq!(done, [1, 2, 3, 4]);
    let told = stage.told.borrow();
    let began = told.iter().filter_map(|frame| if let FromHost::Began { deliveries } = frame { Some(deliveries) } else { None });
    assert_eq!(began.flatten().copied().collect::<Vec<_>>(), [1, 2, 4]);
}

#[test]
fn who_is_dropped_in_the_middle_is_done_as_well() {
    let stage = hook("s3.on('crash', function() s3.sleep('1d') end)");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        stage.desk.open();
        stage.desk.deliver(&crash(1, "web"));
        while stage.told.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    drop(local);
    assert_eq!(stage.error().kind, HookFaultKind::Timeout);
}

#[test]
fn a_batch_is_a_list() {
    let stage = hook(
        "s3.on('crash', {batch = {wait = '1d', max = 3}}, function(events)
            local seqs = {}
            for i, ev in ipairs(events) do seqs[i] = ev.seq end
            print(table.concat(seqs, ' '))
        end)",
    );
    stage.crashes(1..=7);
    assert_eq!(stage.logged(), ["1 2 3", "4 5 6", "7"]);
}

#[test]
fn the_same_again_comes_as_one_with_its_count() {
    let stage = hook("s3.on('crash', {dedup = {key = 'code', window = '1d'}}, function(ev) print(ev.seq, ev.count) end)");
    stage.crashes(1..=5);
    assert_eq!(stage.logged(), ["1\t1", "5\t4"]);
}

#[test]
fn timers_and_spawned_functions_are_bounded() {
    let stage = hook(
        "local ticks = 0
        local timer
        timer = s3.every('10ms', {immediate = true}, function() ticks = ticks + 1 if ticks == 3 then timer:cancel() end end)
        s3.spawn(function() while ticks < 3 do s3.sleep('1ms') end print('three') end)
        s3.on('crash', function()
            local made = 0
            print(pcall(function() while true do s3.after('1d', print) made = made + 1 end end))
            print(made < 64)
            local spawned = 0
            print(pcall(function() while true do s3.spawn(function() s3.sleep(0) end) spawned = spawned + 1 end end))
            print(spawned < 65)
        end)",
    );
    stage.crashes([1]);
    let logged = stage.logged();
    assert!(logged[0].ends_with("a script has at most 64 timers at once"), "{logged:?}");
    assert!(logged[2].ends_with("a script has at most 64 spawned functions at once"), "{logged:?}");
    assert_eq!((&*logged[1], &*logged[3]), ("true", "true"));
    assert!(logged.contains(&"three".to_owned()), "{logged:?}");
}

#[test]
fn a_timer_that_fails_says_so() {
    let stage = hook("s3.after(0, function() error('tick') end)\ns3.spawn(function() s3.sleep('50ms') error('aside') end)");
    stage.play(|_| ());
    let told = stage.told.borrow();
    let failed: Vec<_> = told
        .iter()
        .filter_map(|frame| {
            if let FromHost::Failed { handler, error, .. } = frame { Some((handler.as_deref(), &error.message)) } else { None }
        })
        .collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed[0].0 == Some("after-0ms") && failed[1].0.is_none(), "{failed:?}");
}

#[test]
fn questions_are_answered() {
    let text = "s3.decide('start', {service = 'web*'}, function(c) s3.sleep(0) return {verdict = 'delay', ms = 5, why = c.service} end)
        s3.check('c', function(c) if c.pid == 1 then return true end return false, 'not one' end)
        s3.check('odd', function() return 1 end)
        s3.probe('p', function() return true end)
        s3.command('greet', {summary = 'says', args = {'name', 'more?'}}, function(args) return {args.name, args[1], args.more} end)
        s3.command('no', {summary = 'fails'}, function() return nil, {message = 'because'} end)";
    let stage = stage(ScriptKind::Plugin, lua(text)).unwrap_or_else(|error| panic!("{error:?}"));
    let loaded = stage.desk.loaded(1);
    assert_eq!(loaded.checks, ["c", "odd"]);
    assert_eq!(loaded.decides, [("start".to_owned(), Some("web*".to_owned()))]);
    assert_eq!(loaded.commands[0], ("greet".to_owned(), "says".to_owned()));
    let decide = |service: &str| Question::Decide { point: "start".to_owned(), subject: json!({"service": service}) };
    assert_eq!(stage.answer(decide("web1")), Ok(json!({"verdict": "delay", "ms": 5, "why": "web1"})));
    assert_eq!(stage.answer(decide("db")), Ok(Value::Null));
    let check = |name: &str, pid: i32| Question::Check { name: name.to_owned(), subject: json!({"pid": pid}) };
    assert_eq!(stage.answer(check("c", 1)), Ok(json!({"ok": true})));
    assert_eq!(stage.answer(check("c", 2)), Ok(json!({"ok": false, "reason": "not one"})));
    assert!(stage.answer(check("odd", 1)).unwrap_err().message.contains("returned integer"));
    assert!(stage.answer(check("none", 1)).unwrap_err().message.contains("there is no check `none`"));
    assert_eq!(stage.answer(Question::Probe { name: "p".to_owned(), subject: json!({}) }), Ok(json!({"ok": true})));
    let command = |name: &str, args: &[&str]| Question::Command {
        name: name.to_owned(),
        args: args.iter().map(|word| (*word).to_owned()).collect(),
    };
    assert_eq!(stage.answer(command("greet", &["x"])), Ok(json!(["x", "x"])));
    assert!(stage.answer(command("greet", &[])).unwrap_err().message.contains("usage: greet NAME MORE?"));
    assert_eq!(stage.answer(command("no", &[])).unwrap_err().message, "because");
}

#[test]
fn of_many_questions_at_once_the_last_are_refused() {
    let text = "s3.check('c', function() s3.sleep('10ms') return true end)";
    let stage = stage(ScriptKind::Plugin, lua(text)).unwrap_or_else(|error| panic!("{error:?}"));
    stage.play(|desk| {
        for number in 1..=66 {
            let question = Question::Check { name: "c".to_owned(), subject: json!({}) };
            desk.ask(Ask { ask: number, script: "a".to_owned(), deadline_ms: 60_000, question });
        }
    });
    let told = stage.told.borrow();
    let refused: Vec<_> = told
        .iter()
        .filter_map(|frame| match frame {
            FromHost::Answer { ask, result: Err(error), .. } => Some((*ask, error.message.as_str())),
            _ => None,
        })
        .collect();
    let message = "there are 64 questions to it already";
    assert_eq!((told.len(), refused), (66, vec![(65, message), (66, message)]));
}

/// What a script raises, gives as its reason, or is called in a traceback: no secret that it has read leaves the host.
#[test]
fn secrets_are_not_told_with_a_failure() {
    for body in [
        format!("error('no: {SECRET}')"),
        format!("return false, 'no: {SECRET}'"),
        format!("local function {SECRET}() error('no') end {SECRET}() print(1)"),
    ] {
        // It has the text from elsewhere, such as an answer that repeats it.
        let stage = hook(&format!("local key = s3.secret('key')\ns3.on('crash', function() {body} end)"));
        let error = stage.crashes([1]).error();
        assert!(error.message.contains("no"), "{body}: {error:?}");
        assert!(!format!("{error:?}").contains(SECRET), "{body}: {error:?}");
    }
}

/// Whatever a script catches errors with, a run that is over its limit is not caught.
#[test]
fn nothing_catches_the_end_of_a_run() {
    let spin = "function() while true do end end";
    for catch in [
        format!("pcall({spin})"),
        format!("xpcall({spin}, function(why) return why end)"),
        format!("coroutine.resume(coroutine.create({spin}))"),
        format!("pcall(coroutine.wrap({spin}))"),
        // What is closed here raises on its way out.
        format!(
            "local co = coroutine.create(function() local x <close> = setmetatable({{}}, {{__close = {spin}}}) coroutine.yield() end)
             coroutine.resume(co) coroutine.close(co)"
        ),
    ] {
        let stage = hook(&format!("s3.on('crash', function() {catch} print('went on') end)"));
        let error = stage.crashes([1]).error();
        assert_eq!((error.kind, stage.logged()), (HookFaultKind::Cpu, Vec::new()), "{catch}: {error:?}");
    }
}

#[test]
fn a_question_that_takes_too_long_is_answered_by_its_end() {
    let stage =
        stage(ScriptKind::Plugin, lua("s3.check('c', function() s3.sleep('1d') end)")).unwrap_or_else(|e| panic!("{e:?}"));
    let question = Question::Check { name: "c".to_owned(), subject: json!({}) };
    let ask = Ask { ask: 1, script: "a".to_owned(), deadline_ms: 1, question };
    stage.play(|desk| desk.ask(ask));
    let told = stage.told.borrow();
    assert!(
        matches!(&told[..], [FromHost::Answer { result: Err(error), .. }] if error.kind == HookFaultKind::Timeout),
        "{told:?}"
    );
}

#[test]
fn what_a_manifest_promises_is_what_is_registered() {
    let with = |provides: Provides| {
        let Content::Lua { folder, entry, .. } = lua("s3.on('crash', {name = 'x'}, print) s3.every('1d', {name = 't'}, print)")
        else {
            unreachable!("it is Lua")
        };
        stage(ScriptKind::Plugin, Content::Lua { folder, entry, provides: Some(provides) })
            .map(drop)
            .map_err(|error| error.message)
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let handlers = |names: &[&str]| Provides { handlers: words(names), ..Provides::default() };
    assert_eq!(with(handlers(&["x", "t"])), Ok(()));
    assert!(with(handlers(&["x"])).unwrap_err().contains("`t`"));
    assert!(with(Provides { checks: words(&["c"]), ..handlers(&["x", "t"]) }).unwrap_err().contains("provides `c` (checks)"));
}

#[test]
fn a_program_reads_the_event_and_fails_by_its_exit_code() {
    let program = Program {
        on: vec!["crash".to_owned()],
        service: None,
        run: vec!["./page.sh".to_owned()],
        timeout: Duration::from_secs(9),
        dir: "/config".into(),
    };
    let stage = stage(ScriptKind::Hook, Content::Program(program)).unwrap_or_else(|error| panic!("{error:?}"));
    stage.play(|desk| {
        for number in [1, 2] {
            desk.deliver(&Delivery { handler: "a".to_owned(), ..crash(number, "web") });
        }
    });
    let executed = stage.record.executed.borrow();
    let request = &executed[0];
    assert_eq!((request.dir.as_deref(), request.max_output), (Some("/config".as_ref()), 4096));
    let event: Value = json::from_slice(&request.stdin).unwrap();
    assert_eq!((&event["data"]["code"], &event["attempt"], &event["lost"]), (&json!(7), &json!(1), &json!(4)));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(request.env, [pair("SECTION3_EVENT", "crash"), pair("SECTION3_SERVICE", "web"), pair("SECTION3_CODE", "7")]);
    let errors: Vec<_> = stage.done().into_iter().map(|done| done.error.expect("it failed")).collect();
    assert_eq!((errors[0].kind, &*errors[0].message), (HookFaultKind::Error, "./page.sh ended with exit 3: no such page"));
    assert_eq!(errors[1].kind, HookFaultKind::Timeout);
}
