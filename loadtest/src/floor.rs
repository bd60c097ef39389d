//! `loadtest floor`: what one packet costs this machine at the very least, whoever forwards it: the cipher, and the kernel's
//! part of sending and receiving it. A server's CPU time per packet means something only beside these, taken on the same
//! machine in the same minute. Knows nothing of any server.
//!
//! Every figure is CPU time of the measuring thread, user and system. All figures are taken once in each round, so that
//! what disturbs the machine for a while disturbs all of them.

mod cipher;
mod clock;
mod sockets;

use std::fmt;

use serde::Serialize;

use self::clock::CpuClock;
use self::sockets::{Receivers, Sender};

/// What to measure.
#[derive(clap::Args, Debug, Clone)]
pub struct FloorArgs {
    /// Bytes of each RTP packet, header included, before SRTP's tag is added.
    #[arg(long, default_value_t = 1_200, value_parser = clap::value_parser!(u16).range(64..=1_400))]
    packet_bytes: u16,
    /// Sockets that are sent to in turn, as subscribers would be.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    destinations: u16,
    /// Times that each figure is taken; the median is printed, with the quartiles around it.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub rounds: u16,
    /// Writes the figures as JSON to this file, too.
    #[arg(long)]
    pub json: Option<std::path::PathBuf>,
}

/// Nanoseconds of CPU time per packet over all rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Cost {
    pub median: f64,
    pub lower_quartile: f64,
    pub upper_quartile: f64,
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// For programs; it stays when `what` is put better.
    pub key: String,
    pub what: String,
    /// `None` where the machine can't do this; the error says why.
    pub ns_per_packet: Option<Cost>,
    pub error: Option<String>,
}

/// All figures of one run.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Floor {
    pub packet_bytes: u16,
    pub tag_bytes: usize,
    pub destinations: u16,
    pub rounds: u16,
    pub cpu: String,
    pub kernel: String,
    pub rows: Vec<Row>,
}

/// What the figures don't hold.
const LEFT_OUT: &str = "Left out: headers, bookkeeping, cache misses of a real working set, wake-ups, the network card. On loopback a \
    send\nalso queues the packet at the receiver, and a receive gets it from there: with a card, sends cost less and receives more.";

type Sample = Result<f64, String>;

/// Something that can be measured again and again.
struct Figure {
    key: String,
    what: String,
    take: Box<dyn FnMut() -> Sample>,
    samples: Result<Vec<f64>, String>,
}

impl Figure {
    fn new(key: String, what: String, take: impl FnMut() -> Sample + 'static) -> Figure {
        Figure { key, what, take: Box::new(take), samples: Ok(Vec::new()) }
    }

    /// One of sockets, which can be missing.
    fn of<T: 'static>(
        key: String,
        what: String,
        sockets: Result<T, String>,
        mut take: impl FnMut(&mut T) -> Sample + 'static,
    ) -> Figure {
        let mut sockets = sockets;
        Figure::new(key, what, move || take(sockets.as_mut().map_err(|error| error.clone())?))
    }

    /// Takes one more sample, unless one has failed.
    fn measure(&mut self) {
        if let Ok(samples) = &mut self.samples {
            match (self.take)() {
                Ok(sample) => samples.push(sample),
                Err(error) => self.samples = Err(error),
            }
        }
    }

    fn row(&self) -> Row {
        let (ns_per_packet, error) = match &self.samples {
            Ok(samples) => (Cost::of(samples.clone()), None),
            Err(error) => (None, Some(error.clone())),
        };
        Row { key: self.key.clone(), what: self.what.clone(), ns_per_packet, error }
    }
}

/// Takes every figure; `progress` is told of each round that is done.
pub fn measure(args: &FloorArgs, mut progress: impl FnMut(u16)) -> Floor {
    let mut figures = match CpuClock::calibrated() {
        Ok(clock) => figures(args, clock),
        Err(error) => vec![Figure::new("clock".into(), "CPU clock".into(), move || Err(error.clone()))],
    };
    for round in 1..=args.rounds {
        figures.iter_mut().for_each(Figure::measure);
        progress(round);
    }
    let mut rows: Vec<Row> = figures.iter().map(Figure::row).collect();
    rows.extend(sums(&figures));
    Floor {
        packet_bytes: args.packet_bytes,
        tag_bytes: cipher::TAG_LEN,
        destinations: args.destinations,
        rounds: args.rounds,
        cpu: cpu_name(),
        kernel: read("/proc/sys/kernel/osrelease"),
        rows,
    }
}

