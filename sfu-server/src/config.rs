//! What the person who runs the server can choose: one struct of plain values with units and defaults. It is layered
//! from a TOML file, the environment and flags, in rising precedence, and validated once. What nobody should tune is a
//! constant beside the code that uses it.

mod codecs;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{FromArgMatches, Parser};
use serde::{Deserialize, Serialize};
use sfu_core::unit::Kind;
use signaling::message::IceServer;
use signaling::{CodecName, CodecPolicy};

use crate::net::IoMode;

pub use codecs::RoomOptions;

/// Most workers: their ids are two characters in an ICE ufrag, and no machine has more useful cores.
pub const WORKERS_MAX: u16 = 256;

/// Socket buffers below this lose packets in every burst.
const SOCKET_BUFFER_MIN: usize = 64 * 1024;
const SOCKET_BUFFER_MAX: usize = 1 << 30;

/// Beyond this a room is a broadcast, for which one room isn't the tool.
const PARTICIPANTS_MAX: u32 = 10_000;

/// Beyond this one machine's uplink is the limit, whatever is sent.
const VIEWERS_MAX: u32 = 100_000;

/// STUN and TURN servers that participants are told of.
const ICE_SERVERS_MAX: usize = 16;

/// Validated configuration.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Config {
    /// Address of the page, the WebSocket and the health checks.
    pub http: SocketAddr,
    /// Address that the media sockets are bound to; `::` is every address of both families.
    pub udp_bind: IpAddr,
    /// UDP port of the first worker; worker n uses the n-th port after it.
    pub udp_port: u16,
    /// Worker threads; 0 is one per core that the process may use.
    pub workers: u16,
    /// Bind each worker to a core of its own.
    pub pin: bool,
    /// Addresses that participants are told to send to; empty is every useful address of this machine.
    pub announce: Vec<IpAddr>,
    /// Serve on a public address although nobody has to prove who they are.
    pub insecure: bool,
    /// Participants of one room.
    pub max_participants: u32,
    /// Players of one room, by WHEP.
    pub max_viewers: u32,
    /// Bytes asked for each direction of each media socket.
    pub socket_buffer: usize,
    pub io: IoMode,
    /// Filter of log lines, as in RUST_LOG.
    pub log: String,
    pub log_format: LogFormat,
    /// Codecs that rooms take, most preferred first: the first that a publisher offers is what it sends.
    pub audio_codecs: Vec<CodecName>,
    pub video_codecs: Vec<CodecName>,
    /// Told to participants, for networks that need them; in the file only.
    pub ice_servers: Vec<IceServer>,
    /// Rooms that do something otherwise, by name.
    pub rooms: BTreeMap<String, RoomOptions>,
}

impl Default for Config {
    fn default() -> Config {
        let codecs = CodecPolicy::default();
        Config {
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            udp_bind: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            udp_port: 7882,
            workers: 0,
            pin: false,
            announce: Vec::new(),
            insecure: false,
            max_participants: 100,
            max_viewers: 1_000,
            socket_buffer: 4 * 1024 * 1024,
            io: IoMode::Auto,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
            audio_codecs: codecs.of(Kind::Audio).to_vec(),
            video_codecs: codecs.of(Kind::Video).to_vec(),
            rooms: BTreeMap::new(),
            ice_servers: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sfu-server",
    version,
    about = "A WebRTC conference server: one binary, no other service needed."
)]
#[command(
    after_help = "Every option can also be a key of the file (max_participants = 20) or a variable of the \
                        environment (SFU_MAX_PARTICIPANTS=20). Flags win over the environment, that over the file."
)]
struct CommandLine {
    /// Read options from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the options that result, as TOML, and exit
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    options: Options,
}

