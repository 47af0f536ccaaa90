//! What `status` tells.

use super::clock::Now;
use super::event_loop::Daemon;
use crate::supervision::message::LastEnd;
use crate::supervision::{Service, ServiceId};
use crate::value::version::VERSION;
use crate::wire::{ExitView, HoldView, LogView, ServiceView, State, StatusReport, SupervisorState, SupervisorView};

impl Daemon {
    /// The report about the services named, or about all.
    pub(super) fn status(&self, only: &[ServiceId], now: Now) -> StatusReport {
        let shown = self.supervisor.services().filter(|(id, _)| only.is_empty() || only.contains(id));
        StatusReport {
            version: 1,
            supervisor: self.supervisor_view(now),
            services: shown.map(|(id, service)| self.service_view(id, service, now)).collect(),
        }
    }

    fn supervisor_view(&self, now: Now) -> SupervisorView {
        let dropped = self.logs.values().chain([self.pump.own_counters()]).map(|counters| counters.console_dropped());
        SupervisorView {
            pid: std::process::id(),
            version: VERSION.to_owned(),
            boot: self.surroundings.boot.clone(),
            time: now.rfc3339_at(now.moment),
            since: now.rfc3339_at(self.began),
            uptime_s: now.moment.since(self.began).as_secs(),
            state: if self.supervisor.is_stopping() { SupervisorState::Stopping } else { SupervisorState::Running },
            config: self.config_path.display().to_string(),
            log_dir: self.log_dir.display().to_string(),
            console_dropped_lines: dropped.sum(),
            restrictions: self.restrictions.clone(),
        }
    }

    pub(super) fn service_view(&self, id: ServiceId, service: &Service, now: Now) -> ServiceView {
        let state = service.word();
        let is_up = matches!(state, State::Starting | State::Running | State::Stopping);
        let began = service.executed_at().filter(|_| is_up);
        let log = self.logs.get(&id).map(|counters| LogView {
            path: self.log_dir.join(format!("{}.log", service.name())).display().to_string(),
            size: counters.size(),
            lost_bytes: counters.lost_bytes(),
        });
        let last_exit = service.last().and_then(|LastEnd { status, at, uptime, .. }| {
            Some(ExitView::new((*status)?, now.rfc3339_at(*at), uptime.as_secs()))
        });
        ServiceView {
            pid: service.pid(),
            run: Some(service.run().0).filter(|run| *run > 0),
            since: began.or(service.since()).map(|at| now.rfc3339_at(at)),
            uptime_s: began.map(|at| now.moment.since(at).as_secs()),
            crashes: service.crashes(),
            last_exit,
            next_start_at: service.next_start_at().map(|at| now.rfc3339_at(at)),
            ready: is_up.then(|| service.ready_at().is_some()),
            definition_changed: service.definition_changed(),
            waiting_for: self.supervisor.waits_for(id).iter().map(|name| name.as_str().to_owned()).collect(),
            hold: service.hold().map(|hold| HoldView {
                by: hold.by.to_string(),
                reason: hold.reason.clone(),
                until: hold.until.map(|until| now.rfc3339_at(until)),
            }),
            log,
            health: self.watches.health(id).filter(|_| is_up),
            message: service.message().or_else(|| self.watches.message(id).filter(|_| is_up)),
            ..ServiceView::new(service.name().as_str(), state)
        }
    }
}
