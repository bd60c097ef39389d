//! Data messages of a room: from one participant to the others, over whichever way each of them has. A participant with
//! data channels gets them there. One without gets reliable text over its connection instead, so that a chat reaches
//! everybody; the rest isn't for it.

use bytes::Bytes;
use serde_json::Value;
use sfu_core::command::{Command, DataMessage};
use sfu_core::unit::{ChannelType, MessageKind, ParticipantId, Reliability, TransportId};

use super::Room;
use crate::data::{Body, DATA_LEN_MAX, DataRefusal, Inbound, LABEL_LEN_MAX};
use crate::directory::Context;
use crate::message::{DataSaid, ServerMessage};

impl Room {
    /// Data channels of a participant can be used, or can't any more.
    pub fn set_data_open(&mut self, id: ParticipantId, open: bool) {
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.data_open = open;
        }
    }

    /// A message came on a data channel.
    pub fn data_received(&mut self, from: ParticipantId, message: &DataMessage, ctx: &mut Context<'_>) {
        let inbound = match message.kind {
            MessageKind::Text => Inbound::from_text(&message.payload),
            MessageKind::Binary => Inbound::from_binary(&message.payload),
        };
        let outcome = self
            .admit_data(from, message.payload.len(), ctx)
            .and(inbound)
            .and_then(|inbound| self.pass_data(from, &message.label, message.channel_type, &inbound, ctx));
        self.tell_refusal(from, &message.label, outcome, ctx);
    }

    /// A message came over the participant's connection.
    pub fn data_said(&mut self, from: ParticipantId, said: DataSaid, ctx: &mut Context<'_>) {
        let len = serde_json::to_string(&said.data).map_or(usize::MAX, |text| text.len());
        let label = said.label;
        let outcome = self.admit_data(from, len, ctx).and_then(|()| {
            if len > DATA_LEN_MAX {
                return Err(DataRefusal::TooLong);
            }
            let inbound = Inbound::new(said.to, Body::Json(said.data))?;
            self.pass_data(from, &label, ChannelType::RELIABLE, &inbound, ctx)
        });
        self.tell_refusal(from, &label, outcome, ctx);
    }

    fn admit_data(&mut self, from: ParticipantId, len: usize, ctx: &Context<'_>) -> Result<(), DataRefusal> {
        let sender = self.participants.get_mut(&from).ok_or(DataRefusal::NoRecipient)?;
        sender.data_limits.admit(ctx.now, len)
    }

    fn pass_data(
        &self,
        from: ParticipantId,
        label: &str,
        channel_type: ChannelType,
        inbound: &Inbound,
        ctx: &mut Context<'_>,
    ) -> Result<(), DataRefusal> {
        if label.len() > LABEL_LEN_MAX {
            return Err(DataRefusal::TooLong);
        }
        let recipients = self.data_recipients(from, inbound)?;
        let payload = Bytes::from(inbound.stamped(from)?);
        let (by_channel, others): (Vec<ParticipantId>, Vec<ParticipantId>) =
            recipients.iter().partition(|id| self.participants.get(id).is_some_and(|one| one.data_open));
        let transport = |id: &ParticipantId| Some(self.participants.get(id)?.transport);
        let to: Vec<TransportId> = by_channel.iter().filter_map(transport).collect();
        if !to.is_empty() {
            let kind = match inbound.body {
                Body::Json(_) => MessageKind::Text,
                Body::Binary(_) => MessageKind::Binary,
            };
            let message = DataMessage { label: label.to_owned(), channel_type, kind, payload };
            ctx.out.command(self.worker, Command::SendData { to, message });
        }
        if let (Body::Json(data), Reliability::Reliable) = (&inbound.body, channel_type.reliability) {
            let private = inbound.to.is_some();
            for id in others {
                self.send(id, data_message(label, from, private, data), ctx.out);
            }
        }
        Ok(())
    }

    /// Who gets a message, the sender never among them. The one place that says who may write to whom.
    fn data_recipients(
        &self,
        from: ParticipantId,
        inbound: &Inbound,
    ) -> Result<Vec<ParticipantId>, DataRefusal> {
        let named = |id: &ParticipantId| inbound.to.as_ref().is_none_or(|to| to.contains(id));
        // Who only watches is in nobody's list, so nobody could know who reads along, or speaks.
        let is_listed = |id: &ParticipantId| {
            self.participants.get(id).is_some_and(|participant| !participant.front_end.is_hidden())
        };
        if !is_listed(&from) {
            return Err(DataRefusal::NoRecipient);
        }
        let others = self.participants.keys().filter(|id| **id != from && is_listed(id));
        let recipients: Vec<ParticipantId> = others.filter(|id| named(id)).copied().collect();
        if recipients.is_empty() && inbound.to.is_some() {
            return Err(DataRefusal::NoRecipient);
        }
        Ok(recipients)
    }

    fn tell_refusal(
        &mut self,
        id: ParticipantId,
        label: &str,
        outcome: Result<(), DataRefusal>,
        ctx: &mut Context<'_>,
    ) {
        let Err(reason) = outcome else { return };
        let tells = self.participants.get_mut(&id).is_some_and(|one| one.data_limits.tells(ctx.now));
        if tells {
            let label = label.chars().take(LABEL_LEN_MAX).collect();
            self.send(id, ServerMessage::DataRefused { label, reason }, ctx.out);
        }
    }
}

fn data_message(label: &str, from: ParticipantId, private: bool, data: &Value) -> ServerMessage {
    ServerMessage::Data { label: label.to_owned(), from, private, data: data.clone() }
}
