//! What the browser and client tests stand on: the server as a process, browsers as processes, a cable between them, and
//! pictures and sounds that say whose they are.
#![allow(dead_code, reason = "each suite uses its part")]

pub mod chromium;
pub mod firefox;
pub mod marker;
pub mod page;
pub mod relay;
pub mod server;
pub mod talk;

mod remote;

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use page::Page;
use serde::Deserialize;
use test_programs::{Program, namespace, not_run};

/// Runs before a page's own scripts in every test.
pub const PROBE: &str = include_str!("marker.js");

/// A WHIP encoder or WHEP player in any page of the server: `whip.publish`, `whip.play`, `whip.choose`.
pub const WHIP: &str = include_str!("whip.js");

/// A tile has no picture, and says why.
pub const TOLD_UNSUPPORTED: &str = "[...document.querySelectorAll('.tile')]
  .some((tile) => !tile.classList.contains('has-video') && tile.innerText.includes('can’t play this video format'))";

/// Runs before a page's own scripts: its browser knows no other video codec than this.
pub fn only_codec(name: &str) -> String {
    format!(
        "const set = RTCPeerConnection.prototype.setLocalDescription;
         RTCPeerConnection.prototype.setLocalDescription = function (...description) {{
           const wanted = RTCRtpReceiver.getCapabilities('video').codecs
             .filter((one) => /{name}|rtx/i.test(one.mimeType));
           for (const transceiver of this.getTransceivers()) {{
             if (transceiver.receiver.track.kind === 'video') transceiver.setCodecPreferences(wanted);
           }}
           return set.apply(this, description);
         }};"
    )
}

/// A browser test that hangs is ended after this.
const TEST_TIMEOUT: Duration = Duration::from_secs(150);

/// Runs one test in Chromium, alone: two at a time would measure each other. Without the browser it isn't run, and says
/// so; `SFU_REQUIRE_CLIENTS=1` makes that a failure.
pub fn browser_test(name: &str, test: impl Future<Output = Result<(), String>>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if has_all(name, &[Program::Chromium]) {
        run(name, test);
    }
}

/// As [`browser_test`], with any programs, in a network namespace: some gather no candidates on a machine without a
/// network, and some that they do gather are no business of a test.
pub fn client_test(name: &str, programs: &[Program], test: impl Future<Output = Result<(), String>>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if has_all(name, programs) && namespace::enter(name) {
        run(name, test);
    }
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn has_all(name: &str, programs: &[Program]) -> bool {
    for program in programs {
        match program.version() {
            Some(version) => println!("{version}"),
            None => {
                not_run(name, &format!("{program:?} is not installed, or a part of it isn't"));
                return false;
            }
        }
    }
    true
}

fn run(name: &str, test: impl Future<Output = Result<(), String>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async { tokio::time::timeout(TEST_TIMEOUT, test).await });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(message)) => panic!("{name}: {message}"),
        Err(_) => panic!("{name}: not done in {TEST_TIMEOUT:?}"),
    }
}

/// The picture that a page decodes comes in this codec.
pub async fn comes_in(page: &Page, codec: &str) -> Result<(), String> {
    const CODEC_SEEN: &str = "(async () => {
      const stats = [...(await sfu.pc.getStats()).values()];
      const seen = stats.find((one) => one.type === 'inbound-rtp' && one.kind === 'video' && one.framesDecoded > 0);
      return stats.find((one) => one.id === seen?.codecId)?.mimeType ?? 'nothing';
    })()";
    let seen: String = page.eval(CODEC_SEEN).await?;
    if seen.eq_ignore_ascii_case(&format!("video/{codec}")) {
        return Ok(());
    }
    Err(format!("the picture comes in {seen}, not in {codec}"))
}

/// What a page receives, measured over some seconds by `probe.quality`.
#[derive(Deserialize, Debug)]
pub struct Quality {
    pub video: Vec<VideoQuality>,
    pub audio: Vec<AudioQuality>,
    /// Frames a second that the page itself encoded.
    #[serde(rename = "sentFps")]
    pub sent_fps: f64,
    /// The longest time in which it painted no frame.
    #[serde(rename = "paintGapMs")]
    pub paint_gap_ms: f64,
}

/// Share of the sound that may be made up.
pub const CONCEALED_MAX: f64 = 0.01;

/// What a publisher has sent while somebody measured its picture.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Frames a second.
    pub fps: f64,
    /// It left out frames itself, so its picture must freeze.
    pub stood_still: bool,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct VideoQuality {
    pub key: String,
    pub fps: f64,
    pub freezes: f64,
    /// Publisher ids that were read from the picture.
    pub ids: Vec<u8>,
    pub readable: usize,
    pub readings: usize,
    /// Different frame counters that were read.
    pub counters: usize,
    pub width: u32,
    pub worst_gap_ms: f64,
}

#[derive(Deserialize, Debug)]
pub struct AudioQuality {
    pub samples: f64,
    pub concealed: f64,
    pub energy: f64,
}

impl Quality {
    pub async fn measure(page: &Page, seconds: f64) -> Result<Self, String> {
        page.eval(&format!("probe.quality({})", seconds * 1000.0)).await
    }