/// One layer of options: what a file, the environment or the flags say, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Address of the page, the WebSocket and the health checks [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Address that the media sockets are bound to, :: for all of both families [default: ::]
    #[arg(long, value_name = "IP")]
    udp_bind: Option<IpAddr>,
    /// UDP port of the first worker; each further worker uses the next one [default: 7882]
    #[arg(long, value_name = "PORT")]
    udp_port: Option<u16>,
    /// Worker threads, 0 for one per allowed core [default: 0]
    #[arg(long, value_name = "COUNT")]
    workers: Option<u16>,
    /// Bind each worker to a core of its own
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pin: Option<bool>,
    /// Address that participants are told to send to; repeatable [default: this machine's addresses]
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    announce: Option<Vec<IpAddr>>,
    /// Serve on a public address although anybody can join
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    insecure: Option<bool>,
    /// Participants of one room [default: 100]
    #[arg(long, value_name = "COUNT")]
    max_participants: Option<u32>,
    /// Players of one room, by WHEP [default: 1000]
    #[arg(long, value_name = "COUNT")]
    max_viewers: Option<u32>,
    /// Bytes asked for each direction of each media socket [default: 4194304]
    #[arg(long, value_name = "BYTES")]
    socket_buffer: Option<usize>,
    /// How datagrams move [default: auto]
    #[arg(long)]
    io: Option<IoMode>,
    /// Which log lines are written, e.g. warn or sfu_server=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// [default: text]
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// Audio codecs that rooms take, most preferred first [default: opus,red]
    #[arg(long, value_name = "CODEC", value_delimiter = ',')]
    audio_codecs: Option<Vec<CodecName>>,
    /// Video codecs that rooms take, most preferred first [default: vp8,h264,vp9,av1,h265]
    #[arg(long, value_name = "CODEC", value_delimiter = ',')]
    video_codecs: Option<Vec<CodecName>>,
    /// Only in the file: `[rooms.NAME]` with lists of codecs of its own.
    #[arg(skip)]
    rooms: Option<BTreeMap<String, RoomOptions>>,
    #[arg(skip)]
    ice_servers: Option<Vec<IceServer>>,
}

impl Options {
    /// Takes over what this layer says.
    fn apply(self, config: &mut Config) {
        let Options {
            http,
            udp_bind,
            udp_port,
            workers,
            pin,
            announce,
            insecure,
            max_participants,
            max_viewers,
            socket_buffer,
            io,
            log,
            log_format,
            audio_codecs,
            video_codecs,
            rooms,
            ice_servers,
        } = self;
        set(&mut config.http, http);
        set(&mut config.udp_bind, udp_bind);
        set(&mut config.udp_port, udp_port);
        set(&mut config.workers, workers);
        set(&mut config.pin, pin);
        set(&mut config.announce, announce);
        set(&mut config.insecure, insecure);
        set(&mut config.max_participants, max_participants);
        set(&mut config.max_viewers, max_viewers);
        set(&mut config.socket_buffer, socket_buffer);
        set(&mut config.io, io);
        set(&mut config.log, log);
        set(&mut config.log_format, log_format);
        set(&mut config.audio_codecs, audio_codecs);
        set(&mut config.video_codecs, video_codecs);
        set(&mut config.rooms, rooms);
        set(&mut config.ice_servers, ice_servers);
    }
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

/// What the command line asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Invocation {
    Serve {
        config: Box<Config>,
        /// `SFU_*` variables that mean nothing. Not an error: orchestrators set such names by themselves, as Kubernetes
        /// does for a service called `sfu`.
        unknown_variables: Vec<String>,
    },
    /// Print this and exit with success (`--help`, `--version`, `--print-config`).
    Print(String),
}

/// A message for the person who started the server: what is wrong, where, and what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct ConfigError(String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Layers the file that `--config` (or `SFU_CONFIG`) names, the `SFU_*` variables and the flags.
pub fn load(
    arguments: impl IntoIterator<Item = String>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Invocation, ConfigError> {
    let flags = match CommandLine::try_parse_from(arguments) {
        Ok(flags) => flags,
        Err(error) if error.use_stderr() => return Err(ConfigError(error.to_string().trim_end().to_owned())),
        Err(help) => return Ok(Invocation::Print(help.to_string())),
    };
    let (variables, unknown_variables) = from_environment(environment)?;
    let mut config = Config::default();
    if let Some(file) = flags.config.as_deref().or(variables.config.as_deref()) {
        from_file(file)?.apply(&mut config);
    }
    variables.options.apply(&mut config);
    flags.options.apply(&mut config);
    config.validate()?;
    if flags.print_config || variables.print_config {
        let text = toml::to_string(&config).map_err(|error| ConfigError(error.to_string()))?;
        return Ok(Invocation::Print(text));
    }
    Ok(Invocation::Serve { config: Box::new(config), unknown_variables })
}

fn from_file(path: &Path) -> Result<Options, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read the configuration {}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| ConfigError(format!("{}: {error}", path.display())))
}

