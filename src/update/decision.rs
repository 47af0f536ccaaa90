//! Whether what is offered is what was asked for, and newer. Pure: time comes in, verified facts come in, a verdict goes out.

use std::time::{Duration, SystemTime};

use super::manifest::{Manifest, Program};
use super::sha256::Sha256;
use super::signature::{MANIFEST, Statement};
use super::{PRODUCT, failed};
use crate::value::Version;
use crate::wire::{Fault, FaultCode};

/// How far the clock of the signer may be ahead of ours. Beyond it one of the two is wrong, and so is "not expired".
pub const CLOCK_SKEW: Duration = Duration::from_secs(600);

/// What is known here.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// The version of this program.
    pub running: Version,
    /// The newest that was ever installed at this place, as far as is known.
    pub newest: Option<Version>,
    /// The platform.
    pub target: &'a str,
    /// The time.
    pub now: SystemTime,
}

/// What follows from a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// What runs is what is offered.
    UpToDate,
    /// It is to be installed.
    Install(Program),
}

/// Judges a manifest whose signature was verified.
///
/// # Errors
///
/// One refusal with a message of its own for each attack on the list of The Update Framework.
pub fn judge(manifest: &Manifest, here: Here<'_>) -> Result<Verdict, Fault> {
    let Here { running, newest, target, now } = here;
    let offered = manifest.version;
    if manifest.product != PRODUCT {
        return Err(failed(format!("the release is of `{}`, not of {PRODUCT}", manifest.product)));
    }
    if manifest.published > now + CLOCK_SKEW {
        return Err(failed(format!(
            "the release was published at {}, which is in the future: it is now {}",
            humantime::format_rfc3339_seconds(manifest.published),
            humantime::format_rfc3339_seconds(now)
        ))
        .with_hint("set the clock of this machine"));
    }
    if manifest.expires <= now {
        return Err(failed(format!(
            "the release manifest expired at {} (it is now {}): somebody may be holding back a newer one",
            humantime::format_rfc3339_seconds(manifest.expires),
            humantime::format_rfc3339_seconds(now)
        ))
        .with_hint("if the clock of this machine is right, ask whoever publishes the releases to sign the manifest anew"));
    }
    if offered == running {
        return Ok(Verdict::UpToDate);
    }
    if offered < running {
        return Err(failed(format!("section3 {offered} is offered, which is older than {running}, which runs"))
            .with_hint(format!("`section3 self update --to {offered}` installs it all the same")));
    }
    if let Some(newest) = newest.filter(|newest| *newest >= offered) {
        return Err(failed(format!("section3 {offered} is offered, but {newest} was installed here before and rolled back"))
            .with_hint(format!("`section3 self update --to {offered}` installs it all the same")));
    }
    if offered.major > running.major.saturating_add(1) {
        return Err(failed(format!(
            "section3 {offered} is offered, which is more than one major version above {running}, which runs"
        ))
        .with_hint(format!("`section3 self update --to {offered}` installs it all the same")));
    }
    match manifest.targets.get(target) {
        Some(program) => Ok(Verdict::Install(program.clone())),
        None => {
            let there: Vec<_> = manifest.targets.keys().map(String::as_str).collect();
            Err(failed(format!("section3 {offered} is not released for {target}; it is for {}", there.join(", "))))
        }
    }
}

/// Compares what a manifest's signature states with the manifest.
///
/// # Errors
///
/// What differs.
pub fn manifest_is_as_stated(manifest: &Manifest, sum: Sha256, statement: &Statement) -> Result<(), Fault> {
    let wanted = Statement { product: PRODUCT.to_owned(), version: manifest.version, target: MANIFEST.to_owned(), sha256: sum };
    stated("the release manifest", statement, &wanted)
}

/// Compares what a signature states of a file with what the file is and was asked to be.
///
/// # Errors
///
/// The first thing that differs.
pub fn stated(file: &str, statement: &Statement, wanted: &Statement) -> Result<(), Fault> {
    let pairs = [
        ("product", statement.product.clone(), wanted.product.clone()),
        ("target", statement.target.clone(), wanted.target.clone()),
        ("version", statement.version.to_string(), wanted.version.to_string()),
        ("sha256", statement.sha256.to_string(), wanted.sha256.to_string()),
    ];
    match pairs.into_iter().find(|(_, said, asked)| said != asked) {
        None => Ok(()),
        Some((key, said, asked)) => {
            Err(failed(format!("{file} is signed, but as another file: its {key} is `{said}`, and asked for was `{asked}`")))
        }
    }
}