fn figures(args: &FloorArgs, clock: CpuClock) -> Vec<Figure> {
    let (length, destinations) = (usize::from(args.packet_bytes), usize::from(args.destinations));
    let datagram = length + cipher::TAG_LEN;
    let mut figures = Vec::new();
    for cipher in cipher::CIPHERS {
        let (key, name) = (cipher.key, cipher.name);
        let seal = move || cipher::seal(clock, cipher, length);
        figures.push(Figure::new(format!("seal_{key}"), format!("seal {name}"), seal));
        let open = move || cipher::open(clock, cipher, length);
        figures.push(Figure::new(format!("open_{key}"), format!("open {name}"), open));
    }
    let plain = || Sender::new(datagram, destinations, 1, Receivers::Plain);
    figures.push(Figure::of("sendto".into(), "sendto".into(), plain(), move |sender| {
        sender.send_one_by_one(clock)
    }));
    for run in sockets::SEND_RUNS {
        for receivers in [Receivers::Plain, Receivers::Coalescing] {
            if run == 1 && receivers == Receivers::Coalescing {
                continue;
            }
            let sender = Sender::new(datagram, destinations, run, receivers);
            let (key, what) = name_of_send(run, receivers);
            figures.push(Figure::of(key, what, sender, move |sender| sender.send_batches(clock)));
        }
    }
    for run in sockets::RECEIVE_RUNS {
        let receiver = sockets::Receiver::new(datagram, run);
        let (key, what) = name_of_receive(run);
        figures.push(Figure::of(key, what, receiver, move |receiver| receiver.receive_batches(clock)));
    }
    figures
}

fn name_of_send(run: usize, receivers: Receivers) -> (String, String) {
    match (run, receivers) {
        (1, _) => ("sendmmsg".into(), "sendmmsg".into()),
        (run, Receivers::Plain) => (format!("sendmmsg_gso_{run}"), format!("sendmmsg, GSO {run}")),
        (run, Receivers::Coalescing) => {
            (format!("sendmmsg_gso_{run}_to_gro"), format!("sendmmsg, GSO {run}, receiver has GRO"))
        }
    }
}

fn name_of_receive(run: usize) -> (String, String) {
    match run {
        1 => ("recvmmsg".into(), "recvmmsg".into()),
        run => (format!("recvmmsg_gro_{run}"), format!("recvmmsg, GRO of {run}")),
    }
}

/// What a packet costs on its way through a server: the sums of each round's samples.
fn sums(figures: &[Figure]) -> Vec<Row> {
    let samples = |key: &str| figures.iter().find(|figure| figure.key == key)?.samples.as_ref().ok();
    let sum = |name: &str, cipher: &str, (key, what): (String, String)| {
        let (cipher, system_call) = (samples(cipher)?, samples(&key)?);
        let sums = cipher.iter().zip(system_call).map(|(cipher, call)| cipher + call);
        let (key, what) = (format!("{name}_{key}"), format!("{name}: AES-128-GCM + {what}"));
        Some(Row { key, what, ns_per_packet: Cost::of(sums.collect()), error: None })
    };
    let sends = sockets::SEND_RUNS.map(|run| name_of_send(run, Receivers::Plain));
    let receives = sockets::RECEIVE_RUNS.map(name_of_receive);
    let forwarded = sends.into_iter().filter_map(|call| sum("forward", "seal_aes_128_gcm", call));
    let received = receives.into_iter().filter_map(|call| sum("receive", "open_aes_128_gcm", call));
    forwarded.chain(received).collect()
}

fn cpu_name() -> String {
    let cpus = read("/proc/cpuinfo");
    let name = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map(|(_, name)| name.to_owned()).unwrap_or_default()
}

