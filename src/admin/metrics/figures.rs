//! What is looked up when somebody asks, beside what was counted on the way ([`METERS`](crate::meters::METERS)).

use std::fs;

use crate::cluster::figures::ClusterFigures;
use crate::mail::ids::Timestamp;
use crate::state::alarms::AlarmKind;
use crate::store::files::Space;

#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub node: String,
    pub role: &'static str,
    pub version: &'static str,
    pub cluster: ClusterFigures,
    /// `None`: a witness, or rows that cannot be read now.
    pub queue: Option<QueueFigures>,
    /// `None`: the disk does not say.
    pub disk: Option<Space>,
    pub process: ProcessFigures,
    /// Kinds of alarms that are raised, one for each; `None` as with the queue.
    pub alarms: Option<Vec<AlarmKind>>,
    /// When the mail services' certificate ends; `None`: there is none.
    pub certificate_ends: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueFigures {
    pub mails: u64,
    pub leases: u64,
    /// When the oldest came; `None`: there is none.
    pub oldest: Option<Timestamp>,
}

/// Of this process, as Linux counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    pub cpu_ticks: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_fds: u64,
    pub threads: u64,
    /// By the wall clock.
    pub started: Timestamp,
}

/// What user space is told of a second, whatever the kernel's own tick is (proc(5), `USER_HZ`).
pub const CPU_TICKS_PER_SECOND: u64 = 100;

impl ProcessFigures {
    /// What cannot be read is 0. Blocks for as long as the kernel writes its own tables.
    pub fn read(started: Timestamp) -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let fds = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        // The descriptor by which they are listed is among them.
        Self { started, open_fds: fds.saturating_sub(1), ..Self::parse(&stat, &status) }
    }

    fn parse(stat: &str, status: &str) -> Self {
        // Behind the program's name, in which anything may stand.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            number.unwrap_or(0) * 1024
        };
        // proc(5): fields 14, 15 and 20, of which the name was the second.
        let (cpu_ticks, threads) = (number(11) + number(12), number(17));
        Self {
            cpu_ticks,
            threads,
            resident_bytes: kib("VmRSS"),
            virtual_bytes: kib("VmSize"),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read_whatever_the_program_is_called() {
        let stat =
            "77 (a ) b) S 1 77 77 0 -1 4194560 5 0 0 0 250 31 0 0 20 0 9 0 1234 55 66 18446744073709551615";
        let status = "Name:\ta ) b\nVmPeak:\t  900 kB\nVmSize:\t  800 kB\nVmRSS:\t  100 kB\n";
        let read = ProcessFigures::parse(stat, status);
        assert_eq!((read.cpu_ticks, read.threads), (281, 9));
        assert_eq!((read.resident_bytes, read.virtual_bytes), (102_400, 819_200));
        assert_eq!(ProcessFigures::parse("", ""), ProcessFigures::default());
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let read = ProcessFigures::read(Timestamp(1));
        assert!(read.resident_bytes > 0 && read.open_fds > 2 && read.threads > 0, "{read:?}");
    }
}
