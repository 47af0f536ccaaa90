//! The config that `section3 init` writes.

/// A commented config of one small service, valid as it is.
pub const STARTER: &str = include_str!("starter.yml");

#[cfg(test)]
mod tests {
    use super::STARTER;
    use crate::config::parse;

    #[test]
    fn the_starter_is_valid_with_and_without_its_examples() {
        let spec = parse(STARTER, "section3.yml", &|_| None).expect("starter");
        assert_eq!(spec.services.len(), 1);
        // The commented examples are code too: prose begins with a capital letter, keys do not.
        let is_example = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == ' ');
        let whole: String = STARTER
            .lines()
            .map(|line| match line.strip_prefix("  # ") {
                Some(rest) if is_example(rest) => format!("  {rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let spec = parse(&whole, "section3.yml", &|_| None).expect("starter with its examples");
        assert_eq!(spec.services.len(), 3);
        assert_eq!(spec.services[2].definition.depends_on.len(), 1);
    }
}
