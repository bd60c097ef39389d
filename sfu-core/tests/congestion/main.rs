//! The bandwidth estimator on a virtual bottleneck: how fast it finds a capacity, what it does when that changes, what
//! loss, jitter and other traffic do to it. Each phenomenon runs with every seed; gates hold for all of them. Where a gate
//! is weaker than the bar that is meant to be met, its name says so. `--nocapture` prints the scoreboard, `BWE_PRINT=seed`
//! what each flow did, a line a second.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

mod bench;
mod flow;
mod tcp;

use std::time::Duration;

use loadtest::net::{GilbertElliott, Jitter, LinkConfig};

use crate::bench::{Change, Run, Scenario, jain};
use crate::flow::{FlowSpec, Source};

const SEEDS: std::ops::Range<u64> = 0..8;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A bottleneck with a queue of 300 ms.
fn link(one_way_ms: u64, bps: f64) -> LinkConfig {
    LinkConfig::with_delay(ms(one_way_ms)).rate(bps as u64, ms(300))
}

/// A figure of a run, and what it must be.
struct Gate {
    what: &'static str,
    least: f64,
    most: f64,
    of: Box<dyn Fn(&Run) -> f64>,
}

fn least(what: &'static str, least: f64, of: impl Fn(&Run) -> f64 + 'static) -> Gate {
    Gate { what, least, most: f64::INFINITY, of: Box::new(of) }
}

fn most(what: &'static str, most: f64, of: impl Fn(&Run) -> f64 + 'static) -> Gate {
    Gate { what, least: f64::NEG_INFINITY, most, of: Box::new(of) }
}

/// Runs a scenario with every seed, prints its rows, and fails when a gate is missed.
fn judge(bar: &str, scenario: &Scenario, gates: Vec<Gate>) {
    let runs: Vec<Run> = SEEDS.map(|seed| scenario.run(seed)).collect();
    if let Some(run) = std::env::var("BWE_PRINT").ok().and_then(|seed| runs.get(seed.parse::<usize>().ok()?))
    {
        (0..scenario.flows.len()).for_each(|flow| run.print(flow));
    }
    let mut missed = Vec::new();
    for gate in gates {
        let values: Vec<f64> = runs.iter().map(|run| (gate.of)(run)).collect();
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let bound =
            if gate.least.is_finite() { format!(">= {}", gate.least) } else { format!("<= {}", gate.most) };
        println!("| {bar} | {} | {bound} | {low:.3} | {mean:.3} | {high:.3} |", gate.what);
        if low < gate.least || high > gate.most {
            missed.push(format!("{bar}: {} {bound}: {values:.3?}", gate.what));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

fn queue_ms(run: &Run, from: f64, to: f64) -> f64 {
    run.percentile(0, from, to, 0.95, |s| s.queue.as_secs_f64() * 1e3)
}

fn estimate(run: &Run, from: f64, to: f64) -> f64 {
    run.mean(0, from, to, |s| s.estimate)
}

fn arrived(run: &Run, flow: usize, from: f64, to: f64) -> f64 {
    run.mean(flow, from, to, |s| s.arrived)
}

/// RFC 8867 §5.1: 1.0, 2.5, 0.6, 1.0 Mbit/s.
#[test]
fn variable_capacity() {
    let scenario = Scenario::new(link(50, 1e6), vec![FlowSpec::elastic(4e6)], 100)
        .change(40.0, Change::Capacity(2.5e6))
        .change(60.0, Change::Capacity(0.6e6))
        .change(80.0, Change::Capacity(1e6));
    let phases = [(10.0, 40.0, 1e6), (50.0, 60.0, 2.5e6), (65.0, 80.0, 0.6e6), (90.0, 100.0, 1e6)];
    let mut gates = Vec::new();
    for (from, to, capacity) in phases {
        gates.push(least("E", 0.75, move |run| estimate(run, from, to) / capacity));
        gates.push(most("E", 1.10, move |run| estimate(run, from, to) / capacity));
        gates.push(least("utilisation", 0.75, move |run| arrived(run, 0, from, to) / capacity));
        gates.push(most("p95 queue ms (bar 100)", 110.0, move |run| queue_ms(run, from, to)));
        gates.push(most("loss", 0.01, move |run| run.mean(0, from, to, |s| s.lost)));
    }
    judge("C1", &scenario, gates);
}

#[test]
fn capacity_drops_to_a_quarter() {
    let scenario =
        Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6)], 40).change(20.0, Change::Capacity(5e5));
    judge(
        "C2",
        &scenario,
        vec![
            most("s until egress <= 1.1 capacity", 2.0, |run| run.until(0, 20.0, |s| s.sent <= 5.5e5)),
            most("s until queue < 50 ms", 4.0, |run| run.until(0, 20.0, |s| s.queue < ms(50))),
            least("E afterwards", 0.7, |run| estimate(run, 25.0, 40.0) / 5e5),
        ],
    );
}

