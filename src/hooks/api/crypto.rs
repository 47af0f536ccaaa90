//! `s3.crypto`: digests for idempotency keys and signatures, and the two ways to write bytes as text.

use mlua::{IntoLua, Lua, Table, Value};
use ring::{digest, hmac};

use super::Shared;
use super::args::{Args, Secretable};
use super::define::{Outcome, fallible, plain};
use super::fault::fault;
use super::secret::{Known, Secret};

/// The letters of Base64, RFC 4648.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    plain(lua, s3, "crypto.sha256", |lua, args| {
        let sum = digest::digest(&digest::SHA256, args.secretable(0).reveal());
        written(lua, sum.as_ref(), &args, 1)
    })?;
    plain(lua, s3, "crypto.hmac_sha256", |lua, args| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, args.secretable(0).reveal());
        written(lua, hmac::sign(&key, args.secretable(1).reveal()).as_ref(), &args, 2)
    })?;
    let known = shared.known.clone();
    plain(lua, s3, "crypto.base64", move |lua, args| {
        as_secret_as(lua, &args.secretable(0), base64(args.secretable(0).reveal()), &known)
    })?;
    let known = shared.known.clone();
    plain(lua, s3, "crypto.hex", move |lua, args| {
        as_secret_as(lua, &args.secretable(0), hex(args.secretable(0).reveal()), &known)
    })?;
    let known = shared.known.clone();
    fallible(lua, s3, "crypto.base64_decode", move |lua, args| {
        let (text, prefix) = (args.secretable(0), args.text(1));
        let coded = text.reveal();
        let coded = coded.strip_prefix(prefix.as_bytes()).unwrap_or(coded);
        decoded(lua, &args, from_base64(coded), "Base64", &known)
    })?;
    let known = shared.known.clone();
    fallible(lua, s3, "crypto.hex_decode", move |lua, args| {
        decoded(lua, &args, from_hex(args.secretable(0).reveal()), "hexadecimal digits", &known)
    })
}

/// A digest in the form that argument `at` asks for.
fn written(lua: &Lua, sum: &[u8], args: &Args, at: usize) -> mlua::Result<Value> {
    let bytes = match args.text(at).as_str() {
        "raw" => sum.to_vec(),
        "base64" => base64(sum),
        _ => hex(sum),
    };
    lua.create_string(bytes).map(Value::String)
}

/// What is made of a secret is one.
fn as_secret_as(lua: &Lua, from: &Secretable, bytes: Vec<u8>, known: &Known) -> mlua::Result<Value> {
    if from.is_secret() {
        let secret = Secret::new(bytes);
        known.add(&secret);
        secret.into_lua(lua)
    } else {
        lua.create_string(bytes).map(Value::String)
    }
}

fn decoded(lua: &Lua, args: &Args, bytes: Option<Vec<u8>>, what: &str, known: &Known) -> Outcome<Value> {
    match bytes {
        Some(bytes) => as_secret_as(lua, &args.secretable(0), bytes, known).map(Ok),
        None => Ok(Err(fault("invalid", format!("this is not {what}")))),
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.len() % 2 == 1 {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().enumerate().fold(0_u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= group.len() { letter } else { b'=' });
        }
    }
    out
}

/// With or without padding, in the usual letters or those of addresses.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let letters = &text[..text.len() - padding];
    if padding > 2 || letters.len() % 4 == 1 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut out = Vec::with_capacity(letters.len() * 3 / 4);
    for group in letters.chunks(4) {
        let mut bits = 0_u32;
        for (at, byte) in group.iter().enumerate() {
            let value = match byte {
                b'-' => 62,
                b'_' => 63,
                byte => u32::try_from(LETTERS.iter().position(|letter| letter == byte)?).ok()?,
            };
            bits |= value << (18 - 6 * at);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::super::testing::eval;

    #[test]
    fn digests() {
        for (call, result) in [
            ("s3.crypto.sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("s3.crypto.sha256('abc', 'base64')", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
            ("#s3.crypto.sha256('abc', 'raw')", "32"),
            // RFC 4231, test case 2.
            (
                "s3.crypto.hmac_sha256('Jefe', 'what do ya want for nothing?')",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ] {
            assert_eq!(eval::<String>(&format!("return tostring({call})")), result, "{call}");
        }
        assert!(eval::<bool>("return type(s3.crypto.hmac_sha256(s3.secret 'tok', 'x')) == 'string'"));
    }

    #[test]
    fn base64_and_hex() {
        // RFC 4648, section 10.
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(eval::<String>(&format!("return s3.crypto.base64('{plain}')")), coded);
            assert_eq!(eval::<String>(&format!("return s3.crypto.base64_decode('{coded}')")), plain);
            let bare = coded.trim_end_matches('=');
            assert_eq!(eval::<String>(&format!("return s3.crypto.base64_decode('{bare}')")), plain);
        }
        assert!(eval::<bool>("return s3.crypto.base64_decode('_-8=') == s3.crypto.base64_decode('/+8=')"));
        // The keys of webhooks come as `whsec_...`.
        for text in ["whsec_Zm9v", "Zm9v"] {
            assert_eq!(eval::<String>(&format!("return s3.crypto.base64_decode('{text}', 'whsec_')")), "foo");
        }
        assert_eq!(eval::<String>("return s3.crypto.hex('\\0\\xffA')"), "00ff41");
        assert!(eval::<bool>("return s3.crypto.hex_decode('00FF41') == '\\0\\xffA'"));
        for bad in ["base64_decode('a')", "base64_decode('Zg=')", "base64_decode('Z*==')", "hex_decode('0')", "hex_decode('0g')"]
        {
            assert_eq!(eval::<String>(&format!("local v, err = s3.crypto.{bad} return tostring(v) .. err.code")), "nilinvalid");
        }
    }

    #[test]
    fn what_is_made_of_a_secret_is_one() {
        assert_eq!(eval::<String>("return tostring(s3.crypto.base64(s3.secret 'tok'))"), "[secret]");
        assert_eq!(
            eval::<String>("return tostring(s3.crypto.base64_decode(s3.crypto.base64(s3.secret 'tok')) .. '')"),
            "[secret]"
        );
    }
}
