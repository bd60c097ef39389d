//! Data channels of an independent stack, aiortc, through a whole server. Without aiortc it isn't run, and says so;
//! `SFU_REQUIRE_CLIENTS=1` makes that a failure, `SFU_PYTHON` names the interpreter that has it.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod common;

use std::process::Command;

use common::TestServer;

fn python() -> String {
    std::env::var("SFU_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn aiortc_peers_exchange_messages_of_every_kind() {
    let probe = Command::new(python()).args(["-c", "import aiortc, websockets"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("SFU_REQUIRE_CLIENTS").is_none(), "no aiortc on this machine");
        println!("NOT RUN: no aiortc on this machine");
        return;
    }
    let server = TestServer::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/aiortc_data.py");
    let url = format!("ws://{}/ws", server.http());
    let output = tokio::task::spawn_blocking(move || {
        Command::new("timeout").args(["-k", "5", "110"]).arg(python()).arg(script).arg(url).output().unwrap()
    });
    let output = output.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    server.stop().await;
}
