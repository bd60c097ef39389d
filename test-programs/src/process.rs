//! Child processes and their temporary files, which all end with the value that stands for them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A temporary path that no other test uses; whatever lies there is deleted with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Nothing is made at the path. `what` becomes part of its name.
    pub fn path_for(what: &str) -> Scratch {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("sfu-test-{}-{number}-{what}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }

    /// A new directory.
    pub fn directory(what: &str) -> io::Result<Scratch> {
        let scratch = Scratch::path_for(what);
        std::fs::create_dir_all(&scratch.0)?;
        Ok(scratch)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ =
            if self.0.is_dir() { std::fs::remove_dir_all(&self.0) } else { std::fs::remove_file(&self.0) };
    }
}

/// A running program with its children, in a process group and with a home directory of its own. Dropping it ends the
/// whole group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    home: Scratch,
}

impl Process {
    /// Starts a program. Its output is thrown away unless `SFU_CLIENT_OUTPUT` is set.
    pub fn spawn(command: Command) -> io::Result<Process> {
        Process::spawn_at(command, Scratch::directory("home")?)
    }

    /// As [`Process::spawn`], with a directory that the caller has prepared.
    pub fn spawn_at(mut command: Command, home: Scratch) -> io::Result<Process> {
        let shown = std::env::var_os("SFU_CLIENT_OUTPUT").is_some();
        let output = || if shown { Stdio::inherit() } else { Stdio::null() };
        command.env("HOME", home.path()).stdin(Stdio::null()).stdout(output()).stderr(output());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(Process { child: command.spawn()?, home })
    }

    /// Its home directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args([signal, "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("-KILL");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command on processor time that nobody else wants.
pub fn idle(command: Command) -> Command {
    let mut idle = Command::new("chrt");
    idle.args(["--idle", "0"]).arg(command.get_program()).args(command.get_args());
    idle
}

/// The first of `names` that lies in a directory of `$PATH`.
pub fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |directory| directory.join(name)))
        .find(|candidate| candidate.exists())
}

/// Whether a command ends well.
pub fn succeeds(mut command: Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The first line that a command prints.
pub fn first_line(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}
