use clap::error::ErrorKind;

use super::*;
use crate::wire::FaultCode;

fn parse(line: &str) -> Result<Asked, clap::Error> {
    Asked::read(verb::TABLE, std::iter::once("section3").chain(line.split_whitespace()).map(OsString::from))
}

fn misread(line: &str) -> String {
    parse(line).err().unwrap_or_else(|| panic!("{line} was understood")).to_string()
}

fn never(_: DaemonArgs) -> u8 {
    panic!("it is no client")
}

#[test]
fn the_arguments_hold_together() {
    words::command(verb::TABLE).debug_assert();
}

#[test]
fn command_lines_that_are_understood() {
    for line in [
        "",
        "--config /c.yml --socket /s --log-dir /l",
        "status",
        "status web db --json",
        "--socket /s status",
        "status --socket /s",
        "start web",
        "start --all --no-wait",
        "stop a b c --timeout 30s",
        "restart web --no-wait",
        "reload --dry-run --apply",
        "tail",
        "tail -n 0 -f",
        "tail -fn 10000 web section3 --raw",
        "wait web --for running --timeout 1m30s",
        "events -f -n 5 --json",
        "signal web HUP",
        "rotate web section3",
        "check",
        "check ./x.yml --json",
        "--config x.yml check",
        "check --config x.yml",
        "init --config x.yml",
        #[cfg(feature = "hooks")]
        "plugin new mine --config x.yml",
        "x mine deploy --config c.yml --log-dir /l",
        "hook list --socket /s",
        "self reexec --socket /s",
        "init",
        "demo",
        #[cfg(feature = "hooks")]
        "hook test x.lua --event crash --service web --set data.code=1 --set severity=error --repeat 5 --every 2s --live --seed 7 --json",
        #[cfg(feature = "hooks")]
        "hook types --out section3.d.lua",
        "completions zsh",
        "man",
        "man status",
        "self version --json",
    ] {
        let mut asked = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(asked.check(), Ok(()), "{line}");
    }
}

#[test]
fn command_lines_that_are_refused() {
    for (line, kind) in [
        ("stauts", ErrorKind::InvalidSubcommand),
        ("status --jsn", ErrorKind::UnknownArgument),
        ("start", ErrorKind::MissingRequiredArgument),
        ("start web --all", ErrorKind::ArgumentConflict),
        ("stop web --timeout 5", ErrorKind::ValueValidation),
        ("stop web --timeout 5s --no-wait", ErrorKind::ArgumentConflict),
        ("reload now", ErrorKind::UnknownArgument),
        ("tail -n -1 web", ErrorKind::ValueValidation),
        ("tail -n 10001 web", ErrorKind::ValueValidation),
        ("tail -n x", ErrorKind::ValueValidation),
        ("wait web", ErrorKind::MissingRequiredArgument),
        ("wait a b --for running", ErrorKind::UnknownArgument),
        ("signal web", ErrorKind::MissingRequiredArgument),
        ("rotate", ErrorKind::MissingRequiredArgument),
        ("demo now", ErrorKind::UnknownArgument),
        ("completions tcsh", ErrorKind::InvalidValue),
        ("self", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("self versoin", ErrorKind::InvalidSubcommand),
    ] {
        let error = parse(line).err().unwrap_or_else(|| panic!("{line} was understood"));
        assert_eq!((error.kind(), error.exit_code()), (kind, i32::from(exit::USAGE)), "{line}: {error}");
    }
}

#[test]
fn a_flag_without_effect_is_refused() {
    for (line, flag) in [
        ("--config c.yml status", "--config"),
        ("--log-dir /l status", "--log-dir"),
        ("status --config c.yml", "--config"),
        ("reload --config c.yml", "--config"),
        ("hook list --config c.yml", "--config"),
        ("check --log-dir /l", "--log-dir"),
        ("plugin list --socket /s", "--socket"),
        ("hook types --socket /s", "--socket"),
        ("check --socket /s", "--socket"),
        ("demo --socket /s", "--socket"),
        ("man --socket /s", "--socket"),
        ("self version --socket /s", "--socket"),
    ] {
        let fault = parse(line).ok().unwrap().check().expect_err(line);
        assert_eq!((fault.code, fault.message), (FaultCode::Usage, format!("`{flag}` has no effect on this command")));
    }
}

#[test]
fn one_config_is_named_once() {
    for line in ["check --config c.yml d.yml", "--config c.yml check d.yml", "init --config c.yml d.yml"] {
        let fault = refused(line);
        assert_eq!((fault.code, fault.message.contains("FILE and `--config`")), (FaultCode::Usage, true), "{line}: {fault}");
    }
}

/// What a help lists is what the command takes.
#[test]
fn help_lists_the_paths_that_have_an_effect() {
    fn walk(command: &mut clap::Command, words: &str, seen: &mut usize) {
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            let words = format!("{words}{} ", inner.get_name());
            let help = inner.render_long_help().to_string();
            for flag in ["--config", "--socket", "--log-dir"] {
                if inner.has_subcommands() {
                    continue;
                }
                if words == "x " && flag != "--socket" {
                    continue;
                }
                let effect = parse(&format!("{words}{} {flag} /x", needed(inner))).ok().unwrap().check();
                assert_eq!(help.contains(&format!("{flag} <")), effect.is_ok(), "{words}{flag}: {effect:?}\n{help}");
                *seen += 1;
            }
            walk(inner, &words, seen);
        }
    }
    /// The arguments without which it is not understood.
    fn needed(command: &clap::Command) -> &'static str {
        match command.get_name() {
            "start" | "stop" | "restart" => "web",
            "wait" => "web --for running",
            "signal" => "web HUP",
            "test" => "x.lua --event crash",
            "completions" => "bash",
            _ if command.get_positionals().any(clap::Arg::is_required_set) => "web",
            _ => "",
        }
    }
    let mut seen = 0;
    let mut words = words::command(verb::TABLE);
    words.build();
    walk(&mut words, "", &mut seen);
    assert!(seen > 60, "{seen}");
}