/// Reads `SFU_UDP_PORT=7000` as `--udp-port=7000`, so that both have one grammar.
fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<(CommandLine, Vec<String>), ConfigError> {
    let command = <CommandLine as clap::CommandFactory>::command();
    let mut unknown = Vec::new();
    let mut arguments = vec!["the environment".to_owned()];
    for (name, value) in environment {
        let Some(key) = name.strip_prefix("SFU_") else { continue };
        let flag = key.to_ascii_lowercase().replace('_', "-");
        match command.get_arguments().find(|argument| argument.get_long() == Some(&flag)) {
            // An empty variable is an unset one: that is how shells and compose files clear them.
            Some(_) if value.is_empty() => {}
            Some(argument) if argument.get_action().takes_values() => {
                arguments.push(format!("--{flag}={value}"));
                check_alone(&command, &name, &arguments)?;
            }
            _ => unknown.push(name),
        }
    }
    let matches = command.try_get_matches_from(arguments).map_err(|error| ConfigError(error.to_string()))?;
    let parsed = CommandLine::from_arg_matches(&matches).map_err(|error| ConfigError(error.to_string()))?;
    unknown.sort();
    Ok((parsed, unknown))
}

/// Refuses the last argument under the name of the variable that it came from.
fn check_alone(command: &clap::Command, name: &str, arguments: &[String]) -> Result<(), ConfigError> {
    let alone = arguments.first().into_iter().chain(arguments.last());
    match command.clone().try_get_matches_from(alone) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            let first_line = text.lines().next().unwrap_or_default();
            Err(ConfigError(format!("{name}: {}", first_line.trim_start_matches("error: "))))
        }
    }
}

impl Config {
    /// How many workers will run: as asked, or one per core that the process may use.
    pub fn worker_count(&self) -> u16 {
        match self.workers {
            0 => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                u16::try_from(cores).unwrap_or(WORKERS_MAX).min(WORKERS_MAX)
            }
            count => count,
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |message: String| Err(ConfigError(message));
        if !self.http.ip().to_canonical().is_loopback() && !self.insecure {
            return refuse(format!(
                "http = {} is reachable from other machines, but no keys are configured, so anybody who finds it could \
                 join any room. Listen on a loopback address (http = 127.0.0.1:{}, for example behind a reverse \
                 proxy), or say --insecure to serve without authentication.",
                self.http,
                self.http.port()
            ));
        }
        if self.workers > WORKERS_MAX {
            return refuse(format!("workers = {} is too many: at most {WORKERS_MAX}", self.workers));
        }
        let last_port = u32::from(self.udp_port) + u32::from(self.worker_count()) - 1;
        if self.udp_port != 0 && last_port > u32::from(u16::MAX) {
            return refuse(format!(
                "udp_port = {} leaves no room for {} workers, one port each, below 65536",
                self.udp_port,
                self.worker_count()
            ));
        }
        if !(2..=PARTICIPANTS_MAX).contains(&self.max_participants) {
            return refuse(format!(
                "max_participants = {} is outside of 2..={PARTICIPANTS_MAX}",
                self.max_participants
            ));
        }
        if self.max_viewers > VIEWERS_MAX {
            return refuse(format!("max_viewers = {} is too many: at most {VIEWERS_MAX}", self.max_viewers));
        }
        if self.ice_servers.len() > ICE_SERVERS_MAX {
            return refuse(format!("ice_servers has more than {ICE_SERVERS_MAX} entries"));
        }
        let urls = self.ice_servers.iter().flat_map(|server| &server.urls);
        if let Some(url) = urls.into_iter().find(|url| !is_ice_url(url)) {
            return refuse(format!("ice_servers: {url:?} is no stun:, stuns:, turn: or turns: URL"));
        }
        if !(SOCKET_BUFFER_MIN..=SOCKET_BUFFER_MAX).contains(&self.socket_buffer) {
            return refuse(format!(
                "socket_buffer = {} is outside of {SOCKET_BUFFER_MIN}..={SOCKET_BUFFER_MAX} bytes",
                self.socket_buffer
            ));
        }
        if let Some(address) = self.announce.iter().find(|address| address.is_unspecified()) {
            return refuse(format!("announce = {address} is no address that anybody could send to"));
        }
        if let Err(error) = self.log.parse::<tracing_subscriber::EnvFilter>() {
            return refuse(format!("log = {:?} is not a filter: {error}", self.log));
        }
        self.codecs()?;
        self.codecs_of_rooms()?;
        Ok(())
    }
}