#[test]
fn capacity_drops_to_what_is_left_for_sound() {
    let scenario = Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6)], 50)
        .change(20.0, Change::Capacity(1.5e5))
        .change(50.0, Change::Capacity(2e6));
    judge(
        "C3",
        &scenario,
        vec![
            most("s until egress <= 1.1 capacity", 3.0, |run| run.until(0, 20.0, |s| s.sent <= 1.65e5)),
            most("loss after 5 s", 0.03, |run| run.mean(0, 25.0, 50.0, |s| s.lost)),
            least("E after 5 s", 0.6, |run| estimate(run, 25.0, 50.0) / 1.5e5),
            most("p95 queue ms after 5 s", 250.0, |run| queue_ms(run, 25.0, 50.0)),
        ],
    );
}

/// Layers of 150, 500 and 1,500 kbit/s.
#[test]
fn the_top_layer_returns_after_a_recovery() {
    let ladder = FlowSpec::ladder(&[150e3, 500e3, 1.5e6]);
    let scenario = Scenario::new(link(50, 2e6), vec![ladder], 70)
        .change(20.0, Change::Capacity(5e5))
        .change(40.0, Change::Capacity(2e6));
    judge(
        "C4",
        &scenario,
        vec![
            most("s until the top layer fits", 15.0, |run| run.until(0, 40.0, |s| s.estimate >= 1.63e6)),
            most("loss meanwhile", 0.02, |run| run.mean(0, 40.0, 60.0, |s| s.lost)),
            least("E before", 0.5, |run| run.least(0, 15.0, 20.0, |s| s.estimate) / 2e6),
        ],
    );
}

#[test]
fn cold_start() {
    let scenario = Scenario::new(link(20, 3e6), vec![FlowSpec::elastic(4e6)], 15);
    let ladder = Scenario::new(link(20, 3e6), vec![FlowSpec::ladder(&[150e3, 500e3, 1.5e6])], 15);
    judge(
        "C5",
        &scenario,
        vec![most("s until E >= 0.8", 2.0, |run| run.until(0, 0.0, |s| s.estimate >= 2.4e6))],
    );
    judge(
        "C5 ladder",
        &ladder,
        vec![most("s until the top layer fits", 3.0, |run| run.until(0, 0.0, |s| s.estimate >= 1.63e6))],
    );
}

#[test]
fn two_of_ours_share() {
    let flows = vec![FlowSpec::elastic(3e6), FlowSpec::elastic(3e6).begins(20)];
    let scenario = Scenario::new(link(50, 2e6), flows, 120);
    let share = |run: &Run, from, to| {
        let both = [arrived(run, 0, from, to), arrived(run, 1, from, to)];
        both[1] / (both[0] + both[1])
    };
    judge(
        "C6",
        &scenario,
        vec![
            least("Jain, 40-120 s", 0.95, |run| {
                jain(&[arrived(run, 0, 40.0, 120.0), arrived(run, 1, 40.0, 120.0)])
            }),
            most("s until the late-comer has 40 %", 20.0, move |run| {
                let at = (21..120).find(|at| share(run, f64::from(*at), f64::from(*at) + 2.0) >= 0.4);
                at.map_or(f64::INFINITY, |at| f64::from(at) - 20.0)
            }),
            least("sum over capacity", 0.80, |run| {
                (arrived(run, 0, 40.0, 120.0) + arrived(run, 1, 40.0, 120.0)) / 2e6
            }),
        ],
    );
}

/// RFC 8867 §5.4.
#[test]
fn three_of_ours_share() {
    let flows = (0..3).map(|n| FlowSpec::elastic(3e6).begins(n * 20)).collect();
    let scenario = Scenario::new(link(50, 3.5e6), flows, 120);
    let shares = |run: &Run| [0, 1, 2].map(|flow| arrived(run, flow, 70.0, 120.0));
    judge("C6 three", &scenario, vec![least("Jain, 70-120 s", 0.90, move |run| jain(&shares(run)))]);
}

