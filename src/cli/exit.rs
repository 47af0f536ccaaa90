//! The exit codes of every command. The supervisor's own are those of its services; see the README.

/// Done. Also where the reader of standard output went away.
pub const DONE: u8 = 0;
/// The action failed, wholly or in part.
pub const FAILED: u8 = 1;
/// The command line was not understood.
pub const USAGE: u8 = 2;
/// No supervisor at the socket.
pub const NO_SUPERVISOR: u8 = 3;
/// No such service.
pub const UNKNOWN_SERVICE: u8 = 4;
/// The time allowed is over.
pub const TIMEOUT: u8 = 5;
/// The configuration is invalid.
pub const INVALID_CONFIG: u8 = 6;
/// Not permitted.
pub const NOT_PERMITTED: u8 = 7;
/// An update is available (`self update --check`).
pub const UPDATE_AVAILABLE: u8 = 8;

/// The table, as `--help` shows it.
pub const TABLE: &str = "\
Exit codes: 0 done, 1 the action failed, 2 usage, 3 no supervisor at the socket, 4 no such service, 5 time-out,
6 invalid config, 7 not permitted, 8 an update is available";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FaultCode;

    #[test]
    fn the_codes_of_the_wire_are_these() {
        for (code, fault) in [
            (FAILED, FaultCode::Failed),
            (FAILED, FaultCode::Overtaken),
            (USAGE, FaultCode::Usage),
            (NO_SUPERVISOR, FaultCode::NoSupervisor),
            (UNKNOWN_SERVICE, FaultCode::UnknownService),
            (TIMEOUT, FaultCode::Timeout),
            (INVALID_CONFIG, FaultCode::InvalidConfig),
            (NOT_PERMITTED, FaultCode::NotPermitted),
        ] {
            assert_eq!(code, fault.exit_code());
        }
    }
}
