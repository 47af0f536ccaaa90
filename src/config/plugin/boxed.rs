//! The plugins in the binary: this repository's `plugins/`.

/// One of them: its name, and its files by their names.
type Boxed = (&'static str, &'static [(&'static str, &'static str)]);

macro_rules! boxed {
    ($($name:literal),*) => {
        &[$((
            $name,
            &[
                ("plugin.yml", include_str!(concat!("../../../plugins/", $name, "/plugin.yml"))),
                ("init.lua", include_str!(concat!("../../../plugins/", $name, "/init.lua"))),
                ("README.md", include_str!(concat!("../../../plugins/", $name, "/README.md"))),
            ],
        )),*]
    };
}

/// All of them, by name.
const ALL: &[Boxed] = boxed!["chat", "crashreport", "heartbeat", "logship", "resguard", "webhook"];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// The files of one, each with its name and its text; `None` where there is no plugin of that name.
#[must_use]
pub fn files(name: &str) -> Option<&'static [(&'static str, &'static str)]> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, files)| *files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plugin::manifest;

    #[test]
    fn each_has_a_good_manifest_of_its_own_name() {
        for name in names() {
            let files = files(name).expect(name);
            let read = manifest::parse(files[0].1, "plugin.yml").unwrap_or_else(|problems| panic!("{name}: {problems}"));
            assert_eq!(read.name, name);
        }
        assert!(files("webhok").is_none());
    }
}
