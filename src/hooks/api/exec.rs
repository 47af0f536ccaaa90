//! `s3.exec`: programs without a shell.

use std::path::PathBuf;
use std::time::Duration;

use mlua::{Lua, Table};

use super::Shared;
use super::define::waiting;
use super::fault::Fault;
use super::world::exec::LONGEST;
use crate::hooks::script::ExecRequest;
use crate::spec::permission::Permission;

/// How long a program may run unasked.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are kept of each output unasked, and at most.
const OUTPUT: u64 = 256 << 10;
const MAX_OUTPUT: u64 = 4 << 20;

pub(super) fn install(lua: &Lua, s3: &Table, shared: &Shared) -> mlua::Result<()> {
    let own = shared.clone();
    waiting(lua, s3, shared, "exec", move |lua, args| {
        let options = args.options(0);
        let argv = options.texts("cmd");
        let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
            return Err(args.misuse(lua, "`cmd` names no program"));
        };
        own.permits.require(lua, "exec", &Permission::Exec(program.clone()))?;
        if argv.iter().any(|word| word.contains('\0')) {
            return Err(args.misuse(lua, "a word of `cmd` holds a zero byte"));
        }
        let mut env = Vec::new();
        for (name, value) in options.map("env") {
            let value = String::from_utf8_lossy(value.reveal()).into_owned();
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(args.misuse(lua, format!("`{name}` cannot be set: no name with `=`, no zero bytes")));
            }
            env.push((name, value));
        }
        let timeout = options.duration("timeout").unwrap_or(TIMEOUT);
        if timeout > LONGEST || timeout.is_zero() {
            return Err(args.misuse(lua, "`timeout` is more than 0 and at most 10m"));
        }
        let max_output = options.size("max_output").unwrap_or(OUTPUT);
        if max_output > MAX_OUTPUT {
            return Err(args.misuse(lua, "`max_output` is at most 4M"));
        }
        let request = ExecRequest {
            argv,
            stdin: options.secretable("stdin").map(|text| text.reveal().to_vec()).unwrap_or_default(),
            env,
            dir: options.text("cwd").map(PathBuf::from),
            timeout,
            max_output: usize::try_from(max_output).unwrap_or(usize::MAX),
        };
        let (lua, own) = (lua.clone(), own.clone());
        Ok(async move {
            let ended = match own.script.effects.exec(request).await {
                Ok(ended) => ended,
                Err(fault) => return Ok(Err(Fault::from(fault).scrubbed(&own.known))),
            };
            let table = lua.create_table()?;
            table.raw_set("code", ended.code)?;
            table.raw_set("signal", ended.signal)?;
            table.raw_set("stdout", lua.create_string(&ended.stdout)?)?;
            table.raw_set("stderr", lua.create_string(&ended.stderr)?)?;
            table.raw_set("truncated", ended.truncated)?;
            table.raw_set("ms", ended.ms)?;
            Ok(Ok(table))
        })
    })
}
