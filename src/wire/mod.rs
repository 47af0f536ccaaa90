//! Floor 1: what travels. Pure bytes and types, versioned; no descriptor is touched here.

pub mod advice;
pub mod catalog;
pub mod escape;
pub mod event;
pub mod fault;
pub mod hooks;
pub mod note;
pub mod plain;
pub mod reply;
pub mod report;
pub mod request;
pub mod state;
pub mod text;
pub mod view;

pub use event::{Actor, Event, Kind};
pub use fault::{Fault, FaultCode};
pub use note::UpdateNote;
pub use reply::Reply;
pub use report::{
    Change, OrderReport, OrderResult, Outcome, ProgramReport, ReexecReport, ReloadReport, ReloadResult, RotateReport,
    RotateResult, SignalReport, TailItem, VersionReport, WaitReport,
};
pub use request::{Form, LogName, Order, Request};
pub use state::State;
pub use view::{ExitView, HealthView, HoldView, LogView, ServiceView, StatusReport, SupervisorState, SupervisorView};
