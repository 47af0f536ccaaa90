//! Questions that may wait for a disk or a name server, asked on another thread.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::sys::task;

/// Such questions under way at once, for all services: each may hold a thread for as long as its disk is dead.
pub const MOST_LOOK_UPS: usize = 32;

/// The places for questions that may wait.
#[derive(Clone, Debug)]
pub struct LookUps(Arc<Semaphore>);

impl Default for LookUps {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_LOOK_UPS)))
    }
}

/// One asker's question. A question that hangs cannot be called off; so it is the only one of its asker, however often he
/// gives up waiting and asks again.
#[derive(Debug)]
pub struct Aside<T> {
    places: LookUps,
    under_way: Option<oneshot::Receiver<T>>,
}

impl<T: Send + 'static> Aside<T> {
    /// Nothing asked yet.
    #[must_use]
    pub const fn new(places: LookUps) -> Self {
        Self { places, under_way: None }
    }

    /// Asks, or goes on waiting for the answer to what was asked before. `None` where the runtime ends. May be dropped at
    /// any time.
    pub async fn ask(&mut self, question: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self.under_way.is_none() {
            let place = Arc::clone(&self.places.0).acquire_owned().await.ok()?;
            self.under_way = Some(task::aside(move || {
                let _place = place;
                question()
            }));
        }
        let answer = self.under_way.as_mut()?.await.ok();
        self.under_way = None;
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_question_that_hangs_is_the_only_one_of_its_asker() {
        let (answer, waits) = channel::<u32>();
        let mut aside = Aside::new(LookUps::default());
        tokio::select! {
            biased;
            _ = aside.ask(move || waits.recv().ok()) => panic!("it hangs"),
            () = tokio::task::yield_now() => {}
        }
        answer.send(7).expect("it is asked still");
        assert_eq!(aside.ask(|| panic!("a second question")).await, Some(Some(7)));
        assert_eq!(aside.ask(|| Some(8)).await, Some(Some(8)));
    }

    /// Each may hold a thread for ever.
    #[tokio::test]
    async fn so_many_hang_at_most() {
        let places = LookUps::default();
        let begin = || {
            let (answer, waits) = channel::<()>();
            let mut aside = Aside::new(places.clone());
            (answer, Box::pin(async move { aside.ask(move || waits.recv().is_ok()).await }))
        };
        let mut asked: Vec<_> = std::iter::repeat_with(begin).take(MOST_LOOK_UPS + 1).collect();
        for (_, ask) in &mut asked {
            tokio::select! { biased; _ = ask => panic!("it hangs"), () = tokio::task::yield_now() => {} }
        }
        assert_eq!(places.0.available_permits(), 0);
        for (answer, ask) in asked {
            answer.send(()).expect("it is asked, or will be");
            assert_eq!(ask.await, Some(true));
        }
    }
}
