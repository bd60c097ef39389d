//! Who speaks: audio levels (RFC 6464) of a room's participants, smoothed so that words count and clicks don't.

use std::time::Duration;

use crate::unit::{ParticipantId, Time};
use crate::wire::rtp_ext::AudioLevel;

/// Weight of one 20 ms packet in the average: about 150 ms of memory.
const WEIGHT: f32 = 0.15;
/// Louder than this, in dBov, is speech rather than a room's noise.
const THRESHOLD_DBOV: f32 = -50.0;
/// A pause between words doesn't end a turn.
const HANG_OVER: Duration = Duration::from_millis(700);
/// How much louder somebody must be to pass the one before them in the order.
const LEAD_DB: f32 = 6.0;
/// What silence counts as.
const SILENCE_DBOV: f32 = -90.0;

#[derive(Clone, Copy, Debug)]
struct Voice {
    participant: ParticipantId,
    /// Smoothed level in dBov.
    level: f32,
    /// When it was last above the threshold.
    spoke: Option<Time>,
}

#[derive(Debug, Default)]
pub struct ActiveSpeaker {
    voices: Vec<Voice>,
    announced: Vec<ParticipantId>,
}

impl ActiveSpeaker {
    /// One packet of a participant's audio.
    pub fn heard(&mut self, now: Time, participant: ParticipantId, level: AudioLevel) {
        let dbov = (-f32::from(level.level)).max(SILENCE_DBOV);
        let at = match self.voices.iter().position(|voice| voice.participant == participant) {
            Some(at) => at,
            None => {
                self.voices.push(Voice { participant, level: SILENCE_DBOV, spoke: None });
                self.voices.len() - 1
            }
        };
        if let Some(voice) = self.voices.get_mut(at) {
            voice.level += (dbov - voice.level) * WEIGHT;
            if voice.level > THRESHOLD_DBOV {
                voice.spoke = Some(now);
            }
        }
    }

    /// A participant has left or is muted.
    pub fn silence(&mut self, participant: ParticipantId) {
        self.voices.retain(|voice| voice.participant != participant);
    }

    /// What a participant's place in the last announcement is worth: equals who talk at once keep their order.
    fn lead(&self, participant: ParticipantId) -> f32 {
        let ahead = |place: usize| (self.announced.len() - place) as f32 * LEAD_DB;
        self.announced.iter().position(|announced| *announced == participant).map_or(0.0, ahead)
    }

    /// Those who speak, loudest first, if that has changed since the last call.
    pub fn poll(&mut self, now: Time) -> Option<Vec<ParticipantId>> {
        let mut speaking: Vec<(ParticipantId, f32)> = self
            .voices
            .iter()
            .filter(|voice| voice.spoke.is_some_and(|spoke| now.since(spoke) < HANG_OVER))
            .map(|voice| (voice.participant, voice.level + self.lead(voice.participant)))
            .collect();
        speaking.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let speakers: Vec<ParticipantId> = speaking.into_iter().map(|(participant, _)| participant).collect();
        if speakers == self.announced {
            return None;
        }
        self.announced.clone_from(&speakers);
        Some(speakers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(speaker: &mut ActiveSpeaker, from: u64, to: u64, participant: u64, level: u8) {
        for ms in (from..to).step_by(20) {
            speaker.heard(
                Time::from_millis(ms),
                ParticipantId(participant),
                AudioLevel { level, voice: true },
            );
        }
    }

    #[test]
    fn a_word_counts_and_a_click_does_not() {
        let mut speaker = ActiveSpeaker::default();
        talk(&mut speaker, 0, 20, 1, 10);
        talk(&mut speaker, 20, 400, 1, 90);
        assert_eq!(speaker.poll(Time::from_millis(400)), None);
        talk(&mut speaker, 400, 900, 1, 25);
        assert_eq!(speaker.poll(Time::from_millis(900)), Some(vec![ParticipantId(1)]));
        talk(&mut speaker, 900, 1_300, 1, 90);
        assert_eq!(speaker.poll(Time::from_millis(1_300)), None, "a pause between words");
        talk(&mut speaker, 1_300, 2_500, 1, 90);
        assert_eq!(speaker.poll(Time::from_millis(2_500)), Some(vec![]));
    }

    #[test]
    fn two_who_talk_at_once_do_not_change_places_with_every_word() {
        let mut speaker = ActiveSpeaker::default();
        let mut announced = 0;
        for turn in 0..20 {
            let from = turn * 200;
            talk(&mut speaker, from, from + 200, 1, if turn % 2 == 0 { 28 } else { 32 });
            talk(&mut speaker, from, from + 200, 2, if turn % 2 == 0 { 32 } else { 28 });
            announced += u32::from(speaker.poll(Time::from_millis(from + 200)).is_some());
        }
        assert_eq!(announced, 1);
    }

    #[test]
    fn the_louder_one_comes_first_and_the_muted_one_disappears() {
        let mut speaker = ActiveSpeaker::default();
        talk(&mut speaker, 0, 500, 1, 40);
        talk(&mut speaker, 0, 500, 2, 20);
        assert_eq!(speaker.poll(Time::from_millis(500)), Some(vec![ParticipantId(2), ParticipantId(1)]));
        speaker.silence(ParticipantId(2));
        assert_eq!(speaker.poll(Time::from_millis(500)), Some(vec![ParticipantId(1)]));
    }
}
