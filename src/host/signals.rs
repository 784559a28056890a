//! Ctrl-C and its kin: heard, and acted on between steps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Whether somebody asked this program to stop.
#[derive(Clone)]
pub struct Signals(Arc<AtomicBool>);

impl Signals {
    /// From now on SIGINT, SIGTERM and SIGHUP are noted instead of ending the program.
    ///
    /// # Errors
    /// If the handlers cannot be set.
    pub fn listen() -> std::io::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    #[must_use]
    pub fn stop_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