/// Reads the version that an operator named.
///
/// # Errors
///
/// `usage`.
pub fn named(text: &str) -> Result<Version, Fault> {
    Version::parse(text).map_err(|allowed| Fault::new(FaultCode::Usage, format!("no version: `{text}`; {allowed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("a version")
    }

    fn at(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).expect("a time")
    }

    fn manifest(offered: &str) -> Manifest {
        let program = Program { file: "section3-linux-amd64".to_owned(), size: 10, sha256: Sha256::of(b"") };
        Manifest {
            product: PRODUCT.to_owned(),
            version: version(offered),
            published: at("2026-01-01T00:00:00Z"),
            expires: at("2026-07-01T00:00:00Z"),
            targets: [("linux-amd64".to_owned(), program)].into(),
        }
    }

    fn here(running: &str) -> Here<'static> {
        Here { running: version(running), newest: None, target: "linux-amd64", now: at("2026-02-01T00:00:00Z") }
    }

    #[test]
    fn newer_is_installed_and_the_same_is_up_to_date() {
        for (running, offered) in [("0.1.0", "0.1.1"), ("0.1.0", "0.2.0"), ("0.9.9", "1.0.0"), ("1.2.3", "2.0.0")] {
            let Ok(Verdict::Install(program)) = judge(&manifest(offered), here(running)) else { panic!("{offered}") };
            assert_eq!(program.file, "section3-linux-amd64");
        }
        assert_eq!(judge(&manifest("0.1.0"), here("0.1.0")).ok(), Some(Verdict::UpToDate));
        let newest = Some(version("0.2.0"));
        assert!(matches!(judge(&manifest("0.2.1"), Here { newest, ..here("0.1.0") }), Ok(Verdict::Install(_))));
        // A rolled back program is up to date with the release that it is.
        assert_eq!(judge(&manifest("0.1.0"), Here { newest, ..here("0.1.0") }).ok(), Some(Verdict::UpToDate));
    }

    #[test]
    fn refusals() {
        let other = Manifest { product: "other".to_owned(), ..manifest("0.2.0") };
        let newest = Some(version("0.3.0"));
        for (manifest, here, part) in [
            (manifest("0.0.9"), here("0.1.0"), "older than 0.1.0"),
            (manifest("0.2.0"), Here { newest, ..here("0.1.0") }, "0.3.0 was installed here before"),
            (manifest("0.3.0"), Here { newest, ..here("0.1.0") }, "0.3.0 was installed here before"),
            (manifest("2.0.0"), here("0.1.0"), "more than one major version above"),
            (manifest("99999.0.0"), here("1.0.0"), "more than one major version above"),
            (
                manifest("0.2.0"),
                Here { target: "linux-arm64", ..here("0.1.0") },
                "not released for linux-arm64; it is for linux-amd64",
            ),
            (other, here("0.1.0"), "is of `other`"),
            (manifest("0.2.0"), Here { now: at("2026-07-01T00:00:00Z"), ..here("0.1.0") }, "expired at 2026-07-01"),
            (manifest("0.1.0"), Here { now: at("2027-07-01T00:00:00Z"), ..here("0.1.0") }, "expired at 2026-07-01"),
            (manifest("0.2.0"), Here { now: at("2025-12-31T23:49:59Z"), ..here("0.1.0") }, "in the future"),
        ] {
            let fault = judge(&manifest, here).expect_err(part);
            assert!(fault.message.contains(part), "{part}: {fault}");
        }
        assert!(judge(&manifest("0.2.0"), Here { now: at("2025-12-31T23:55:00Z"), ..here("0.1.0") }).is_ok());
    }

    #[test]
    fn statements_are_compared_whole() {
        let right = Statement {
            product: PRODUCT.to_owned(),
            version: version("0.2.0"),
            target: "linux-amd64".to_owned(),
            sha256: Sha256::of(b""),
        };
        assert_eq!(stated("f", &right, &right), Ok(()));
        for (wrong, key) in [
            (Statement { product: "other".to_owned(), ..right.clone() }, "product"),
            (Statement { version: version("0.1.9"), ..right.clone() }, "version"),
            (Statement { target: "linux-arm64".to_owned(), ..right.clone() }, "target"),
            (Statement { sha256: Sha256::of(b"x"), ..right.clone() }, "sha256"),
        ] {
            assert!(stated("f", &wrong, &right).is_err_and(|fault| fault.message.contains(&format!("its {key} is"))));
        }
        // A signed program is no manifest.
        assert!(manifest_is_as_stated(&manifest("0.2.0"), Sha256::of(b""), &right).is_err());
        let stated = Statement { target: MANIFEST.to_owned(), ..right };
        assert_eq!(manifest_is_as_stated(&manifest("0.2.0"), Sha256::of(b""), &stated), Ok(()));
        assert!(manifest_is_as_stated(&manifest("0.2.1"), Sha256::of(b""), &stated).is_err());
    }
}
