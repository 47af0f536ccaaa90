//! Reloads: the config is read off the loop, then taken over in one step or not at all.

use super::clock::Now;
use super::event_loop::Daemon;
use super::hooks::Catalogue;
use super::inbox::{Letter, ReloadOrder};
use super::orders::{Report, reload_line};
use crate::config::{self, Problems};
use crate::spec::Spec;
use crate::supervision::reload::Change;
use crate::sys::task;
use crate::wire::event::Kind;
use crate::wire::{Fault, FaultCode, ReloadReport, ReloadResult, text};

impl Daemon {
    /// Begins to read the config. One reload at a time.
    pub(super) fn begin_reload(&mut self, order: ReloadOrder) {
        if self.supervisor.is_stopping() {
            return refuse(order, FaultCode::ShuttingDown, "the supervisor is shutting down");
        }
        if self.reloading {
            return refuse(order, FaultCode::Busy, "another reload is under way; try again when it is done");
        }
        self.reloading = true;
        let path = self.config_path.clone();
        let file = path.display().to_string();
        let inbox = self.inbox.clone();
        task::begin(async move {
            let read = move || {
                if let Some(exposure) = config::exposure(&path) {
                    tracing::warn!("{exposure}");
                }
                let spec = config::load(&path, &|name| std::env::var(name).ok())?;
                let catalogue = Catalogue::read(&spec.scripts);
                Ok((spec, catalogue))
            };
            let result = task::aside(read).await.unwrap_or_else(|_| {
                Err(Problems::internal(
                    &file,
                    "cannot be read: no thread for it, or a fault of section3 itself; try again".to_owned(),
                ))
            });
            let _ = inbox.send(Letter::ConfigRead(Box::new(order), result)).await;
        });
    }

    pub(super) fn reload_read(&mut self, order: ReloadOrder, result: Result<(Spec, Catalogue), Problems>, now: Now) {
        self.reloading = false;
        match result {
            // The shutdown began while the file was read.
            Ok(_) if self.supervisor.is_stopping() => refuse(order, FaultCode::ShuttingDown, "the supervisor is shutting down"),
            Ok((spec, catalogue)) if order.dry_run => self.show_plan(order, &spec, &catalogue),
            Ok((spec, catalogue)) => self.take_over(order, &spec, catalogue, now),
            Err(problems) => {
                if !order.dry_run {
                    let errors = problems.problems.iter().map(ToString::to_string).collect();
                    self.tell(None, Kind::ReloadFailed { errors }, order.actor.clone(), now);
                }
                if let Some(answer) = order.answer {
                    let fault = Fault::new(FaultCode::InvalidConfig, problems.to_string());
                    answer.refuse(&fault.with_hint("nothing was changed"));
                }
            }
        }
        if let Some(signal) = self.reload_again.take() {
            let actor = crate::wire::Actor::Signal(signal);
            self.begin_reload(ReloadOrder { actor, dry_run: false, apply: false, answer: None });
        }
    }

    fn is_live(&self, name: &str) -> bool {
        self.supervisor.id(name).and_then(|id| self.supervisor.service(id)).is_some_and(crate::supervision::Service::is_live)
    }

    fn show_plan(&self, order: ReloadOrder, spec: &Spec, catalogue: &Catalogue) {
        let plan = self.supervisor.plan(spec);
        let lines = plan.iter().map(|(name, change)| {
            reload_line(name, *change, order.apply, self.is_live(name.as_str()), spec.settings.selects(name))
        });
        let scripts = self.hooks.plan(catalogue);
        let report =
            ReloadReport { dry_run: true, services: lines.chain(scripts).chain(withheld(spec)).collect(), notes: Vec::new() };
        if let Some(answer) = order.answer {
            answer.finish(&report, || text::reload(&report));
        }
    }

    fn take_over(&mut self, order: ReloadOrder, spec: &Spec, catalogue: Catalogue, now: Now) {
        let live: Vec<bool> = spec.services.iter().map(|service| self.is_live(service.name.as_str())).collect();
        let own_log = self.supervisor.settings().log;
        let number = self.orders.number();
        let mut open = 0;
        let orders = &mut self.orders;
        let steps = self.supervisor.reload(
            spec,
            order.apply,
            &order.actor,
            // Each ticket learns its line below.
            || orders.ticket(number, 0),
            now.moment,
        );
        let mut lines = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            if let Some(ticket) = step.ticket {
                self.orders.move_to(ticket, at);
                open += 1;
            }
            let was_live = live.get(at).copied().unwrap_or(false);
            lines.push(reload_line(&step.name, step.change, order.apply, was_live, spec.settings.selects(&step.name)));
            if step.change == Change::Added
                && let Some(id) = self.supervisor.id(step.name.as_str())
                && !self.logs.contains_key(&id)
            {
                let spec = self.supervisor.service(id).map(|service| service.spec().clone());
                spec.iter().for_each(|spec| self.open_log(id, spec));
            }
        }
        let secrets = spec.scripts.secrets.clone();
        for (line, ticket) in self.reload_hooks(catalogue, secrets, |daemon| daemon.orders.ticket(number, 0)) {
            if let Some(ticket) = ticket {
                self.orders.move_to(ticket, lines.len());
                open += 1;
            }
            lines.push(line);
        }
        for line in withheld(spec) {
            tracing::warn!("{}", line.done);
            lines.push(line);
        }
        self.orders.enter(number, order.answer, open, Report::Reload(lines));
        let settings = self.supervisor.settings();
        self.pump.console(settings.console);
        if settings.log != own_log {
            self.pump.limits(crate::log::LogId::OWN, settings.log);
        }
    }
}

/// A line for each plugin that wants more than it is allowed: it failed, and says what to write.
fn withheld(spec: &Spec) -> impl Iterator<Item = ReloadResult> + '_ {
    spec.scripts.withheld.iter().map(|plugin| ReloadResult {
        name: format!("plugin {}", plugin.name),
        change: crate::wire::Change::Unchanged,
        done: plugin.to_string(),
        ok: false,
    })
}

fn refuse(order: ReloadOrder, code: FaultCode, message: &str) {
    match order.answer {
        Some(answer) => answer.refuse(&Fault::new(code, message)),
        None => tracing::warn!("did not reload: {message}"),
    }
}
