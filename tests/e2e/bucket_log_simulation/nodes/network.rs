//! How nodes reach each other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::TenantId;
use peers::{Answer, Holder, PeerError, Peers, Question};
use spans::SpanTable;
use storage::incarnation::Incarnation;
use storage::members::Record;
use storage::view::TableId;

/// What lies between the nodes: whoever is suspended or dead does not answer.
#[derive(Default)]
pub struct Network(Mutex<BTreeMap<Incarnation, Arc<Holder>>>);

impl Network {
    fn find(&self, incarnation: &Incarnation) -> Result<Arc<Holder>, PeerError> {
        let found = self.0.lock().expect("no test panics with it").get(incarnation).cloned();
        found.ok_or_else(|| PeerError::Unreachable("nobody answers there".to_owned()))
    }

    pub fn add(&self, incarnation: Incarnation, holder: Arc<Holder>) {
        self.0.lock().expect("no test panics with it").insert(incarnation, holder);
    }

    pub fn remove(&self, incarnation: &Incarnation) -> Option<Arc<Holder>> {
        self.0.lock().expect("no test panics with it").remove(incarnation)
    }
}

/// A way to reach the network that can be shared.
pub struct Wire(pub Arc<Network>);

#[async_trait]
impl Peers for Wire {
    async fn live(&self, writer: &Record, question: &Question) -> Result<Answer, PeerError> {
        self.0.find(&writer.incarnation)?.answer(question)
    }

    async fn table(&self, writer: &Record, tenant: &TenantId, id: TableId) -> Result<Option<SpanTable>, PeerError> {
        self.0.find(&writer.incarnation)?.table(&writer.incarnation, tenant, id)
    }
}
