//! ICE as a lite agent (RFC 8445 §2.5, RFC 7675): answers checks, follows nominations, keeps consent. Sends
//! nothing of its own accord. Knows no DTLS or media.

use std::net::SocketAddr;
use std::time::Duration;

use crate::command::IceCredentials;
use crate::config::{CONSENT_TIMEOUT, CONSENT_WARN, ICE_TIMEOUT};
use crate::drop::DropReason;
use crate::output::Path;
use crate::unit::Time;
use crate::wire::stun::BindingRequest;

/// Remote addresses that may have passed a check at a time: host candidates of two families on a few interfaces,
/// and what NATs make of them.
const PATHS_MAX: usize = 16;

/// Without USE-CANDIDATE the send address moves only when the old one has been silent for this long: pairs flap
/// while the peer gathers.
const SILENT_PATH: Duration = Duration::from_secs(2);

/// A remote address that has passed an authenticated check.
#[derive(Clone, Copy, Debug)]
struct ValidPath {
    path: Path,
    last_check: Time,
}

/// What the peer's checks say of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    /// No valid pair yet.
    Checking,
    Given,
    /// Several checks are overdue.
    Overdue,
    Expired,
}

/// An answered check.
#[derive(Debug)]
pub struct Checked {
    pub response: Vec<u8>,
    /// The address belongs to this transport from now on; not so when only a role conflict was told.
    pub owns_remote: bool,
    /// An address that had to make room for it.
    pub evicted: Option<SocketAddr>,
}

#[derive(Debug)]
pub struct IceLite {
    local: IceCredentials,
    /// Credentials from before a restart, good until the new ones are used (RFC 8445 §9).
    previous: Option<IceCredentials>,
    remote: Option<IceCredentials>,
    valid: Vec<ValidPath>,
    selected: Option<Path>,
    opened: Time,
    last_check: Time,
}

impl IceLite {
    pub fn new(now: Time, local: IceCredentials) -> IceLite {
        IceLite {
            local,
            previous: None,
            remote: None,
            valid: Vec::new(),
            selected: None,
            opened: now,
            last_check: now,
        }
    }

    pub fn set_remote(&mut self, remote: IceCredentials) {
        self.remote = Some(remote);
    }

    /// New credentials; returns a ufrag that is no longer good for anything.
    pub fn restart(&mut self, local: IceCredentials) -> Option<String> {
        let old = std::mem::replace(&mut self.local, local);
        self.previous.replace(old).map(|forgotten| forgotten.ufrag)
    }

    /// The ufrags by which checks may address this agent.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.local).chain(&self.previous).map(|credentials| credentials.ufrag.as_str())
    }

    /// Answers a check that was addressed to one of our ufrags.
    pub fn check(
        &mut self,
        now: Time,
        path: Path,
        request: &BindingRequest<'_>,
    ) -> Result<Checked, DropReason> {
        let credentials = std::iter::once(&self.local)
            .chain(&self.previous)
            .find(|credentials| credentials.ufrag == request.local_ufrag)
            .ok_or(DropReason::StunUnknownUser)?;
        // During a restart the old pair of ufrags stays good, whatever the new remote one is.
        let restarting = credentials.ufrag != self.local.ufrag;
        let from_peer = self.remote.as_ref().is_none_or(|remote| remote.ufrag == request.remote_ufrag);
        if !(from_peer || restarting) || !request.is_authentic(&credentials.pwd) {
            return Err(DropReason::StunUnauthenticated);
        }
        if request.controlled {
            let response = request.role_conflict(&credentials.pwd);
            return Ok(Checked { response, owns_remote: false, evicted: None });
        }
        let response = request.success(&credentials.pwd, path.remote);
        let evicted = self.validate(now, path)?;
        self.last_check = now;
        self.select(now, path, request.use_candidate);
        Ok(Checked { response, owns_remote: true, evicted })
    }

    /// Remembers the path as valid; returns the remote address that was forgotten for it.
    fn validate(&mut self, now: Time, path: Path) -> Result<Option<SocketAddr>, DropReason> {
        if let Some(valid) = self.valid.iter_mut().find(|valid| valid.path == path) {
            valid.last_check = now;
            return Ok(None);
        }
        let mut evicted = None;
        if self.valid.len() == PATHS_MAX {
            let selected = self.selected;
            let idle =
                |valid: &ValidPath| Some(valid.path) != selected && now.since(valid.last_check) > SILENT_PATH;
            let at = self.valid.iter().position(idle).ok_or(DropReason::StunTooManyPaths)?;
            let old = self.valid.swap_remove(at).path.remote;
            evicted = (!self.knows(old)).then_some(old);
        }
        self.valid.push(ValidPath { path, last_check: now });
        Ok(evicted)
    }

    fn knows(&self, remote: SocketAddr) -> bool {
        self.valid.iter().any(|valid| valid.path.remote == remote)
    }

    /// Moves the send address by nomination, or away from a path that has fallen silent.
    fn select(&mut self, now: Time, path: Path, nominated: bool) {
        let silent = |selected: Path| {
            self.valid
                .iter()
                .find(|valid| valid.path == selected)
                .is_none_or(|valid| now.since(valid.last_check) > SILENT_PATH)
        };
        if nominated || self.selected.is_none_or(silent) {
            self.selected = Some(path);
        }
    }

    /// Where to send to; `None` before the first valid check.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Remote addresses that have passed a check.
    pub fn remotes(&self) -> impl Iterator<Item = SocketAddr> {
        self.valid.iter().map(|valid| valid.path.remote)
    }

    pub fn consent(&self, now: Time) -> Consent {
        let silence = now.since(self.last_check);
        match self.selected {
            None if now.since(self.opened) >= ICE_TIMEOUT => Consent::Expired,
            None => Consent::Checking,
            Some(_) if silence >= CONSENT_TIMEOUT => Consent::Expired,
            Some(_) if silence >= CONSENT_WARN => Consent::Overdue,
            Some(_) => Consent::Given,
        }
    }

    /// When [`IceLite::consent`] changes next without a check.
    pub fn next_timeout(&self, now: Time) -> Time {
        match self.consent(now) {
            Consent::Checking => self.opened + ICE_TIMEOUT,
            Consent::Given => self.last_check + CONSENT_WARN,
            Consent::Overdue | Consent::Expired => self.last_check + CONSENT_TIMEOUT,
        }
    }
}
