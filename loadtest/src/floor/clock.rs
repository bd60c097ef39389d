//! CPU time of the calling thread, without what reading it costs.

/// Empty measurements that the calibration takes.
const CALIBRATION: usize = 1_001;

/// Measures work of this thread.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock {
    /// What a measurement of nothing shows.
    overhead_ns: f64,
}

impl CpuClock {
    /// Fails where a thread's CPU time can't be read.
    pub fn calibrated() -> Result<CpuClock, String> {
        let clock = CpuClock { overhead_ns: 0.0 };
        let empty: Result<Vec<f64>, String> = (0..CALIBRATION).map(|_| clock.measure(|| Ok(()))).collect();
        let mut empty = empty?;
        empty.sort_by(f64::total_cmp);
        Ok(CpuClock { overhead_ns: empty.get(CALIBRATION / 2).copied().unwrap_or_default() })
    }

    /// CPU time of `work` in ns, user and system.
    pub fn measure(self, work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
        let before = thread_cpu_ns()?;
        work()?;
        Ok(thread_cpu_ns()? - before - self.overhead_ns)
    }
}

#[cfg(target_os = "linux")]
fn thread_cpu_ns() -> Result<f64, String> {
    use nix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_err(|error| error.to_string())?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

#[cfg(not(target_os = "linux"))]
fn thread_cpu_ns() -> Result<f64, String> {
    Err("CPU time of a thread is read on Linux only".into())
}
