//! Runs a test in a network namespace of its own that has an interface besides the loopback, and a default route: Firefox
//! and GStreamer gather no candidates without. Nothing that a program does there leaves the machine.

use std::process::{Command, Stdio};

use crate::{not_run, succeeds};

/// The address that programs inside reach each other at (RFC 5737: it is nobody's).
pub const ADDRESS: &str = "192.0.2.9";

/// Where servers of a test are reached: at [`ADDRESS`] inside, else at the loopback.
pub fn address() -> &'static str {
    if std::env::var_os(MARK).is_some() { ADDRESS } else { "127.0.0.1" }
}

/// In the environment of what runs inside.
const MARK: &str = "SFU_TEST_NAMESPACE";

/// Whether this process runs inside; if not, the test of that name of this binary, with its modules, is run inside, once,
/// and has been when this returns.
///
/// # Panics
/// When the test fails inside, or isn't found.
pub fn enter(test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let Some(flags) = possible() else {
        not_run(test, "no network namespace can be made here: that needs root, or user namespaces");
        return false;
    };
    let Ok(binary) = std::env::current_exe() else {
        not_run(test, "the test's own binary isn't found");
        return false;
    };
    let script = format!("{SETUP} && exec \"$@\"");
    let mut inside = Command::new("unshare");
    inside.args([flags, "sh", "-c", &script, "sh"]).arg(binary);
    inside.args([test, "--exact", "--include-ignored", "--nocapture"]).env(MARK, "1");
    let output = inside.stdin(Stdio::null()).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => panic!("{test}: {error}"),
    };
    // Printed by this process, so that the test harness can keep it with the test.
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed in its namespace");
    let ran = String::from_utf8_lossy(&output.stdout).contains("test result: ok. 1 passed");
    assert!(ran, "{test} is not the whole name of a test");
    false
}

const SETUP: &str = "ip link set lo up && ip link add one type veth peer name other && ip link set other up \
    && ip addr add 192.0.2.9/24 dev one && ip link set one up && ip route add default dev one";

/// What `unshare` has to be told here: root needs no user namespace.
fn possible() -> Option<&'static str> {
    ["-n", "-rn"].into_iter().find(|flags| {
        let mut attempt = Command::new("unshare");
        attempt.args([flags, "sh", "-c", SETUP]);
        succeeds(attempt)
    })
}
