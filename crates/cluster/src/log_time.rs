//! Which time does the leader's next tick tell?
//!
//! Log time follows the clocks of leaders, and one of them may be wrong. What is certain is how long ago this keeper saw
//! the last tick applied, by a clock that only counts. So log time keeps to that: it may stand still, and it may go
//! twice as fast, until it is where the leader's clock is. A keeper that saw no tick since it started knows no
//! better than its clock.
//!
//! Wished for, each with a test:
//! - log time never goes back;
//! - with a clock that is right it is that clock's time, also after a failover and after everything was down;
//! - a clock that goes wrong, or the wrong clock of another leader, makes rows age at most twice as fast as they should.

use std::time::Duration;

/// How much faster than time itself log time may go, to catch up with the clock of the leader.
const SPEED_MAX: u32 = 2;

/// The time to propose, in milliseconds since the Unix epoch, given log time, the leader's clock, and how long ago this
/// keeper saw the last tick applied, if it did since it started.
pub fn next(log_time_ms: u64, clock_ms: u64, since: Option<Duration>) -> u64 {
    let latest = since.map_or(u64::MAX, |since| {
        let ahead = since.saturating_mul(SPEED_MAX).as_millis();
        log_time_ms.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
    });
    clock_ms.clamp(log_time_ms, latest.max(log_time_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const YEAR: u64 = 365 * 24 * HOUR;
    const NOW: u64 = 56 * YEAR;
    const SECOND: Option<Duration> = Some(Duration::from_secs(1));

    #[test]
    fn a_right_clock_is_followed() {
        let mut log_time = next(0, NOW, None);
        assert_eq!(log_time, NOW, "the first tick of all");
        for tick in 1..100 {
            log_time = next(log_time, NOW + tick * 1_000, SECOND);
            assert_eq!(log_time, NOW + tick * 1_000);
        }
        // Nobody led for an hour; and everything was down for one.
        let later = log_time + HOUR;
        assert_eq!(next(log_time, later, Some(Duration::from_secs(3_600))), later);
        assert_eq!(next(log_time, later, None), later);
    }

    #[test]
    fn it_never_goes_back() {
        for since in [None, SECOND, Some(Duration::ZERO), Some(Duration::MAX)] {
            assert_eq!(next(NOW, NOW - HOUR, since), NOW);
            assert_eq!(next(NOW, 0, since), NOW);
        }
        assert_eq!(next(u64::MAX, u64::MAX, SECOND), u64::MAX);
    }

    #[test]
    fn a_wrong_clock_makes_time_go_twice_as_fast_at_most() {
        let mut log_time = NOW;
        for _ in 0..600 {
            log_time = next(log_time, NOW + YEAR, SECOND);
        }
        assert_eq!(log_time, NOW + 2 * 600 * 1_000);
        // Once it is put right, log time waits for it.
        let right = NOW + 600 * 1_000;
        assert_eq!(next(log_time, right, SECOND), log_time);
        let caught_up = log_time + 1;
        assert_eq!(next(log_time, caught_up, SECOND), caught_up);
    }
}
