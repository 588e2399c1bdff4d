//! Where lines go, and what a run says while it waits.

use std::{cell::RefCell, io::Write, rc::Rc, time::Duration};

use crate::{
    clients::call::Patience,
    config::Format,
    model::line::{LONGEST_LINE, bounded},
};

/// Where lines go, and the clock of the run: what reports and what looks at the clock have in common.
pub(super) struct Sinks<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
    pub(super) patience: Option<Patience>,
}

impl Sinks<'_> {
    pub(super) fn line(&mut self, format: Format, line: &str) {
        let sink = match format {
            Format::Text => &mut *self.out,
            Format::Json => &mut *self.err,
        };
        // Nobody listens any more: no reason to stop half-way.
        let _ = writeln!(sink, "{line}");
        let _ = sink.flush();
    }
}

/// Says what a run waits for, while it waits.
pub struct Ticker<'a> {
    pub(super) format: Format,
    pub(super) sinks: Rc<RefCell<Sinks<'a>>>,
}

impl Ticker<'_> {
    /// Does the work to its end, and says meanwhile what it waits for.
    pub async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(TICK) => self.tick(),
            }
        }
    }

    fn tick(&self) {
        let mut sinks = self.sinks.borrow_mut();
        if let Some(progress) = sinks.patience.as_ref().and_then(Patience::progress) {
            sinks.line(self.format, &bounded(&progress, LONGEST_LINE));
        }
    }
}

const TICK: Duration = Duration::from_secs(1);
