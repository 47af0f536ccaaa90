//! Whole entries: what a plugin is told, and every word of what is said about a wrong one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::manifest;
use crate::config::{Problems, parse};
use crate::spec::Scripts;
use crate::spec::script::{Origin, Provides};

const MANIFEST: &str = "\
name: beat
version: 1.2
api: 1
summary: Says that it is there
permissions: [\"http:${config.url}\", \"secret:${config.token}\", \"services:read\"]
provides: {handlers: [beat], commands: [ping]}
config:
  type: object
  required: [url]
  properties:
    url: {type: string, format: url}
    token: {type: string, format: secret}
    every: {type: string, format: duration, default: 1m, minimum: 10s}
    size: {type: string, format: bytes, default: 20K, maximum: 1M}
    services: {type: array, items: {type: string, format: service-glob}, default: [\"*\"], maxItems: 2}
    kind: {type: string, enum: [a, bb, ccc]}
    many: {type: integer, minimum: 1, maximum: 5}
    share: {type: number, default: 0.5}
    loud: {type: boolean, default: false}
    lines: {type: string, format: regex}
    on: {type: array, items: {type: string, format: event}}
    short: {type: string, minLength: 2, maxLength: 4, pattern: \"^[a-z]+$\"}
    headers: {type: object, additionalProperties: {type: string}}
    inner: {type: object, required: [deep], properties: {deep: {type: string, default: x}, other: {type: integer, default: 3}}}
";

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    for folder in path.ancestors().skip(1).take(2) {
        // Whatever the umask of who runs the tests.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

fn shelf(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    write(&folder.path().join("plugins/beat/plugin.yml"), manifest, 0o644);
    write(&folder.path().join("plugins/beat/init.lua"), "", 0o644);
    folder
}

fn read(folder: &Path, text: &str) -> Result<Scripts, Problems> {
    let file = folder.join("section3.yml").display().to_string();
    let env = |name: &str| (name == "HOST").then(|| "h.example".to_owned());
    parse(&format!("services: {{}}\n{text}"), &file, &env).map(|spec| spec.scripts)
}

fn said(folder: &Path, text: &str) -> String {
    let problems = read(folder, text).expect_err(text).to_string();
    problems.replace(&format!("{}/section3.yml", folder.display()), "F").replace(&folder.display().to_string(), "D")
}

#[test]
fn settings_are_complete() {
    let folder = shelf(MANIFEST);
    let text = "secrets: {tok: {env: T}}\nplugins:\n  beat:\n    allow: [\"http:*.example\", \"services:read\", \"secret:tok\"]\n    \
                url: \"https://${HOST}/x\"\n    token: tok\n    every: 1m30s\n    kind: bb\n    many: 5\n    on: [crash, '@problem']\n    \
                short: abc\n    headers: {A: 1, B: x}\n    inner: {deep: y}\n";
    let scripts = read(folder.path(), text).expect("good");
    let [plugin] = &scripts.plugins[..] else { panic!("{scripts:?}") };
    assert_eq!((plugin.name.as_str(), plugin.version.as_str()), ("beat", "1.2"));
    assert_eq!(plugin.origin, Origin::Folder(folder.path().join("plugins/beat")));
    assert_eq!(plugin.permissions, ["http:h.example", "services:read", "secret:tok"]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(plugin.provides, Provides { handlers: names(&["beat"]), commands: names(&["ping"]), ..Provides::default() });
    assert_eq!(
        plugin.settings,
        json!({
            "url": "https://h.example/x", "token": "tok", "every": 90, "size": 20480, "services": ["*"], "kind": "bb", "many": 5,
            "share": 0.5, "loud": false, "on": ["crash", "@problem"], "short": "abc", "headers": {"A": "1", "B": "x"},
            "inner": {"deep": "y", "other": 3}
        })
    );
}

#[test]
fn what_is_not_allowed_is_withheld_with_what_to_write() {
    let folder = shelf(MANIFEST);
    let scripts = read(folder.path(), "plugins: {beat: {url: \"http://a:80/\", allow: [\"services:read\"]}}").expect("good");
    assert!(scripts.plugins.is_empty());
    assert_eq!(scripts.withheld[0].missing, ["http:a"]);
    assert_eq!(scripts.withheld[0].allow, ["services:read", "http:a"]);
    let granted = "plugins: {beat: {url: \"http://a:80/\", allow: [\"services:read\", \"http:a\"]}}";
    assert!(read(folder.path(), granted).expect("good").withheld.is_empty());
}

#[test]
fn those_in_the_binary_are_granted_and_others_come_before_them() {
    let folder = shelf(MANIFEST);
    let scripts = read(folder.path(), "plugins: {webhook: {url: \"http://a/\"}}").expect("good");
    assert_eq!(scripts.plugins[0].origin, Origin::Binary);
    write(&folder.path().join("plugins/webhook/plugin.yml"), "{name: webhook, version: 1, api: 1, summary: mine}", 0o644);
    write(&folder.path().join("plugins/webhook/init.lua"), "", 0o644);
    let scripts = read(folder.path(), "plugins: {webhook: }").expect("good");
    assert_eq!(scripts.plugins[0].origin, Origin::Folder(folder.path().join("plugins/webhook")));
    let found = super::folder::find("webhook", None, folder.path()).expect("good").expect("there");
    assert_eq!(found.shadowed, [Origin::Binary]);
    assert!(super::folder::names(folder.path()).contains(&"beat".to_owned()));
}

#[test]
fn one_that_is_switched_off_is_only_looked_at() {
    let folder = shelf(MANIFEST);
    let scripts = read(folder.path(), "plugins: {beat: {enabled: false}, gone: {enabled: false}}").expect("good");
    assert!(scripts.is_empty() && scripts.withheld.is_empty());
}

#[test]
fn what_is_wrong_with_an_entry() {
    let folder = shelf(MANIFEST);
    for (entry, expected) in [
        ("[beat]", "F:2:1: plugins: found a list; allowed: a map of plugins"),
        (
            "{baet: {}}",
            "F:2:11: plugins.baet: found `baet`; no such plugin in `plugins/` beside the config, in /usr/share/section3/plugins and in the binary; did you mean `beat`?",
        ),
        ("{webhok: {}}", "did you mean `webhook`?"),
        ("{a.b: {}}", "F:2:11: plugins.a.b: found the name `a.b`; a plugin's name is"),
        ("{beat: {}}", "F:2:11: plugins.beat: `url` is missing"),
        ("{beat: }", "F:2:11: plugins.beat: `url` is missing"),
        ("{beat: 5}", "F:2:17: plugins.beat: found `5`; allowed: a map of settings"),
        (
            "{beat: {url: x}}",
            "F:2:23: plugins.beat.url: found `x`; allowed: `http://HOST/PATH`, `https://HOST/PATH` or `unix:/SOCKET:/PATH`",
        ),
        ("{beat: {url: \"unix:/a\"}}", "found `unix:/a`; allowed: `http://HOST/PATH`"),
        (
            "{beat: {url: \"http://a/\", evry: 5s}}",
            "F:2:36: plugins.beat.evry: unknown key `evry`; allowed: `url`, `token`, `every`, `size`, `services`, `kind`, `many`, `share`, `loud`, `lines`, `on`, `short`, `headers`, `inner`, `allow`, `path`, `enabled`; did you mean `every`?",
        ),
        ("{beat: {url: \"http://a/\", every: 5s}}", "F:2:43: plugins.beat.every: found `5s`; allowed: at least 10s"),
        ("{beat: {url: \"http://a/\", every: 5}}", "found `5`; a duration is a number with a unit"),
        ("{beat: {url: \"http://a/\", size: 2M}}", "found `2M`; allowed: at most 1048576 bytes"),
        (
            "{beat: {url: \"http://a/\", kind: b}}",
            "F:2:42: plugins.beat.kind: found `b`; allowed: `a`, `bb`, `ccc`; did you mean `a`?",
        ),
        ("{beat: {url: \"http://a/\", many: 6}}", "found `6`; allowed: 1 to 5"),
        ("{beat: {url: \"http://a/\", many: x}}", "found `x`; allowed: a whole number"),
        ("{beat: {url: \"http://a/\", share: x}}", "found `x`; allowed: a number"),
        ("{beat: {url: \"http://a/\", loud: yes}}", "found `yes`; allowed: `true`, `false`; did you mean `true`?"),
        ("{beat: {url: \"http://a/\", kind: true}}", "found `true`; allowed: a text"),
        ("{beat: {url: \"http://a/\", lines: \"(\"}}", "found `(`; allowed: a regular expression"),
        (
            "{beat: {url: \"http://a/\", on: [crsh]}}",
            "F:2:41: plugins.beat.on[0]: found `crsh`; no such event; did you mean `crash`?",
        ),
        (
            "{beat: {url: \"http://a/\", services: [\"a b\"]}}",
            "plugins.beat.services[0]: found `a b`; allowed: a name of services",
        ),
        ("{beat: {url: \"http://a/\", services: [a, b, c]}}", "found a list; allowed: at most 2 items"),
        ("{beat: {url: \"http://a/\", services: a}}", "found `a`; allowed: a list"),
        ("{beat: {url: \"http://a/\", short: abcde}}", "found `abcde`; allowed: 2 characters to 4 characters"),
        ("{beat: {url: \"http://a/\", short: A1}}", "found `A1`; allowed: what matches `^[a-z]+$`"),
        ("{beat: {url: \"http://a/\", headers: {A: [x]}}}", "plugins.beat.headers.A: found a list; allowed: a text"),
        ("{beat: {url: \"http://a/\", inner: {}}}", "F:2:36: plugins.beat.inner: `deep` is missing"),
        (
            "{beat: {url: \"http://a/\", inner: {deep: x, oher: 1}}}",
            "unknown key `oher`; allowed: `deep`, `other`; did you mean `other`?",
        ),
        ("{beat: {url: \"http://a/\", url: \"http://b/\"}}", "found `url` a second time"),
        ("{beat: {url: \"http://a/\", allow: [htpp:a]}}", "F:2:44: plugins.beat.allow[0]: found `htpp:a`; allowed: `http:HOST`"),
        ("{beat: {url: \"http://a/\", allow: http:a}}", "found `http:a`; allowed: a list of permissions"),
        ("{beat: {url: \"http://a/\", path: nowhere}}", "F:2:11: plugins.beat: no such folder: D/nowhere"),
        (
            "{beat: {url: \"http://a/\", path: plugins}}",
            "F:2:11: plugins.beat: D/plugins/plugin.yml: no such file; a plugin is a folder",
        ),
        ("{beat: {enabled: maybe}}", "found `maybe`; allowed: `true`, `false`"),
    ] {
        let found = said(folder.path(), &format!("plugins: {entry}"));
        assert!(found.contains(expected), "{entry}\n{found}");
    }
}

#[test]
fn a_secret_is_named_and_never_shown() {
    let folder = shelf(MANIFEST);
    let found = said(folder.path(), "secrets: {tok: {env: T}}\nplugins: {beat: {url: \"http://a/\", token: tokk}}");
    assert!(found.contains("F:3:43: plugins.beat.token: no such entry in `secrets:`"), "{found}");
    assert!(found.ends_with("did you mean `tok`?") && !found.contains("tokk"), "{found}");
}

#[test]
fn a_hook_and_a_plugin_have_different_names() {
    let folder = shelf(MANIFEST);
    write(&folder.path().join("beat.lua"), "", 0o644);
    let found = said(folder.path(), "hooks: [beat.lua]\nplugins: {beat: {enabled: false}}");
    assert_eq!(found, "F:3:11: plugins.beat: there is a hook of the name `beat`; rename its file");
}

#[test]
fn what_others_can_write_is_no_plugin() {
    let folder = shelf(MANIFEST);
    let entry = "plugins: {beat: {url: \"http://a/\"}}";
    write(&folder.path().join("plugins/beat/lib/more.lua"), "", 0o666);
    let found = said(folder.path(), entry);
    assert!(found.ends_with("D/plugins/beat/lib/more.lua has mode 0666, others can write it; run `chmod go-w` on it"), "{found}");
    fs::remove_file(folder.path().join("plugins/beat/lib/more.lua")).expect("gone");
    std::os::unix::fs::symlink("/tmp", folder.path().join("plugins/beat/lib/link")).expect("a link");
    assert!(said(folder.path(), entry).ends_with("plugins/beat/lib/link is no file"));
    fs::remove_file(folder.path().join("plugins/beat/lib/link")).expect("gone");
    fs::set_permissions(folder.path().join("plugins/beat"), fs::Permissions::from_mode(0o777)).expect("mode");
    assert!(said(folder.path(), entry).contains("D/plugins/beat has mode 0777"));
}

#[test]
fn a_wrong_manifest_is_said_with_its_own_place() {
    let folder = shelf(&MANIFEST.replace("summary:", "sumary:").replace("services:read", "services:raed"));
    assert_eq!(
        said(folder.path(), "plugins: {beat: {url: x}}"),
        "D/plugins/beat/plugin.yml:4:1: sumary: unknown key `sumary`; allowed: `name`, `version`, `api`, `summary`, `permissions`, \
         `provides`, `config`; did you mean `summary`?\nD/plugins/beat/plugin.yml:5:63: permissions[2]: found `services:raed`; allowed: \
         `services:read`, `services:control:GLOB` such as `services:control:web*`"
    );
    let folder = shelf(&MANIFEST.replace("name: beat", "name: other"));
    assert_eq!(
        said(folder.path(), "plugins: {beat: {url: x}}"),
        "D/plugins/beat/plugin.yml: found the name `other`; its folder and its entry call it `beat`"
    );
    fs::remove_file(folder.path().join("plugins/beat/init.lua")).expect("gone");
    write(&folder.path().join("plugins/beat/plugin.yml"), MANIFEST, 0o644);
    assert_eq!(said(folder.path(), "plugins: {beat: {url: x}}"), "D/plugins/beat/plugin.yml: there is no `init.lua` beside it");
}

#[test]
fn manifests_that_are_none() {
    let base = "name: a\nversion: 1\napi: 1\nsummary: s\n";
    let config = |schema: &str| format!("{base}config: {schema}");
    let one = |schema: &str| config(&format!("{{type: object, properties: {{x: {schema}}}}}"));
    for (text, expected) in [
        (String::new(), "no value given; a manifest is a map"),
        ("name: a".to_owned(), "no `version`; a manifest has"),
        (base.replace("api: 1", "api: 2"), "M:3:6: api: found `2`; this section3 has version 1 of the API; allowed: `1`"),
        (base.replace("name: a", "name: a.b"), "M:1:7: name: found `a.b`; a plugin's name is"),
        (format!("{base}permissions: x"), "found `x`; allowed: a list of permissions"),
        (format!("{base}permissions: [\"http:${{config.url}}\"]"), "`config:` has no setting `url`"),
        (format!("{base}permissions: [\"http:${{url}}\"]"), "allowed: one `${config.KEY}`"),
        (format!("{base}provides: {{handler: [x]}}"), "unknown key `handler`; allowed: `handlers`"),
        (format!("{base}provides: {{decides: [exit]}}"), "found `exit`; allowed: `start`, `restart`, `stop`"),
        (format!("{base}provides: {{checks: [a, a]}}"), "it is there a second time"),
        (config("{type: string}"), "the settings of a plugin are an object"),
        (config("{}"), "`type` is missing; allowed: `string`, `integer`"),
        (config("{type: objct}"), "did you mean `object`?"),
        (config("{type: object, properties: {path: {type: string}}}"), "`path` belongs to the entry of every plugin"),
        (config("{type: object, required: [y], properties: {x: {type: string}}}"), "`properties` has no such key"),
        (config("{type: object, additionalProperties: true}"), "found `true`; allowed: `false`"),
        (one("{type: string, format: durration}"), "did you mean `duration`?"),
        (one("{type: string, default: [1]}"), "M:5:55: config.properties.x.default: found a list"),
        (one("{type: string, format: duration, default: soon}"), "found `soon`; a duration is"),
        (one("{type: string, minimum: 5}"), "only a duration or a size has bounds"),
        (
            one("{type: boolean, minimum: 5}"),
            "found `minimum` of type `boolean`; allowed: `type`, `description`, `enum`, `default`",
        ),
        (one("{type: integer, minimum: 5, maximum: 4}"), "it is less than `minimum`"),
        (one("{type: integer, minimum: x}"), "it is no value of this type"),
        (one("{type: string, enum: [a], default: b}"), "found `b`; allowed: `a`"),
        (one("{type: string, pattern: \"(\"}"), "config.properties.x.pattern"),
        (one("{type: array}"), "`items` is missing"),
        (one("{type: integer, minimun: 1}"), "unknown key `minimun`"),
    ] {
        let found = manifest::parse(&text, "M").expect_err(&text).to_string();
        assert!(found.contains(expected), "{text}\n{found}\nexpected {expected}");
    }
}

#[test]
fn what_a_manifest_may_say() {
    let read = manifest::parse(MANIFEST, "M").expect("good");
    assert_eq!((read.name.as_str(), read.version.as_str(), read.summary.as_str()), ("beat", "1.2", "Says that it is there"));
    let wishes: Vec<_> = read.permissions.iter().map(ToString::to_string).collect();
    assert_eq!(wishes, ["http:${config.url}", "secret:${config.token}", "services:read"]);
    let resolve = |settings| read.permissions(&settings).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(resolve(json!({"url": "http://a/"})), Ok(vec!["http:a".to_owned(), "services:read".to_owned()]));
    let bad = resolve(json!({"url": "http:///"})).expect_err("no host");
    assert_eq!(bad.0, "url");
}