/// RFC 8867 §5.5.
#[test]
fn far_ones_share_with_near_ones() {
    let delays = [10, 25, 50, 100, 150];
    let flow = |(n, delay): (usize, &u64)| FlowSpec {
        extra_delay: ms(delay - 10),
        ..FlowSpec::elastic(3e6).begins(n as u64 * 10)
    };
    let scenario = Scenario::new(link(10, 4e6), delays.iter().enumerate().map(flow).collect(), 300);
    let shares = |run: &Run| [0, 1, 2, 3, 4].map(|flow| arrived(run, flow, 100.0, 300.0));
    judge(
        "C7",
        &scenario,
        vec![
            least("Jain", 0.85, move |run| jain(&shares(run))),
            least("smallest share over fair (bar 0.5)", 0.2, move |run| {
                let shares = shares(run);
                shares.iter().copied().fold(f64::MAX, f64::min) / (shares.iter().sum::<f64>() / 5.0)
            }),
        ],
    );
}

#[test]
fn beside_a_long_tcp_flow() {
    let scenario = Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6).begins(5)], 120).tcp(0, 120);
    let share = |run: &Run| arrived(run, 0, 20.0, 120.0) / 2e6;
    judge("C8", &scenario, vec![least("share", 0.15, share), most("share", 0.75, share)]);
}

#[test]
fn short_bursts_of_tcp() {
    let mut scenario = Scenario::new(link(50, 1e6), vec![FlowSpec::elastic(1.5e6)], 50);
    for n in 0..4 {
        scenario = scenario.tcp(10 + n * 10, 12 + n * 10);
    }
    judge(
        "C9",
        &scenario,
        vec![least("estimate over capacity, 10-50 s (bar 0.75)", 0.6, |run| estimate(run, 10.0, 50.0) / 1e6)],
    );
}

#[test]
fn random_loss_isnt_congestion() {
    for (loss, gate) in [(0.0, 0.85), (0.02, 0.80), (0.05, 0.70), (0.10, 0.50), (0.20, 0.25)] {
        let scenario = Scenario::new(link(50, 3e6).loss(loss), vec![FlowSpec::elastic(4e6)], 90);
        let bar = format!("C10 {}%", loss * 100.0);
        judge(&bar, &scenario, vec![least("E, 30-90 s", gate, |run| estimate(run, 30.0, 90.0) / 3e6)]);
    }
}

#[test]
fn loss_in_bursts_isnt_congestion() {
    let model = GilbertElliott { to_bad: 0.01, to_good: 0.13, loss_good: 0.0, loss_bad: 0.7 };
    let down = LinkConfig { burst_loss: Some(model), ..link(50, 3e6) };
    let scenario = Scenario::new(down, vec![FlowSpec::elastic(4e6)], 90);
    judge("R5", &scenario, vec![least("E, 30-90 s", 0.5, |run| estimate(run, 30.0, 90.0) / 3e6)]);
}

#[test]
fn a_shallow_queue_shows_itself_by_loss_only() {
    // Three packets.
    let down = LinkConfig::with_delay(ms(25)).rate(5_000_000, ms(6));
    let scenario = Scenario::new(down, vec![FlowSpec::elastic(8e6)], 60);
    judge(
        "shallow",
        &scenario,
        vec![
            least("arrived over capacity, 10-60 s", 0.3, |run| arrived(run, 0, 10.0, 60.0) / 5e6),
            most("loss, 20-60 s", 0.10, |run| run.mean(0, 20.0, 60.0, |s| s.lost)),
        ],
    );
}

#[test]
fn a_pause_and_what_comes_after() {
    let scenario = Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6)], 70)
        .change(20.0, Change::Pause(0, true))
        .change(40.0, Change::Pause(0, false));
    judge(
        "C11",
        &scenario,
        vec![least("estimate within 5 s, of before", 0.8, |run| {
            run.percentile(0, 40.0, 45.0, 1.0, |s| s.estimate) / estimate(run, 15.0, 20.0)
        })],
    );
}