    /// Measures until the gates hold, in one window of several.
    pub async fn holds(
        page: &Page,
        seconds: f64,
        who: &str,
        expected_ids: &[u8],
        source_fps: f64,
    ) -> Result<(), String> {
        in_some_window(async || {
            let quality = Quality::measure(page, seconds).await?;
            for VideoQuality { fps, width, .. } in &quality.video {
                println!("{who} sees {fps:.1} frames a second at width {width}");
            }
            quality.check(who, expected_ids, source_fps)
        })
        .await
    }

    /// The gates: the right pictures and no other, moving at nine tenths of the source's rate, none frozen; sound in
    /// which less than one sample in a hundred is made up.
    pub fn check(&self, who: &str, expected_ids: &[u8], source_fps: f64) -> Result<(), String> {
        let source = |_| Source { fps: source_fps, stood_still: false };
        self.check_each(who, expected_ids, source, CONCEALED_MAX)
    }

    /// As [`Quality::check`], with what each publisher sent, and how much of the sound may be made up.
    pub fn check_each(
        &self,
        who: &str,
        expected_ids: &[u8],
        source: impl Fn(u8) -> Source,
        concealed_max: f64,
    ) -> Result<(), String> {
        let fail = |what: &str| Err(format!("{who}: {what}\n{self:#?}"));
        let mut seen: Vec<u8> = self.video.iter().flat_map(|video| video.ids.iter().copied()).collect();
        seen.sort_unstable();
        let mut expected = expected_ids.to_vec();
        expected.sort_unstable();
        if seen != expected {
            return fail(&format!("expected the pictures {expected:?}, saw {seen:?}"));
        }
        for video in &self.video {
            // What can't be read at all fails below.
            let unread = Source { fps: 0.0, stood_still: false };
            let source = video.ids.first().map_or(unread, |id| source(*id));
            if video.fps < 0.9 * source.fps {
                return fail(&format!(
                    "{}: {:.1} frames a second of {:.1}",
                    video.key, video.fps, source.fps
                ));
            }
            if video.freezes > 0.0 && !source.stood_still {
                return fail(&format!("{}: a picture froze", video.key));
            }
            // One reading may catch a picture in which a layer has just changed.
            if video.readable + 1 < video.readings || video.counters < 3 {
                return fail("a picture is unreadable or stands still");
            }
        }
        if self.audio.len() < expected.len() {
            return fail("somebody is not heard");
        }
        let samples: f64 = self.audio.iter().map(|audio| audio.samples).sum();
        let concealed: f64 = self.audio.iter().map(|audio| audio.concealed).sum();
        if samples <= 0.0 || concealed / samples >= concealed_max {
            return fail(&format!("{concealed} of {samples} samples were concealed"));
        }
        if self.audio.iter().any(|audio| audio.energy <= 0.0) {
            return fail("a voice is silent");
        }
        Ok(())
    }
}

/// The strongest frequency in the sound of a publisher, measured by `probe.tones`.
#[derive(Deserialize, Debug)]
pub struct Tone {
    /// The publisher, as its picture says.
    pub id: Option<u8>,
    pub hz: f64,
    /// In dBFS.
    pub level: f64,
}

impl Tone {
    /// Every publisher is heard at the pitch that belongs to its picture.
    pub async fn check_all(page: &Page, expected_ids: &[u8]) -> Result<(), String> {
        in_some_window(async || {
            let tones: Vec<Self> = page.eval("probe.tones()").await?;
            let right = |id: &u8| {
                let expected = 400.0 + 25.0 * f64::from(*id);
                let of_id = tones.iter().find(|tone| tone.id == Some(*id));
                // Neighbours are 25 Hz apart; a bin of the measurement has 6 Hz.
                of_id.is_some_and(|tone| (tone.hz - expected).abs() < 10.0 && tone.level > -60.0)
            };
            if expected_ids.iter().all(right) {
                return Ok(());
            }
            Err(format!("the tones of {expected_ids:?} are expected, heard are {tones:?}"))
        })
        .await
    }
}

/// How much later a sound is heard than the picture of the same instant is seen, measured by `probe.skews`.
pub struct Skew;

impl Skew {
    /// The sound comes at most 45 ms before the picture and at most 125 ms after it (EBU R37), in the median.
    pub async fn check(page: &Page, who: &str) -> Result<(), String> {
        in_some_window(async || {
            let mut skews: Vec<f64> = page.eval("probe.skews(6000)").await?;
            skews.sort_by(f64::total_cmp);
            println!("{who}: sound after picture by {skews:.0?} ms");
            match skews.get(skews.len() / 2) {
                Some(-45.0..=125.0) if skews.len() >= 3 => Ok(()),
                _ => Err(format!("{who}: sound after picture by {skews:.0?} ms\n{}", page.describe().await)),
            }
        })
        .await
    }
}

/// Windows that a measurement may take. Browsers fill a machine of two cores: a page that its machine let wait for a
/// moment fails one window, a fault of the server fails them all.
const WINDOWS: usize = 4;

/// Repeats a measurement until it passes, at most [`WINDOWS`] times. What the others lacked is printed.
pub async fn in_some_window(measure: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let mut outcome = Ok(());
    for window in 1..=WINDOWS {
        outcome = measure().await;
        match &outcome {
            Ok(()) => break,
            Err(error) => println!("window {window}: {}", error.lines().next().unwrap_or_default()),
        }
    }
    outcome
}
