//! `limits:`: resource limits.

use crate::config::reader::{Keys, Report, Value};
use crate::spec::{Limit, LimitValue, Resource};
use crate::value::bytes;

const KEYS: Keys = Keys {
    known: &["nofile", "nproc", "core", "memlock", "stack", "as", "fsize"],
    foreign: &[
        ("open_files", "nofile"),
        ("fds", "nofile"),
        ("processes", "nproc"),
        ("pids", "nproc"),
        ("memory", "as"),
        ("vmem", "as"),
    ],
    rule: "allowed: a map such as `{nofile: 65536, core: unlimited}`",
};
const RULE: &str = "allowed: a whole number, a size such as `512M`, or `unlimited`";

/// Reads the limits, in the order of the file.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<Vec<Limit>> {
    let before = report.count();
    let mut limits = Vec::new();
    for (key, value) in value.fields(report, &KEYS)? {
        let Some(height) = value.parsed(report, RULE, height) else { continue };
        if let Some(resource) = resource(key) {
            limits.push(Limit { resource, value: height });
        }
    }
    (report.count() == before).then_some(limits)
}

fn resource(key: &str) -> Option<Resource> {
    Some(match key {
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "core" => Resource::Core,
        "memlock" => Resource::Memlock,
        "stack" => Resource::Stack,
        "as" => Resource::As,
        "fsize" => Resource::Fsize,
        _ => return None,
    })
}

fn height(text: &str) -> Result<LimitValue, String> {
    match text {
        "unlimited" => Ok(LimitValue::Unlimited),
        "-1" | "infinity" | "infinite" => Err(format!("{RULE}; did you mean `unlimited`?")),
        // The largest number is the kernel's word for "unlimited".
        _ => bytes::parse_bytes(text).filter(|n| *n != u64::MAX).map(LimitValue::At).ok_or_else(|| RULE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn limits() {
        let all = "{nofile: 65536, nproc: 0, core: unlimited, memlock: 64K, stack: 8M, as: 2G, fsize: \"1T\"}";
        let heights: Vec<_> = probe::read(all, read).expect("good").into_iter().map(|l| (l.resource, l.value)).collect();
        assert_eq!(
            heights,
            [
                (Resource::Nofile, LimitValue::At(65536)),
                (Resource::Nproc, LimitValue::At(0)),
                (Resource::Core, LimitValue::Unlimited),
                (Resource::Memlock, LimitValue::At(64 << 10)),
                (Resource::Stack, LimitValue::At(8 << 20)),
                (Resource::As, LimitValue::At(2 << 30)),
                (Resource::Fsize, LimitValue::At(1 << 40)),
            ]
        );
        for (text, said) in [
            ("", "no value given; allowed: a map"),
            ("[nofile]", "found a list; allowed: a map"),
            ("{nofil: 5}", "unknown key `nofil`; allowed: `nofile`, `nproc`"),
            (
                "{nofile: -1}",
                "found `-1`; allowed: a whole number, a size such as `512M`, or `unlimited`; did you mean `unlimited`?",
            ),
            ("{nofile: 1.5}", "found `1.5`; allowed"),
            ("{as: 99999999999T}", "found `99999999999T`; allowed"),
            ("{as: 18446744073709551615}", "found `18446744073709551615`; allowed"),
            ("{nofile: {soft: 1, hard: 2}}", "found a map; allowed: a whole number"),
            ("{nofile: 1, nofile: 2}", "found `nofile` a second time"),
        ] {
            let found = probe::read(text, read).expect_err(text);
            assert!(found.starts_with(said), "{text}: {found}");
        }
    }
}