/// RFC 7064, RFC 7065: enough of it to be written into a header.
fn is_ice_url(url: &str) -> bool {
    let schemes = ["stun:", "stuns:", "turn:", "turns:"];
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>\"".contains(&byte);
    schemes.iter().any(|scheme| url.len() > scheme.len() && url.starts_with(scheme)) && url.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_with(flags: &[&str], environment: &[(&str, &str)]) -> Result<Invocation, ConfigError> {
        let arguments = std::iter::once("sfu-server").chain(flags.iter().copied()).map(str::to_owned);
        load(arguments, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn config_of(invocation: Result<Invocation, ConfigError>) -> Config {
        match invocation.unwrap() {
            Invocation::Serve { config, .. } => *config,
            Invocation::Print(text) => panic!("printed {text}"),
        }
    }

    fn refusal(flags: &[&str], environment: &[(&str, &str)]) -> String {
        load_with(flags, environment).unwrap_err().to_string()
    }

    struct TempFile(PathBuf);

    impl TempFile {
        fn new(name: &str, text: &str) -> TempFile {
            let path = std::env::temp_dir().join(format!("sfu-config-{}-{name}.toml", std::process::id()));
            std::fs::write(&path, text).unwrap();
            TempFile(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn nothing_said_is_the_defaults() {
        assert_eq!(config_of(load_with(&[], &[])), Config::default());
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = TempFile::new(
            "precedence",
            "udp_port = 1000\nmax_participants = 10\nworkers = 3\nannounce = [\"192.0.2.1\"]\npin = true\n",
        );
        let variables =
            [("SFU_UDP_PORT", "2000"), ("SFU_MAX_PARTICIPANTS", "20"), ("SFU_PIN", "false"), ("SFU_LOG", "")];
        let config = config_of(load_with(&["--config", file.path(), "--udp-port", "3000"], &variables));
        assert_eq!(config.udp_port, 3000);
        assert_eq!(config.max_participants, 20);
        assert_eq!(config.workers, 3);
        assert_eq!(config.announce, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert!(!config.pin);
        assert_eq!(config.log, "info");
    }

    #[test]
    fn the_environment_may_name_the_file() {
        let file = TempFile::new("environment", "workers = 5\n");
        assert_eq!(config_of(load_with(&[], &[("SFU_CONFIG", file.path())])).workers, 5);
    }

    #[test]
    fn announce_is_repeatable_and_may_be_a_list() {
        let expected: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let repeated = load_with(&["--announce", "192.0.2.1", "--announce", "2001:db8::1"], &[]);
        assert_eq!(config_of(repeated).announce, expected);
        let listed = load_with(&[], &[("SFU_ANNOUNCE", "192.0.2.1,2001:db8::1")]);
        assert_eq!(config_of(listed).announce, expected);
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let file = TempFile::new("unknown", "udp_prot = 7882\n");
        let message = refusal(&["--config", file.path()], &[]);
        assert!(message.contains("udp_prot") && message.contains("udp_port"), "{message}");
        assert!(message.contains(file.path()), "{message}");
        assert!(refusal(&["--udp-prot", "1"], &[]).contains("--udp-prot"));
    }

    #[test]
    fn unknown_variables_are_reported() {
        let variables = [("SFU_PORT_80_TCP", "tcp://10.0.0.1:80"), ("HOME", "/"), ("SFU_UDP_PROT", "1")];
        match load_with(&[], &variables).unwrap() {
            Invocation::Serve { unknown_variables, .. } => {
                assert_eq!(unknown_variables, ["SFU_PORT_80_TCP", "SFU_UDP_PROT"]);
            }
            Invocation::Print(text) => panic!("printed {text}"),
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_its_place() {
        assert!(refusal(&["--udp-port", "99999"], &[]).contains("--udp-port"));
        assert!(refusal(&[], &[("SFU_UDP_PORT", "many")]).contains("SFU_UDP_PORT"));
        let file = TempFile::new("value", "http = \"nowhere\"\n");
        assert!(refusal(&["--config", file.path()], &[]).contains("http"));
        assert!(refusal(&["--config", "/nonexistent.toml"], &[]).contains("/nonexistent.toml"));
    }

    #[test]
    fn a_public_bind_is_refused_unless_insecure_is_said() {
        for address in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
            let message = refusal(&["--http", address], &[]);
            assert!(message.contains("--insecure") && message.contains("127.0.0.1:80"), "{message}");
            assert!(config_of(load_with(&["--http", address, "--insecure"], &[])).insecure);
        }
        for address in ["127.0.0.1:80", "[::1]:80", "127.9.9.9:80"] {
            config_of(load_with(&["--http", address], &[]));
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let cases: [&[&str]; 7] = [
            &["--workers", "257"],
            &["--udp-port", "65535", "--workers", "2"],
            &["--max-participants", "1"],
            &["--max-viewers", "100001"],
            &["--socket-buffer", "1000"],
            &["--announce", "0.0.0.0"],
            &["--log", "sfu=loudly"],
        ];
        for flags in cases {
            let key = flags.first().unwrap().trim_start_matches("--").replace('-', "_");
            assert!(refusal(flags, &[]).contains(&key), "{flags:?}");
        }
    }

    #[test]
    fn ice_servers_are_tables_of_the_file() {
        let table =
            |url: &str| format!("[[ice_servers]]\nurls = [{url:?}]\nusername = \"u\"\ncredential = \"c\"\n");
        let file =
            TempFile::new("ice", &format!("workers = 2\n{}", table("turn:turn.example?transport=udp")));
        let config = config_of(load_with(&["--config", file.path()], &[]));
        assert_eq!(config.ice_servers[0].username.as_deref(), Some("u"));
        for url in ["http://turn.example", "turn:", "turn:a b", "turn:<x>"] {
            let file = TempFile::new("bad-ice", &table(url));
            assert!(refusal(&["--config", file.path()], &[]).contains("ice_servers"), "{url}");
        }
    }

    #[test]
    fn codecs_are_listed_for_all_rooms_or_for_one() {
        let file = TempFile::new(
            "codecs",
            "video_codecs = [\"vp9\", \"vp8\"]\n[rooms.studio]\naudio_codecs = [\"red\", \"opus\"]\n\
             [rooms.\"old phones\"]\nvideo_codecs = [\"h264\"]\n",
        );
        let config = config_of(load_with(&["--config", file.path(), "--video-codecs", "av1,VP8"], &[]));
        use CodecName::{Av1, H264, Opus, Red, Vp8};
        assert_eq!(config.codecs().unwrap().of(Kind::Video), [Av1, Vp8]);
        let rooms = config.codecs_of_rooms().unwrap();
        assert_eq!(rooms["studio"], CodecPolicy::new(vec![Red, Opus], vec![Av1, Vp8]).unwrap());
        assert_eq!(rooms["old phones"], CodecPolicy::new(vec![Opus, Red], vec![H264]).unwrap());
        let listed = config_of(load_with(&[], &[("SFU_AUDIO_CODECS", "opus")]));
        assert_eq!(listed.audio_codecs, [Opus]);
    }

    #[test]
    fn lists_of_codecs_that_make_no_sense_are_refused() {
        assert!(refusal(&["--video-codecs", "vp8,vp10"], &[]).contains("vp10"));
        assert!(refusal(&["--video-codecs", "vp8,vp8"], &[]).contains("video_codecs: vp8 is listed twice"));
        assert!(refusal(&["--audio-codecs", "red"], &[]).contains("audio_codecs"));
        assert!(refusal(&["--audio-codecs", "opus,av1"], &[]).contains("audio_codecs: av1"));
        for (text, expected) in [
            ("[rooms.a]\nvideo_codecs = []\n", "rooms.\"a\": video_codecs"),
            ("[rooms.a]\nvideo_codex = []\n", "video_codex"),
            ("video_codecs = [\"vp10\"]\n", "vp10"),
        ] {
            let file = TempFile::new("no-codecs", text);
            let message = refusal(&["--config", file.path()], &[]);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_printed_configuration_can_be_read_back() {
        let rooms = TempFile::new("rooms", "[rooms.studio]\nvideo_codecs = [\"av1\"]\n");
        let flags = ["--print-config", "--workers", "7", "--announce", "192.0.2.1", "--log-format", "json"];
        let flags = [&flags[..], &["--config", rooms.path()]].concat();
        let Invocation::Print(text) = load_with(&flags, &[]).unwrap() else { panic!("did not print") };
        let file = TempFile::new("printed", &text);
        let config = config_of(load_with(&["--config", file.path()], &[]));
        assert_eq!(config.workers, 7);
        assert_eq!(config.log_format, LogFormat::Json);
        assert_eq!(config.rooms["studio"].video_codecs, Some(vec![CodecName::Av1]));
    }
}
