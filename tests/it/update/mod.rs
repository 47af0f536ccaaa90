//! Self update, against a real server and real signatures of `minisign`. Needs root, for each test has an `/etc` of its own.

mod accepted;
mod beside;
mod installer;
mod killed;
mod page;
mod refused;
mod server;
mod stand;
mod tls;
