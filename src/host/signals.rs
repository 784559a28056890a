//! Ctrl-C and its kin: heard, and acted on between steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Whether somebody asked this program to stop.
#[derive(Clone)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    /// While nothing is begun, a signal ends the program as it would any other.
    idle: Arc<AtomicBool>,
}

impl Signals {
    /// From now on SIGINT, SIGTERM and SIGHUP can be held.
    ///
    /// # Errors
    /// If the handlers cannot be set.
    pub fn listen() -> std::io::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let signals = Self {
            stop: Arc::new(AtomicBool::new(false)),
            idle: Arc::new(AtomicBool::new(true)),
        };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&signals.idle))?;
        }
        Ok(signals)
    }

    /// As long as the guard lives, signals are noted instead of ending the program.
    #[must_use]
    pub fn hold(&self) -> Held<'_> {
        Held {
            was: self.idle.swap(false, Ordering::SeqCst),
            signals: self,
        }
    }

    #[must_use]
    pub fn stop_asked(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// Signals are noted as long as this lives.
pub struct Held<'a> {
    signals: &'a Signals,
    was: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.signals.idle.store(self.was, Ordering::SeqCst);
    }
}
