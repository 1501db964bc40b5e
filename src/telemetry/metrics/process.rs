//! What the operating system knows of the process, under the names that Prometheus' own libraries use. On systems
//! without `/proc` only the time of the start is told.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::telemetry::lost_lines;

/// Ticks of a second in `/proc/self/stat`: `USER_HZ`, the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    /// In seconds since 1970.
    pub started_at: f64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        encoder
            .encode_descriptor(
                "doorward_log_lines_lost",
                "Log lines that nobody read in time",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&lost_lines(), None)?;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("process_start_time", "When the process started, since 1970", Some(&Unit::Seconds), self.started_at)?;
        if let Some(bytes) = resident_bytes() {
            gauge("process_resident_memory", "Memory in use", Some(&Unit::Bytes), bytes)?;
        }
        if let Some(files) = open_files() {
            gauge("process_open_fds", "File descriptors in use", None, files)?;
        }
        if let Some(seconds) = cpu_seconds() {
            encoder
                .encode_descriptor("process_cpu", "Processor time spent", Some(&Unit::Seconds), MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, f64>(&seconds, None)?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(f64::from(u32::try_from(count).ok()?))
}

/// User and system time: fields 14 and 15 of `proc(5)`, counted behind the name, which may hold anything.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}
