//! What does the operating system say about this process? Read when somebody asks.

use procfs::WithCurrentSystemInfo;
use procfs::process::Process;
use prometheus_client::collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The standard `process_*` metrics.
#[derive(Debug)]
pub(super) struct Collector;

impl collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Ok(process) = Process::myself() else { return Ok(()) };
        let Ok(stat) = process.stat() else { return Ok(()) };
        #[expect(clippy::cast_precision_loss, reason = "ticks of one process stay far below 2^52")]
        let cpu = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        let cpu = ConstCounter::new(cpu);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time used",
            None,
            cpu.metric_type(),
        )?)?;
        let mut gauge = |name, help, value: u64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Memory in use", stat.rss_bytes().get())?;
        gauge("process_virtual_memory_bytes", "Address space in use", stat.vsize)?;
        if let Ok(files) = process.fd_count() {
            gauge("process_open_fds", "Open files", files as u64)?;
        }
        if let Ok(boot) = procfs::boot_time_secs() {
            let started = boot + stat.starttime / procfs::ticks_per_second();
            gauge("process_start_time_seconds", "Start, since the epoch", started)?;
        }
        Ok(())
    }
}