#[test]
fn feedback_falls_silent() {
    let lost = LinkConfig::with_delay(ms(50)).loss(1.0);
    let scenario = Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6)], 50)
        .change(20.0, Change::Up(lost))
        .change(23.3, Change::Up(LinkConfig::with_delay(ms(50))));
    judge(
        "C12",
        &scenario,
        vec![
            most("kbit/s of the estimate after 3 s", 40.0, |run| {
                run.least(0, 22.9, 23.3, |s| s.estimate) / 1e3
            }),
            most("s until 80 % of before", 5.0, |run| {
                let before = estimate(run, 15.0, 20.0);
                run.until(0, 23.3, move |s| s.estimate >= 0.8 * before)
            }),
        ],
    );
}

#[test]
fn feedback_through_a_narrow_way_back() {
    let mut scenario = Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6)], 60);
    scenario.up = LinkConfig::with_delay(ms(50)).rate(50_000, ms(300));
    judge("C12 narrow", &scenario, vec![least("E, 20-60 s", 0.6, |run| estimate(run, 20.0, 60.0) / 2e6)]);
    let mut scenario = Scenario::new(link(50, 2e6), vec![FlowSpec::elastic(3e6)], 60);
    scenario.up = LinkConfig::with_delay(ms(50)).loss(0.3);
    judge("C12 lossy", &scenario, vec![least("E, 20-60 s", 0.7, |run| estimate(run, 20.0, 60.0) / 2e6)]);
}

#[test]
fn five_minutes_of_wifi() {
    let down = LinkConfig {
        jitter: Jitter::Uniform(ms(5)),
        burst_loss: Some(GilbertElliott::average(0.002, 3.0)),
        duplicate: 0.0005,
        reorder: 0.001,
        reorder_by: ms(10),
        ..link(8, 3e6)
    };
    let ladder = FlowSpec { source: Source::Ladder(vec![150e3, 500e3, 1.5e6]), ..FlowSpec::elastic(0.0) };
    judge(
        "C14",
        &Scenario::new(down.clone(), vec![FlowSpec::elastic(4e6)], 300),
        vec![least("least E, 10-300 s", 0.5, |run| run.least(0, 10.0, 300.0, |s| s.estimate) / 3e6)],
    );
    judge(
        "C14 ladder",
        &Scenario::new(down, vec![ladder], 300),
        vec![least("least estimate over what the top layer takes (bar 1)", 0.65, |run| {
            run.least(0, 10.0, 300.0, |s| s.estimate) / 1.63e6
        })],
    );
}

#[test]
fn wild_jitter() {
    for (name, reorders) in [("R7", true), ("R7 in order", false)] {
        let down =
            LinkConfig { jitter: Jitter::Uniform(ms(100)), jitter_reorders: reorders, ..link(20, 2e6) };
        let scenario = Scenario::new(down, vec![FlowSpec::elastic(4e6)], 90);
        judge(name, &scenario, vec![least("E, 20-90 s", 0.5, |run| estimate(run, 20.0, 90.0) / 2e6)]);
    }
}

#[test]
fn another_route() {
    let scenario = Scenario::new(link(20, 2e5), vec![FlowSpec::elastic(3e6)], 40)
        .change(20.0, Change::Route(link(40, 8e5)));
    judge(
        "route",
        &scenario,
        vec![most("s until 500 kbit/s", 1.0, |run| run.until(0, 20.0, |s| s.estimate >= 5e5))],
    );
}

/// Capacity times delay: nowhere does it collapse.
#[test]
fn no_collapse_anywhere() {
    let mut worst: f64 = f64::MAX;
    for (n, capacity) in [0.3e6, 0.6e6, 1.2e6, 2.5e6, 5e6, 10e6].into_iter().enumerate() {
        for (m, rtt) in [10u64, 40, 100, 200, 400].into_iter().enumerate() {
            let flow = FlowSpec { start: 300e3, ..FlowSpec::elastic(capacity * 1.2) };
            let scenario = Scenario::new(link(rtt / 2, capacity), vec![flow], 45);
            let run = scenario.run((n * 5 + m) as u64);
            let used = arrived(&run, 0, 15.0, 45.0) / capacity;
            println!(
                "| C16 | {} kbit/s, {rtt} ms: utilisation | >= 0.3 | {used:.3} | E {:.3} | queue {:.0} ms |",
                capacity / 1e3,
                estimate(&run, 15.0, 45.0) / capacity,
                queue_ms(&run, 15.0, 45.0)
            );
            worst = worst.min(used);
        }
    }
    assert!(worst >= 0.3, "{worst}");
}
