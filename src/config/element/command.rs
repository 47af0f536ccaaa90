//! `command:` and `exec:`: a line for the shell or a list that is executed directly.

use crate::config::reader::{Report, Value};
use crate::config::tree::Node;
use crate::spec::Command;

const RULE: &str = "allowed: a line for the shell, or a list of a program and its arguments";

/// Reads a command. A line is the shell's to expand; a list has no shell and is expanded here.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Command> {
    if !matches!(value.node(), Node::List(_)) {
        let line = value.raw_text(report, RULE)?;
        return if line.trim().is_empty() { report.wrong(value, RULE) } else { Some(Command::Shell(line.to_owned())) };
    }
    // Every word is read, so that every wrong one is named.
    let words: Vec<Option<String>> = value
        .items()
        .map(|item| item.word(report, "allowed: a word; write \"\" for an empty argument").map(|word| word.into_owned()))
        .collect();
    let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
    match words.first() {
        Some(program) if !program.trim().is_empty() => Some(Command::Argv(words)),
        Some(_) => report.wrong(value, "the first word is the program and cannot be empty"),
        None => report.wrong(value, "a command of no words runs nothing; write a program and its arguments"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn commands_that_are_allowed() {
        let argv = |words: &[&str]| Command::Argv(words.iter().map(|w| (*w).to_owned()).collect());
        for (text, command) in [
            ("sleep 5", Command::Shell("sleep 5".to_owned())),
            ("echo ${HOME} $$", Command::Shell("echo ${HOME} $$".to_owned())),
            ("true", Command::Shell("true".to_owned())),
            ("|\n  a\n  b\n", Command::Shell("a\nb\n".to_owned())),
            ("[sleep, 5]", argv(&["sleep", "5"])),
            ("[echo, 1.10, 0755, true, \"\"]", argv(&["echo", "1.10", "0755", "true", ""])),
            ("[echo, \"${FIVE}\", $$]", argv(&["echo", "5", "$"])),
        ] {
            assert_eq!(probe::read(text, read), Ok(command), "{text}");
        }
    }

    #[test]
    fn commands_that_are_not() {
        for (text, said) in [
            ("", "no value given; allowed: a line"),
            ("\"\"", "found ``; allowed: a line"),
            ("\"  \"", "found `  `; allowed: a line"),
            ("5", "found `5`; allowed: a line"),
            ("{a: b}", "found a map; allowed: a line"),
            ("[]", "found a list; a command of no words"),
            ("[\"\", a]", "found a list; the first word"),
            ("[a, ~, [b]]", "no value given; allowed: a word; write \"\" for an empty argument | found a list; allowed: a word"),
            ("[a, \"${NO}\"]", "found `${NO}`; `NO` is not set"),
        ] {
            let found = probe::read(text, read).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }
}
