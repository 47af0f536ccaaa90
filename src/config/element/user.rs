//! `user:` and `umask:`.

use crate::config::reader::{Report, Value};
use crate::spec::{Account, User};

const USER: &str = "allowed: `name`, `name:group`, `uid` or `uid:gid`";
const UMASK: &str = "allowed: up to four octal digits such as `022` or `0077`";

/// Reads `user:`. Whether the account exists is asked at each launch.
pub fn read(value: &Value<'_>, report: &mut Report<'_>) -> Option<User> {
    value.parsed(report, USER, |text| parse(text).ok_or_else(|| USER.to_owned()))
}

fn parse(text: &str) -> Option<User> {
    match text.split_once(':') {
        Some((user, group)) => Some(User { user: account(user)?, group: Some(account(group)?) }),
        None => Some(User { user: account(text)?, group: None }),
    }
}

fn account(word: &str) -> Option<Account> {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        // (uid_t) -1 means "leave it" to setresuid(2).
        return word.parse().ok().filter(|id| *id != u32::MAX).map(Account::Number);
    }
    // useradd(8): no dash first, a dollar sign last for Samba; and what directories hand out.
    let name = word.strip_suffix('$').unwrap_or(word);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@') || !b.is_ascii();
    (!name.is_empty() && !name.starts_with('-') && name.bytes().all(good)).then(|| Account::Name(word.to_owned()))
}

/// Reads `umask:`, always octal, as umask(1) does.
pub fn umask(value: &Value<'_>, report: &mut Report<'_>) -> Option<u32> {
    value.parsed(report, UMASK, |text| {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let good = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mask = good.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
        mask.filter(|mask| *mask <= 0o777).ok_or_else(|| UMASK.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::probe;

    #[test]
    fn users() {
        let name = |n: &str| Account::Name(n.to_owned());
        for (text, user, group) in [
            ("www-data", name("www-data"), None),
            ("a:b", name("a"), Some(name("b"))),
            ("1000", Account::Number(1000), None),
            ("1000:1000", Account::Number(1000), Some(Account::Number(1000))),
            ("\"0:0\"", Account::Number(0), Some(Account::Number(0))),
            ("app:${FIVE}", name("app"), Some(Account::Number(5))),
            ("host$", name("host$"), None),
        ] {
            assert_eq!(probe::read(text, read), Ok(User { user, group }), "{text}");
        }
        for bad in [
            "",
            "\"\"",
            "\":\"",
            "\"a:\"",
            "\":b\"",
            "a:b:c",
            "-1",
            "a b",
            "4294967295",
            "4294967296",
            "a/b",
            "[a]",
            "$",
            "1.5:x y",
        ] {
            let said = probe::read(bad, read).expect_err(bad);
            assert!(said.ends_with(USER), "{bad}: {said}");
        }
    }

    #[test]
    fn masks() {
        for (text, mask) in
            [("022", 0o22), ("0022", 0o22), ("\"077\"", 0o77), ("0", 0), ("22", 0o22), ("0o027", 0o27), ("777", 0o777)]
        {
            assert_eq!(probe::read(text, umask), Ok(mask), "{text}");
        }
        for bad in ["", "8", "018", "1000", "00022", "-1", "+22", "u=rwx", "0x12", "1.0", "[022]"] {
            let said = probe::read(bad, umask).expect_err(bad);
            assert!(said.ends_with(UMASK), "{bad}: {said}");
        }
    }
}
