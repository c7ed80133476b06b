// SPDX-License-Identifier: GPL-2.0-or-later
//! Many jobs on several threads. Each result is handed on as soon as it is its turn; a job that panics is a result too.
//! No more results wait for their turn than a small multiple of the threads, however slow the first of them is.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};

/// How many jobs a thread may be ahead of the first that is not done; ours.
const AHEAD: usize = 16;
/// How often the receiver looks whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// What the threads share: which job is next, and which may begin.
#[derive(Debug, Default)]
struct Turns {
    next: usize,
    handed_on: usize,
    stop: bool,
}

type Shared = Arc<(Mutex<Turns>, Condvar)>;

/// Stops the threads when the receiver goes, for whatever reason.
struct Stop(Shared);

impl Drop for Stop {
    fn drop(&mut self) {
        change(&self.0, |turns| turns.stop = true);
    }
}

fn change(shared: &Shared, change: impl FnOnce(&mut Turns)) {
    let (turns, changed) = &**shared;
    change(&mut turns.lock().unwrap_or_else(PoisonError::into_inner));
    changed.notify_all();
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All jobs are done.
    All,
    /// The receiver wanted no more, or `stop` said so. A job that has begun is left to itself.
    Stopped,
}

/// Does jobs 0 to `count` on `threads` threads and gives each result to `receive`, with its number: in order, or as
/// they come. `receive` says whether to go on; `stop` is asked now and then.
///
/// Where the program is built without unwinding, a panic ends it.
pub(super) fn run<R: Send + 'static>(
    count: usize,
    threads: usize,
    ordered: bool,
    job: impl Fn(usize) -> R + Send + Sync + 'static,
    panicked: impl Fn(usize, &str) -> R + Send + Sync + 'static,
    stop: impl Fn() -> bool,
    mut receive: impl FnMut(usize, R) -> Result<bool>,
) -> Result<End> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.min(count))
        .build()
        .map_err(|error| Error::Io {
            what: "starting threads".to_owned(),
            source: std::io::Error::other(error),
        })?;
    let shared = Shared::default();
    let _stop = Stop(Arc::clone(&shared));
    let ahead = threads.saturating_mul(AHEAD);
    // How much waits in it is bounded by `ahead`.
    let (sender, receiver) = channel();
    let for_threads = Arc::clone(&shared);
    // Jobs use rayon themselves: what they hand out is done by the threads of this pool, between or within jobs.
    pool.spawn_broadcast(move |_| {
        let sender = sender.clone();
        while let Some(number) = take(&for_threads, count, ahead) {
            let result = catch_unwind(AssertUnwindSafe(|| job(number)))
                .unwrap_or_else(|panic| panicked(number, message(&*panic)));
            if sender.send((number, result)).is_err() {
                break;
            }
        }
    });
    let mut waiting = BTreeMap::new();
    let mut turn = 0;
    loop {
        if stop() {
            return Ok(End::Stopped);
        }
        match receiver.recv_timeout(LOOK) {
            Ok((number, result)) => {
                waiting.insert(if ordered { number } else { turn }, (number, result));
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(End::All),
        }
        while let Some((number, result)) = waiting.remove(&turn) {
            turn += 1;
            change(&shared, |turns| turns.handed_on = turn);
            if !receive(number, result)? {
                return Ok(End::Stopped);
            }
        }
    }
}

/// The next job, once it may begin.
fn take(shared: &Shared, count: usize, ahead: usize) -> Option<usize> {
    let (turns, changed) = &**shared;
    let turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
    let mut turns = changed
        .wait_while(turns, |turns| {
            !turns.stop && turns.next < count && turns.next >= turns.handed_on.saturating_add(ahead)
        })
        .unwrap_or_else(PoisonError::into_inner);
    if turns.stop || turns.next >= count {
        return None;
    }
    let number = turns.next;
    turns.next += 1;
    Some(number)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn collect(count: usize, threads: usize, ordered: bool) -> Vec<(usize, String)> {
        let mut results = Vec::new();
        let end = run(
            count,
            threads,
            ordered,
            |number| {
                assert!(number % 7 != 3, "job {number} is bad");
                // Nested work must neither hang nor mix.
                let (one, two) = rayon::join(|| number, || number);
                std::thread::sleep(Duration::from_micros((number as u64 * 7919) % 500));
                (one + two).to_string()
            },
            |_, message| message.to_owned(),
            || false,
            |number, result| {
                results.push((number, result));
                Ok(true)
            },
        );
        assert_eq!(end.expect("threads"), End::All);
        results
    }

    fn expected(count: usize) -> Vec<(usize, String)> {
        (0..count)
            .map(|number| {
                let result = if number % 7 == 3 {
                    format!("job {number} is bad")
                } else {
                    (2 * number).to_string()
                };
                (number, result)
            })
            .collect()
    }

    #[test]
    fn results_come_in_order_and_a_panic_is_one_of_them() {
        for (count, threads) in [(0, 1), (1, 4), (40, 1), (200, 3), (200, 8)] {
            assert_eq!(collect(count, threads, true), expected(count));
        }
    }

    #[test]
    fn results_that_come_as_they_are_done_are_the_same() {
        let mut results = collect(200, 4, false);
        results.sort();
        assert_eq!(results, expected(200));
    }

    #[test]
    fn the_first_results_are_handed_on_before_the_last_jobs_begin() {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let mut most = 0;
        let end = run(
            1000,
            2,
            true,
            move |number| {
                counter.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    std::thread::sleep(Duration::from_millis(300));
                }
            },
            |_, _| (),
            || false,
            |number, ()| {
                most = most.max(begun.load(Ordering::SeqCst) - number);
                Ok(true)
            },
        );
        assert_eq!(end.expect("threads"), End::All);
        assert!(most <= 2 * AHEAD + 2 + 2, "{most} results waited");
    }

    #[test]
    fn whoever_has_seen_enough_or_is_told_to_stop_gets_no_more() {
        let mut seen = 0;
        let job = |_| ();
        let panicked = |_, _: &str| ();
        let end = run(
            1000,
            2,
            true,
            job,
            panicked,
            || false,
            |_, ()| {
                seen += 1;
                Ok(seen < 5)
            },
        );
        assert_eq!((end.expect("threads"), seen), (End::Stopped, 5));
        let end = run(1000, 2, true, job, panicked, || true, |_, ()| Ok(true));
        assert_eq!(end.expect("threads"), End::Stopped);
    }
}
