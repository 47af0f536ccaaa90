//! `hook test` and `hook types`: no supervisor anywhere.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::Home;
use crate::support::home::program;

const README: &str = include_str!("../../hooks/README.md");

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `hooks/README.md` tells to try is tried.
#[test]
fn the_commands_of_the_readme_work() {
    let (_, rest) = README.split_once("```sh\n").expect("a block of commands");
    let (block, _) = rest.split_once("```").expect("its end");
    let lines: Vec<&str> = block.lines().collect();
    assert!(lines.len() >= 4 && lines.iter().all(|line| line.starts_with("section3 hook test ")), "{lines:?}");
    for line in lines {
        let command = line.replacen("section3", program(), 1);
        let done = Command::new("sh").args(["-c", &command]).current_dir(repository()).output().expect("a shell");
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        // The one in which gzip fails.
        let code = i32::from(line.contains("exec gzip=1"));
        assert_eq!(done.status.code(), Some(code), "{line}\n{out}{err}");
        assert!(out.contains(" event ") && !out.contains("SECRET-"), "{line}\n{out}");
    }
}

#[test]
fn every_hook_of_the_folder_is_in_its_readme() {
    for entry in std::fs::read_dir(repository().join("hooks")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(name == "README.md" || README.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn a_hook_is_rehearsed() {
    let home = Home::new("services: {}");
    let file = home.path("mine.lua");
    let text = "local s3 = require 'section3'\ns3.on('crash', function(ev)\n  s3.log.info(ev.service .. ev.data.code)\n  \
                if ev.data.code == 9 then error 'nine' end\nend)\n";
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("UTF-8");
    let test = ["hook", "test", file, "--event", "crash"];
    let with = |more: &[&'static str]| home.cli(&[&test[..], more].concat());
    with(&["--service", "db", "--set", "data.code=3"]).exits(0).says(&["info: db3", "1 ended well, 0 wrong"]);
    with(&["--set", "data.code=9"]).exits(1).says(&["mine.lua:4: nine"]);
    let told = with(&["--json", "--repeat", "3", "--every", "1m", "--seed", "5"]).exits(0).out;
    let report: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&report["ok"], &report["fine"]), (&true.into(), &3.into()));
    assert_eq!(report["effects"].as_array().expect("a list").last().expect("one")["at_ms"], 120_000);
    assert_eq!(told, with(&["--json", "--repeat", "3", "--every", "1m", "--seed", "5"]).exits(0).out);
    with(&["--set", "data.cod=9"]).exits(2).says(&["`crash` has no field `data.cod`; did you mean `data.code`?"]);
    with(&["--reply", "GET x"]).exits(2).says(&["METHOD HOST=ANSWERS"]);
    home.cli(&["hook", "test", file, "--event", "crsh"]).exits(2).says(&["did you mean `crash`?"]);
    home.cli(&["hook", "test", "/nonexistent.lua", "--event", "crash"]).exits(1).says(&["/nonexistent.lua"]);
}

#[test]
fn mistakes_are_told_with_file_line_and_what_was_meant() {
    let home = Home::new("services: {}");
    for (body, says) in [
        ("s3.on('crsh', print)", "mine.lua:2: s3.on: "),
        ("s3.on('crash', {nam = 'x'}, print)", "did you mean `name`?"),
        ("s3.on('crash', function(ev) return ev.data.sginal end)", "mine.lua:2: "),
        (
            "s3.on('crash', function(ev) s3.http.request{ulr = 'x'} end)",
            "mine.lua:2: s3.http.request: argument 1 (`request`) has an unknown option `ulr`; did you mean `url`?",
        ),
    ] {
        let file = home.path("mine.lua");
        std::fs::write(&file, format!("local s3 = require 'section3'\n{body}\n")).expect("written");
        home.cli(&["hook", "test", file.to_str().expect("UTF-8"), "--event", "crash"]).exits(1).says(&[says]);
    }
}

#[test]
fn types_are_printed_or_written() {
    let home = Home::new("services: {}");
    let printed = home.cli(&["hook", "types"]).exits(0).out;
    assert!(printed.starts_with("---@meta section3\n") && printed.ends_with("return s3\n"));
    let file = home.path("section3.d.lua");
    home.cli(&["hook", "types", "--out", file.to_str().expect("UTF-8")]).exits(0).says(&["section3.d.lua"]);
    assert_eq!(std::fs::read_to_string(&file).expect("read"), printed);
    home.cli(&["hook", "types", "--out", "/nonexistent/x"]).exits(1).says(&["/nonexistent/x: no such file or directory"]);
}
