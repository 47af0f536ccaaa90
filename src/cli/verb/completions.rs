//! `section3 completions`: for the common shells, written from the arguments, so they cannot drift. Small on purpose: the
//! generators of others take more of a static binary than all of the log pump. Names of services are asked of the supervisor
//! that runs when the key is pressed.

use std::fmt::Write;

use clap::{Arg, Args, Command, ValueEnum};

use crate::cli::context::Context;
use crate::cli::exit;
use crate::cli::out::Halt;
use crate::cli::words::{self, Help, Takes, Verb};

/// Whose completions can be written.
#[derive(ValueEnum, Clone, Copy, Debug)]
#[allow(missing_docs, reason = "their names say it; help would list them one a line")]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What names services, one a line; nothing where no supervisor runs.
const NAMES: &str = "section3 status 2>/dev/null | cut -d ' ' -f 1";

#[derive(Args)]
pub struct Completions {
    /// Shell
    shell: Shell,
}

impl Verb for Completions {
    const HELP: Help = Help {
        name: "completions",
        about: "Print the completions of a shell",
        more: "",
        example: "section3 completions bash > /etc/bash_completion.d/section3",
    };
    const TAKES: Takes = Takes::NOTHING;

    fn run(self, context: Context<'_>) -> Result<u8, Halt> {
        let mut command = words::command(super::TABLE);
        command.build();
        let mut places = Vec::new();
        walk(&command, "section3", &mut places);
        let text = match self.shell {
            Shell::Bash => bash(&places),
            Shell::Zsh => zsh(&places),
            Shell::Fish => fish(&places),
        };
        context.out.write(text.as_bytes())?;
        Ok(exit::DONE)
    }
}

/// What can follow a command.
struct Place {
    /// The words up to it, such as `section3 tail`.
    path: String,
    /// What can follow; flags with their dashes.
    words: Vec<Word>,
    /// Names of services can follow too.
    takes_names: bool,
}

struct Word {
    text: String,
    help: String,
    is_flag: bool,
    takes_value: bool,
}

fn walk(command: &Command, path: &str, places: &mut Vec<Place>) {
    let first_line = |help: Option<&clap::builder::StyledStr>| {
        let help = help.map(ToString::to_string).unwrap_or_default();
        help.lines().next().unwrap_or_default().to_owned()
    };
    let flag = |arg: &Arg, text: String| Word {
        text,
        help: first_line(arg.get_help()),
        is_flag: true,
        takes_value: arg.get_action().takes_values(),
    };
    let mut words: Vec<Word> = Vec::new();
    for inner in command.get_subcommands() {
        let (text, help) = (inner.get_name().to_owned(), first_line(inner.get_about()));
        words.push(Word { text, help, is_flag: false, takes_value: false });
    }
    let mut takes_names = false;
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        words.extend(arg.get_short().map(|short| flag(arg, format!("-{short}"))));
        words.extend(arg.get_long().map(|long| flag(arg, format!("--{long}"))));
        takes_names |= arg.is_positional() && arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "NAME"));
        for value in arg.get_possible_values().iter().filter(|_| arg.is_positional()) {
            words.push(Word { text: value.get_name().to_owned(), help: String::new(), is_flag: false, takes_value: false });
        }
    }
    places.push(Place { path: path.to_owned(), words, takes_names });
    // `help` knows all commands again.
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        walk(inner, &format!("{path} {}", inner.get_name()), places);
    }
}

/// All paths but the first, quoted, for a `case`.
fn paths(places: &[Place], between: &str) -> String {
    places.iter().skip(1).map(|place| format!("'{}'", place.path)).collect::<Vec<_>>().join(between)
}

/// In single quotes, as all three shells read them.
fn quoted(text: &str, quote: &str) -> String {
    format!("'{}'", text.replace('\'', quote))
}

fn bash(places: &[Place]) -> String {
    let mut text = format!(
        "_section3() {{
    local at path=section3 words=
    for at in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do
        case \"$path $at\" in {}) path=\"$path $at\" ;; esac
    done
    case $path in
",
        paths(places, "|")
    );
    for Place { path, words, takes_names } in places {
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let names = if *takes_names { format!(" $({NAMES})") } else { String::new() };
        let _ = writeln!(text, "    '{path}') words=\"{}{names}\" ;;", words.join(" "));
    }
    text + "    esac
    COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))
}
complete -o default -F _section3 section3
"
}

fn zsh(places: &[Place]) -> String {
    let mut text = format!(
        "#compdef section3
_section3() {{
    local at path_=section3
    local -a verbs flags names
    for at in \"${{(@)words[2,CURRENT-1]}}\"; do
        case \"$path_ $at\" in ({}) path_=\"$path_ $at\" ;; esac
    done
    case $path_ in
",
        paths(places, "|")
    );
    for Place { path, words, takes_names } in places {
        let list = |flags: bool| {
            let chosen = words.iter().filter(|word| word.is_flag == flags);
            chosen.map(|word| quoted(&format!("{}:{}", word.text, word.help), "'\\''")).collect::<Vec<_>>().join(" ")
        };
        let names = if *takes_names { format!(" names=(${{(f)\"$({NAMES})\"}})") } else { String::new() };
        let _ = writeln!(text, "    ('{path}') verbs=({}) flags=({}){names} ;;", list(false), list(true));
    }
    text + "    esac
    _describe -o option flags
    _describe command verbs
    _describe service names
    (( $#verbs + $#names )) || _files
}
if [ \"$funcstack[1]\" = _section3 ]; then _section3 \"$@\"; else compdef _section3 section3; fi
"
}

fn fish(places: &[Place]) -> String {
    let mut text = format!(
        "function __section3_path
    set -l path section3
    for at in (commandline -opc)
        switch \"$path $at\"
            case {}
                set path \"$path $at\"
        end
    end
    echo $path
end
",
        paths(places, " ")
    );
    for Place { path, words, takes_names } in places {
        let mut line = |what: &str| {
            let _ = writeln!(text, "complete -c section3 -n \"contains -- '{path}' (__section3_path)\" {what}");
        };
        for Word { text, help, is_flag, takes_value } in words {
            let kind = match (is_flag, text.strip_prefix("--")) {
                (true, Some(long)) => format!("-l {long}"),
                (true, None) => format!("-s {}", text.trim_start_matches('-')),
                (false, _) => format!("-f -a {text}"),
            };
            let value = if *takes_value { " -r" } else { "" };
            line(&format!("{kind}{value} -d {}", quoted(help, "\\'")));
        }
        if *takes_names {
            line(&format!("-f -a \"({NAMES})\""));
        }
    }
    text
}