/// It cannot be one: nothing that a command takes begins with a dash.
#[test]
fn a_flag_of_another_command_is_not_said_to_be_a_value() {
    for line in ["stop web --json", "status -f", "tail web --timeout 3s", "x --jsno"] {
        let error = misread(line);
        assert!(error.contains("unexpected argument") && !error.contains("as a value"), "{line}: {error}");
    }
}

#[test]
fn a_slip_gets_the_nearest_word() {
    let error = misread("stauts");
    assert!(error.contains("'status'"), "{error}");
    let error = misread("status --jsno");
    assert!(error.contains("'--json'"), "{error}");
}

#[test]
fn every_help_names_an_example_and_the_exit_codes() {
    let mut words = words::command(verb::TABLE);
    words.build();
    for verb in words.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Example:\n  section3 "), "{help}");
        assert!(help.contains("Exit codes: 0 done"), "{help}");
    }
}

/// The exit code and standard error of a command that gets no further than itself.
fn refused(line: &str) -> Fault {
    let (mut out, stdout, _) = out::testing::sheets(false);
    let result = carry_out(parse(line).unwrap_or_else(|error| panic!("{line}: {error}")), &mut out, never);
    assert_eq!(stdout.text(), "");
    match result {
        Err(Halt::Fault(fault)) => fault,
        Err(Halt::ReaderGone) | Ok(_) => panic!("{line} was carried out"),
    }
}

#[test]
fn exit_codes() {
    for (line, code) in [
        ("status --socket /nonexistent/s", exit::NO_SUPERVISOR),
        ("tail -f web --socket /nonexistent/s", exit::NO_SUPERVISOR),
        ("stop ../web --socket /nonexistent/s", exit::UNKNOWN_SERVICE),
        ("wait web --for ready --socket /nonexistent/s", exit::USAGE),
        ("signal web TREM --socket /nonexistent/s", exit::USAGE),
        ("man stauts", exit::USAGE),
    ] {
        let fault = refused(line);
        assert_eq!(fault.code.exit_code(), code, "{line}: {fault}");
        assert!(fault.hint.is_some() || line.contains("TREM"), "{line}: {fault}");
    }
}

#[test]
fn generated_pages_are_there() {
    for (line, part) in [
        ("completions bash", "_section3()"),
        ("completions zsh", "#compdef section3"),
        ("completions fish", "complete -c section3"),
        ("man", ".TH section3"),
        ("man status", ".TH section3-status"),
    ] {
        let (mut out, stdout, _) = out::testing::sheets(false);
        let asked = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(matches!(carry_out(asked, &mut out, never), Ok(exit::DONE)));
        assert!(stdout.text().contains(part), "{line}");
    }
}
