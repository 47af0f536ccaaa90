//! Secrets as scripts hold them: a value that can be joined and sent, and never read.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{MetaMethod, UserData, UserDataMethods, Value};

use crate::hooks::script::misuse;
use crate::value::sorted::Set;

/// What stands for a secret wherever one would be shown.
pub const SHOWN: &str = "[secret]";

/// Shorter texts are not taken out of messages: they would take half of each message with them.
const SHORTEST: usize = 4;

/// Text that is not shown; what is joined with it is not shown either.
#[derive(Clone)]
pub struct Secret(Rc<[u8]>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SHOWN)
    }
}

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for where they are sent to.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl UserData for Secret {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok(SHOWN));
        methods.add_meta_function(MetaMethod::Concat, |lua, (left, right): (Value, Value)| {
            let mut joined = Vec::new();
            for side in [&left, &right] {
                match side {
                    Value::String(text) => joined.extend_from_slice(&text.as_bytes()),
                    Value::Integer(number) => joined.extend_from_slice(number.to_string().as_bytes()),
                    Value::Number(number) => joined.extend_from_slice(number.to_string().as_bytes()),
                    Value::UserData(data) => joined.extend_from_slice(data.borrow::<Self>()?.reveal()),
                    other => {
                        return Err(misuse(lua, format!("attempt to concatenate a {} value with a secret", other.type_name())));
                    }
                }
            }
            Ok(Self::new(joined))
        });
    }
}

/// The secrets that one script has read, so that they can be taken out of what is told about it.
#[derive(Clone, Default)]
pub struct Known(Rc<RefCell<Set<Vec<u8>>>>);

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.borrow().len())
    }
}

impl Known {
    /// Remembers a secret, as it is and as it stands in an address.
    pub fn add(&self, secret: &Secret) {
        let bytes = secret.reveal();
        if bytes.len() >= SHORTEST {
            self.0.borrow_mut().insert(bytes.to_vec());
            self.0.borrow_mut().insert(escaped(bytes).into_bytes());
        }
    }

    /// The text with every known secret replaced.
    #[must_use]
    pub fn scrub(&self, text: &str) -> String {
        let mut out = text.to_owned();
        // Longer ones first: one may be a part of another.
        let known = self.0.borrow();
        let mut known: Vec<&Vec<u8>> = known.iter().collect();
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in known {
            if let Ok(secret) = std::str::from_utf8(secret)
                && out.contains(secret)
            {
                out = out.replace(secret, SHOWN);
            }
        }
        out
    }
}

/// As in an address: what is no letter, digit or `-._~` as `%XX`.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlua::Lua;

    fn lua() -> Lua {
        let lua = Lua::new();
        let secret = lua.create_userdata(Secret::new(b"t0ken".to_vec())).expect("a secret");
        lua.globals().set("s", secret).expect("set");
        lua
    }

    #[test]
    fn it_is_never_shown() {
        let lua = lua();
        for code in [
            "return tostring(s)",
            "return tostring('Bearer ' .. s)",
            "return tostring(s .. '/x')",
            "return tostring(s .. s)",
            "return tostring('a' .. 1 .. s .. 2.5 .. 'b')",
            "return string.format('%s', s)",
        ] {
            assert_eq!(lua.load(code).eval::<String>().expect(code), SHOWN, "{code}");
        }
        let joined: mlua::AnyUserData = lua.load("return 'Bearer ' .. s .. 7").eval().expect("joined");
        assert_eq!(joined.borrow::<Secret>().expect("a secret").reveal(), b"Bearer t0ken7");
    }

    #[test]
    fn it_is_nothing_else() {
        let lua = lua();
        for code in ["return #s", "return s.value", "return s < 'x'", "return table.concat({s})", "return s .. nil", "s.x = 1"] {
            let error = lua.load(code).exec().expect_err(code).to_string();
            assert!(!error.contains("t0ken"), "{error}");
        }
        assert!(!format!("{:?}", Secret::new(b"t0ken".to_vec())).contains("t0ken"));
    }

    #[test]
    fn known_ones_are_taken_out_of_messages() {
        let known = Known::default();
        for secret in ["t0ken", "t0ken/longer", "abc"] {
            known.add(&Secret::new(secret.as_bytes().to_vec()));
        }
        for (text, scrubbed) in [
            ("no secret", "no secret"),
            ("https://x/bott0ken/send", "https://x/bot[secret]/send"),
            ("t0ken/longer t0ken", "[secret] [secret]"),
            ("?key=t0ken%2Flonger", "?key=[secret]"),
            ("abc is too short", "abc is too short"),
        ] {
            assert_eq!(known.scrub(text), scrubbed);
        }
    }
}
