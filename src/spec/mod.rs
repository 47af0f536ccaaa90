//! Floor 1: what a service is. Complete and valid, defaults applied; written by `config`, read by everyone above.

pub mod permission;
pub mod policy;
pub mod probe;
pub mod script;
pub mod service;
pub mod settings;

pub use permission::{Permission, Point};
pub use policy::{Backoff, Health, HealthAction, LogLimits, Policy, Restart};
pub use probe::{HttpUrl, Notify, Probe, Ready};
pub use script::Scripts;
pub use service::{Account, Command, Condition, Definition, Dependency, Limit, LimitValue, Resource, Service, User};
pub use settings::{Console, ExitWhen, Selection, Settings, UnknownName};

/// Everything one `section3.yml` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// The services in the order of the file. Every name is unique, every dependency exists, no cycle.
    pub services: Vec<Service>,
    /// The supervisor's own settings.
    pub settings: Settings,
    /// Hooks, plugins and secrets.
    pub scripts: Scripts,
}
