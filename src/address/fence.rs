//! What may be begun until a moment is not begun after it, even by a process that was stopped in between: a timer of the
//! kernel's kills it at that moment. A check of the clock alone would be true and then old.

use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;

use crate::clock::BootTime;

pub struct Fence(Timer);

impl Fence {
    /// Of this process; not armed.
    pub fn new() -> nix::Result<Self> {
        let kill = SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 };
        // SIGKILL ends a process that is stopped (signal(7)), and CLOCK_BOOTTIME goes on while the machine sleeps.
        Ok(Self(Timer::new(ClockId::CLOCK_BOOTTIME, SigEvent::new(kill))?))
    }

    /// `None`: the moment had passed, and nothing was begun. A process that is still in `act` at that moment is killed.
    pub fn within<T>(&mut self, until: BootTime, act: impl FnOnce() -> T) -> nix::Result<Option<T>> {
        // Whoever is late as a matter of course need not die of it.
        if BootTime::now() >= until {
            return Ok(None);
        }
        self.set(until.since_boot(), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        // The timer is armed before the clock is read: from here on there is no way to `act` after `until`.
        let done = (BootTime::now() < until).then(act);
        self.set(Duration::ZERO, TimerSetTimeFlags::empty())?;
        Ok(done)
    }

    /// Zero disarms it (timer_settime(2)).
    fn set(&mut self, at: Duration, flags: TimerSetTimeFlags) -> nix::Result<()> {
        self.0.set(Expiration::OneShot(TimeSpec::from_duration(at)), flags)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use nix::sys::signal::raise;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const CHILD: &str = "address::fence::tests::stops_behind_the_fence";

    #[test]
    fn what_is_late_is_not_begun() {
        let mut fence = Fence::new().unwrap();
        let now = BootTime::now();
        assert_eq!(fence.within(now, || 7), Ok(None));
        assert_eq!(
            fence.within(now.plus(Duration::from_secs(60)), || 7),
            Ok(Some(7)),
            "it is disarmed after"
        );
    }

    /// Were it not killed, it would be stopped for ever, and this test would not end.
    #[test]
    fn a_process_that_is_stopped_before_it_begins_is_killed_at_the_moment() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", CHILD, "--ignored", "--nocapture"]).stdout(Stdio::null());
        let began = BootTime::now();
        let status = child.status().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
        assert!(BootTime::now() >= began.plus(SOON));
    }

    #[test]
    #[ignore = "the child of the test above: it stops itself"]
    fn stops_behind_the_fence() {
        let until = BootTime::now().plus(SOON);
        let _ = Fence::new().unwrap().within(until, || raise(Signal::SIGSTOP));
    }
}
