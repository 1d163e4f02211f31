//! Halves of calls that wait for the other half, in the order in which they came.

mod elsewhere;
mod saved;
mod unstored;

use std::collections::VecDeque;

use hashbrown::HashMap;

use self::unstored::Unstored;
use super::half::{Half, Side};
use crate::interner::{Interner, TextId};
use crate::memory::Account;
use crate::names::PRODUCER;

/// A call: the trace, and the id of its client span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallId {
    pub trace_id: [u8; 16],
    pub client_span_id: u64,
}

/// A half that has waited long enough.
pub(super) struct Waited {
    pub call: CallId,
    pub side: Side,
    pub half: Half,
    /// Of a message: it has found receivers.
    pub was_paired: bool,
}

struct Waiting {
    half: Half,
    number: u64,
    was_paired: bool,
}

/// When a half has waited long enough. The half may have gone before.
struct Deadline {
    at_millis: i64,
    call: CallId,
    side: Side,
    number: u64,
}

pub(super) struct Pending {
    wait_millis: i64,
    most: usize,
    clients: HashMap<CallId, Waiting>,
    /// Several servers may wait for one client: those who receive a message.
    servers: HashMap<CallId, Vec<Waiting>>,
    len: usize,
    deadlines: VecDeque<Deadline>,
    next_number: u64,
    memory: Account,
    half_bytes: usize,
    unstored: Unstored,
}

/// What a half takes beside the values of its dimensions, its deadline included.
const HALF_BYTES: usize = 320;

impl Drop for Pending {
    fn drop(&mut self) {
        self.gone(self.len);
    }
}

impl Pending {
    pub(super) fn new(wait_millis: i64, most: usize, memory: Account, dimensions: usize) -> Self {
        let (clients, servers, deadlines, unstored) = Default::default();
        let half_bytes = HALF_BYTES + dimensions * size_of::<Option<TextId>>();
        Self { wait_millis, most, clients, servers, len: 0, deadlines, next_number: 0, memory, half_bytes, unstored }
    }

    /// So many halves wait no more.
    fn gone(&mut self, halves: usize) {
        self.len -= halves;
        self.memory.give_back(halves * self.half_bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Gives all halves texts of another interner.
    pub(super) fn move_texts(&mut self, from: &Interner, to: &mut Interner, dimensions: usize) {
        let clients = self.clients.values_mut();
        for waiting in clients.chain(self.servers.values_mut().flatten()) {
            waiting.half = waiting.half.moved(from, to, dimensions);
        }
    }

    /// The halves that make a call with this one. They have waited long enough, but for a producer, which may have more
    /// receivers.
    pub(super) fn partners(&mut self, call: CallId, side: Side) -> Vec<Half> {
        match side {
            Side::Client => {
                let waiting = self.servers.remove(&call).unwrap_or_default();
                self.gone(waiting.len());
                waiting.into_iter().map(|waiting| waiting.half).collect()
            }
            Side::Server => self.client_of(call).into_iter().collect(),
        }
    }

    fn client_of(&mut self, call: CallId) -> Option<Half> {
        let waiting = self.clients.get_mut(&call)?;
        if waiting.half.kind == PRODUCER {
            waiting.was_paired = true;
            return Some(waiting.half);
        }
        self.gone(1);
        self.clients.remove(&call).map(|waiting| waiting.half)
    }

    /// Has a half wait; returns those that had to go for it, and whether for lack of memory. With other tenants' halves taking
    /// all there is, that is the half itself.
    pub(super) fn insert(
        &mut self,
        call: CallId,
        side: Side,
        half: Half,
        was_paired: bool,
        now_millis: i64,
    ) -> Vec<(Waited, bool)> {
        let number = self.next_number;
        self.next_number += 1;
        let mut crowded_out = Vec::new();
        while !self.memory.take(self.half_bytes) {
            match self.deadlines.pop_front() {
                Some(deadline) => crowded_out.extend(self.remove(deadline).map(|waited| (waited, true))),
                None => {
                    crowded_out.push((Waited { call, side, half, was_paired }, true));
                    return crowded_out;
                }
            }
        }
        let waiting = Waiting { half, number, was_paired };
        self.len += 1;
        match side {
            Side::Client => {
                if self.clients.insert(call, waiting).is_some() {
                    self.gone(1);
                }
            }
            Side::Server => self.servers.entry(call).or_default().push(waiting),
        }
        let at_millis = now_millis.saturating_add(self.wait_millis);
        self.deadlines.push_back(Deadline { at_millis, call, side, number });
        self.forget_met();
        while self.len > self.most
            && let Some(deadline) = self.deadlines.pop_front()
        {
            crowded_out.extend(self.remove(deadline).map(|waited| (waited, false)));
        }
        crowded_out
    }

    /// Takes out what has waited long enough.
    pub(super) fn expired(&mut self, now_millis: i64) -> Vec<Waited> {
        let mut expired = Vec::new();
        while let Some(deadline) = self.deadlines.pop_front_if(|deadline| deadline.at_millis <= now_millis) {
            expired.extend(self.remove(deadline));
        }
        expired
    }

    fn remove(&mut self, deadline: Deadline) -> Option<Waited> {
        let Deadline { call, side, number, .. } = deadline;
        let waiting = match side {
            Side::Client => match self.clients.get(&call) {
                Some(waiting) if waiting.number == number => self.clients.remove(&call)?,
                _ => return None,
            },
            Side::Server => {
                let list = self.servers.get_mut(&call)?;
                let at = list.iter().position(|waiting| waiting.number == number)?;
                let waiting = list.swap_remove(at);
                if list.is_empty() {
                    self.servers.remove(&call);
                }
                waiting
            }
        };
        self.gone(1);
        Some(Waited { call, side, half: waiting.half, was_paired: waiting.was_paired })
    }

    /// Keeps the deadlines of halves that are gone from outgrowing the others.
    fn forget_met(&mut self) {
        if self.deadlines.len() <= 2 * self.len + 1024 {
            return;
        }
        let Self { deadlines, clients, servers, .. } = self;
        deadlines.retain(|deadline| match deadline.side {
            Side::Client => clients.get(&deadline.call).is_some_and(|waiting| waiting.number == deadline.number),
            Side::Server => {
                let waiting = servers.get(&deadline.call);
                waiting.is_some_and(|list| list.iter().any(|waiting| waiting.number == deadline.number))
            }
        });
    }
}
