//! Live output of a log, to one reader. The pump never waits for it: a reader that leaves more than [`MOST_WAITING`] bytes
//! unread is cut off, and told why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Bytes that may wait for one reader: some hundred milliseconds of a very loud service.
const MOST_WAITING: usize = 1 << 20;

/// The pump's end.
#[derive(Debug)]
pub struct Follower {
    chunks: UnboundedSender<Arc<[u8]>>,
    shared: Arc<Shared>,
}

/// The reader's end; dropping it ends the following.
#[derive(Debug)]
pub struct Following {
    chunks: UnboundedReceiver<Arc<[u8]>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: AtomicUsize,
    too_slow: AtomicBool,
}

/// Why no more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowEnd {
    /// The log was closed: its service is gone, or the supervisor ends.
    Closed,
    /// The reader fell too far behind.
    TooSlow,
}

/// Both ends.
#[must_use]
pub fn following() -> (Follower, Following) {
    let (sender, receiver) = unbounded_channel();
    let shared = Arc::new(Shared::default());
    (Follower { chunks: sender, shared: Arc::clone(&shared) }, Following { chunks: receiver, shared })
}

impl Follower {
    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.chunks.is_closed()
    }

    /// Passes a chunk on; `false` where the reader is gone or too slow, then this end is to be dropped.
    #[must_use]
    pub fn send(&self, chunk: &Arc<[u8]>) -> bool {
        let waiting = self.shared.waiting.fetch_add(chunk.len(), Ordering::AcqRel) + chunk.len();
        if waiting > MOST_WAITING {
            self.shared.too_slow.store(true, Ordering::Release);
            return false;
        }
        self.chunks.send(Arc::clone(chunk)).is_ok()
    }
}

impl Following {
    /// The next bytes, as they were written.
    ///
    /// # Errors
    ///
    /// Why no more comes; everything before the end was returned.
    pub async fn next(&mut self) -> Result<Arc<[u8]>, FollowEnd> {
        let chunk = self.chunks.recv().await;
        self.account(chunk)
    }

    /// As [`Following::next`], for a future that shares it.
    ///
    /// # Errors
    ///
    /// As [`Following::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<[u8]>, FollowEnd>> {
        self.chunks.poll_recv(context).map(|chunk| self.account(chunk))
    }

    /// Whether no more comes because this reader fell too far behind.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.shared.too_slow.load(Ordering::Acquire)
    }

    /// The bytes that are here already; `None` where there are none, now or ever.
    pub fn next_now(&mut self) -> Option<Arc<[u8]>> {
        let chunk = self.chunks.try_recv().ok()?;
        self.account(Some(chunk)).ok()
    }

    /// As [`Following::next`], for a thread that may wait.
    ///
    /// # Errors
    ///
    /// As [`Following::next`].
    pub fn blocking_next(&mut self) -> Result<Arc<[u8]>, FollowEnd> {
        let chunk = self.chunks.blocking_recv();
        self.account(chunk)
    }

    fn account(&self, chunk: Option<Arc<[u8]>>) -> Result<Arc<[u8]>, FollowEnd> {
        match chunk {
            Some(chunk) => {
                self.shared.waiting.fetch_sub(chunk.len(), Ordering::AcqRel);
                Ok(chunk)
            }
            None if self.shared.too_slow.load(Ordering::Acquire) => Err(FollowEnd::TooSlow),
            None => Err(FollowEnd::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_is_too_slow_is_cut_off_after_what_it_was_promised() {
        let (follower, mut following) = following();
        let chunk: Arc<[u8]> = vec![7; 128 << 10].into();
        let taken = (0..100).take_while(|_| follower.send(&chunk)).count();
        assert_eq!(taken * chunk.len(), MOST_WAITING);
        drop(follower);
        for _ in 0..taken {
            assert_eq!(following.blocking_next(), Ok(Arc::clone(&chunk)));
        }
        assert_eq!(following.blocking_next(), Err(FollowEnd::TooSlow));
    }

    #[test]
    fn reading_makes_room() {
        let (follower, mut following) = following();
        let chunk: Arc<[u8]> = vec![7; 128 << 10].into();
        for _ in 0..100 {
            assert!(follower.send(&chunk));
            assert_eq!(following.blocking_next(), Ok(Arc::clone(&chunk)));
        }
        drop(follower);
        assert_eq!(following.blocking_next(), Err(FollowEnd::Closed));
    }
}