/// A file of the kernel's; empty where there is none.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Cost {
    /// `None` without samples.
    fn of(mut samples: Vec<f64>) -> Option<Cost> {
        samples.sort_by(f64::total_cmp);
        let at = |quarters: usize| {
            let index = (samples.len().checked_sub(1)? * quarters + 2) / 4;
            samples.get(index).copied()
        };
        Some(Cost { lower_quartile: at(1)?, median: at(2)?, upper_quartile: at(3)? })
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "CPU time per packet of {} bytes and a tag of {}, in ns",
            self.packet_bytes, self.tag_bytes
        )?;
        let machine = format!("{}, Linux {}", self.cpu, self.kernel);
        writeln!(
            f,
            "median of {} rounds (and quartiles), {} sockets on loopback",
            self.rounds, self.destinations
        )?;
        writeln!(f, "{machine}\n")?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        writeln!(f, "\n{LEFT_OUT}")
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.ns_per_packet, &self.error) {
            (Some(Cost { median, lower_quartile, upper_quartile }), _) => {
                write!(f, "{:<44}{median:>7.0}   ({lower_quartile:.0} to {upper_quartile:.0})", self.what)
            }
            (None, error) => {
                write!(f, "{:<44}not measured: {}", self.what, error.as_deref().unwrap_or("no samples"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        floor: FloorArgs,
    }

    fn parse(args: &str) -> Result<FloorArgs, clap::Error> {
        Cli::try_parse_from(args.split_whitespace()).map(|cli| cli.floor)
    }

    #[test]
    fn sizes_that_no_packet_has_and_no_rounds_are_refused() {
        let usual = parse("floor").unwrap();
        assert_eq!((usual.packet_bytes, usual.destinations, usual.rounds), (1_200, 50, 15));
        for wrong in
            ["--packet-bytes 1500", "--packet-bytes 20", "--destinations 0", "--rounds 0", "--rounds x"]
        {
            assert!(parse(&format!("floor {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn quartiles_are_samples_and_in_order() {
        let cost = Cost::of(vec![9.0, 1.0, 5.0, 3.0, 7.0]).unwrap();
        assert_eq!((cost.lower_quartile, cost.median, cost.upper_quartile), (3.0, 5.0, 7.0));
        assert_eq!(Cost::of(vec![4.0]).unwrap().upper_quartile, 4.0);
        assert_eq!(Cost::of(Vec::new()), None);
    }

    #[test]
    fn a_figure_that_fails_says_why_and_is_in_no_sum() {
        let figure = |key: &str, sample: Sample| {
            let mut figure = Figure::new(key.into(), key.into(), move || sample.clone());
            figure.measure();
            figure
        };
        let figures = [
            figure("seal_aes_128_gcm", Ok(200.0)),
            figure("sendmmsg", Ok(1_800.0)),
            figure("sendmmsg_gso_8", Err("not here".into())),
        ];
        let sums = sums(&figures);
        assert_eq!(sums.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["forward_sendmmsg"]);
        assert_eq!(sums[0].ns_per_packet.unwrap().median, 2_000.0);
        assert!(figures[2].row().to_string().ends_with("not measured: not here"));
    }

    /// Every datagram that is sent in a sample must arrive, or the sample fails: so figures mean that none was lost.
    #[test]
    #[cfg(target_os = "linux")]
    fn every_figure_is_taken_and_stands_in_the_json_under_its_key() {
        let mut rounds = Vec::new();
        let floor = measure(&parse("floor --destinations 3 --rounds 2").unwrap(), |round| rounds.push(round));
        assert_eq!(rounds, [1, 2]);
        let json = serde_json::to_value(&floor).unwrap();
        assert_eq!((&json["packet_bytes"], &json["tag_bytes"]), (&1_200.into(), &16.into()));
        for key in [
            "seal_aes_128_gcm",
            "open_aes_256_gcm",
            "sendto",
            "sendmmsg",
            "sendmmsg_gso_16",
            "sendmmsg_gso_8_to_gro",
            "recvmmsg",
            "recvmmsg_gro_8",
            "forward_sendmmsg_gso_8",
            "receive_recvmmsg",
        ] {
            let row = json["rows"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
            assert!(row["error"].is_null(), "{row}");
            assert!(row["ns_per_packet"]["median"].as_f64().unwrap() > 1.0, "{row}");
        }
    }
}
