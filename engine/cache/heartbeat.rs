//! The heartbeat: one thread of the process, which makes every lease that is held show that its owner lives.

use std::{
    sync::{Arc, Mutex, Once, PoisonError, Weak},
    thread,
    time::Duration,
};

/// Something that shows, again and again, that its owner lives.
pub(super) trait Beat: Send + Sync {
    /// Called every [`interval`], from the thread of the heartbeat.
    fn beat(&self);
}

static BEATING: Mutex<Vec<Weak<dyn Beat>>> = Mutex::new(Vec::new());

/// The time between two beats of this process: two seconds, or what `PIPE_HEARTBEAT_MS` says.
pub(super) fn interval() -> Duration {
    let told = std::env::var("PIPE_HEARTBEAT_MS").ok().and_then(|text| text.parse().ok());
    Duration::from_millis(told.unwrap_or(2000).clamp(10, 60_000))
}

/// Has `beat` called until it is dropped.
pub(super) fn join<B: Beat + 'static>(beat: &Arc<B>) {
    static STARTED: Once = Once::new();
    let beat: Weak<B> = Arc::downgrade(beat);
    BEATING.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
    STARTED.call_once(|| {
        let interval = interval();
        // Without the thread the lease still holds on this machine, by its lock.
        let _ = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            loop {
                thread::sleep(interval);
                // The list is not held locked: a file server may make a beat take long.
                for beat in living() {
                    beat.beat();
                }
            }
        });
    });
}

fn living() -> Vec<Arc<dyn Beat>> {
    let mut beating = BEATING.lock().unwrap_or_else(PoisonError::into_inner);
    beating.retain(|beat| beat.strong_count() > 0);
    beating.iter().filter_map(Weak::upgrade).collect()
}
