//! Answers over a real connection, and writers that give none.

use std::net::SocketAddr;
use std::sync::Arc;

use object_store::memory::InMemory;
use spans::TableBuilder;
use spans::testing::shop_request;
use storage::ids::NodeId;
use storage::ids::SegmentSequence;
use storage::ids::WriterId;
use storage::incarnation::{Incarnation, Lineage, Writer};
use storage::manifest;
use storage::memory::MemorySource;
use storage::view::{CutPosition, LiveRows, LiveTable, Reach};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::holder::Holder;
use crate::question::Rows;
use crate::server::Server;

const TIMEOUT: Duration = Duration::from_secs(5);
const LISTED_BYTES: u64 = 1 << 20;

/// Live rows of one tenant in two tables, of which one grows.
struct Log {
    writer: Writer,
    tables: [Arc<MemorySource>; 2],
}

impl LiveRows for Log {
    fn writer(&self) -> Writer {
        self.writer
    }

    fn tables(&self, tenant: &TenantId) -> Result<Vec<LiveTable>, storage::Error> {
        let [kept, growing] = self.tables.clone();
        let table = |id, source| LiveTable { id, cut: CutPosition::default(), source };
        match *tenant == TenantId::single() {
            true => Ok(vec![table(Some(TableId(1)), kept), table(None, growing)]),
            false => Ok(Vec::new()),
        }
    }
}

fn source(traces: usize) -> Arc<MemorySource> {
    let mut builder = TableBuilder::default();
    builder.append(&shop_request(traces as u64, traces, 1).encode_to_vec()).unwrap();
    Arc::new(MemorySource::new(model::BlockId::generate(), builder.snapshot().unwrap()).unwrap())
}

fn record(address: SocketAddr, writer: Writer) -> Record {
    Record::new(writer, address.to_string(), String::new(), "")
}

fn question(incarnation: Incarnation, tenant: TenantId) -> Question {
    Question { tenant, incarnation, manifest: 0, watermark: SegmentSequence::NONE, reach: Reach::Everything }
}

fn peers(timeout: Duration) -> GrpcPeers {
    GrpcPeers::new(timeout, CpuPool::new(1), Telemetry::default())
}

fn writer() -> Writer {
    Lineage::new(WriterId(Uuid::from_u128(7)), Vec::new()).writer()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_over_the_wire_in_messages_of_a_bounded_size() {
    let log = Arc::new(Log { writer: writer(), tables: [source(4_000), source(20)] });
    let store = manifest::Store::open(Arc::new(InMemory::new()), storage::Telemetry::unregistered()).await.unwrap();
    let server = Server::new(NodeId::generate(), CpuPool::new(1)).with_holder(Holder::new(
        log.clone(),
        Arc::new(store),
        LISTED_BYTES,
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (record, stop) = (record(listener.local_addr().unwrap(), log.writer), CancellationToken::new());
    let serving = tokio::spawn(server.serve(listener, stop.clone()));

    let (peers, single) = (peers(TIMEOUT), TenantId::single());
    let asked = question(log.writer.incarnation, single.clone());
    let Answer::Rows(listed) = peers.live(&record, &asked).await.unwrap() else { panic!("nothing is gone") };
    assert!(matches!(listed[0].rows, Rows::Kept(TableId(1))));
    assert!(matches!(&listed[1].rows, Rows::Given(table) if table.spans == log.tables[1].table().spans));
    let table = peers.table(&record, &single, TableId(1)).await.unwrap().unwrap();
    assert_eq!(table.spans, log.tables[0].table().spans);
    assert!(wire::encode(&table).unwrap().len() > 2 * wire::PIECE_BYTES, "it took several messages");
    assert!(peers.table(&record, &single, TableId(2)).await.unwrap().is_none());

    let other = TenantId::parse("other").unwrap();
    assert!(peers.table(&record, &other, TableId(1)).await.unwrap().is_none(), "a number is of one tenant");
    let of_other = peers.live(&record, &question(log.writer.incarnation, other)).await.unwrap();
    assert!(matches!(of_other, Answer::Rows(listed) if listed.is_empty()));
    let elsewhere = peers.live(&record, &question(Incarnation(Uuid::from_u128(1)), single)).await;
    assert_eq!(elsewhere.unwrap_err(), PeerError::Elsewhere);
    stop.cancel();
    drop(peers);
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_gives_no_answer_is_given_up_in_time_and_left_alone_for_a_while() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (record, timeout) = (record(silent.local_addr().unwrap(), writer()), Duration::from_millis(200));
    let (peers, asked) = (peers(timeout), question(record.incarnation, TenantId::single()));
    let started = Instant::now();
    assert_eq!(peers.live(&record, &asked).await.unwrap_err(), PeerError::Late(timeout));
    assert!(started.elapsed() >= timeout);
    let lately = PeerError::Lately(Box::new(PeerError::Late(timeout)));
    assert_eq!(peers.live(&record, &asked).await.unwrap_err(), lately);
    assert_eq!(peers.table(&record, &asked.tenant, TableId(1)).await.unwrap_err(), lately);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_where_nobody_listens_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = record(listener.local_addr().unwrap(), writer());
    drop(listener);
    let (peers, asked) = (peers(TIMEOUT), question(gone.incarnation, TenantId::single()));
    let error = peers.live(&gone, &asked).await.unwrap_err();
    assert!(matches!(&error, PeerError::Unreachable(reason) if reason.contains("connect")), "{error}");
    let mut wrong = gone;
    wrong.address = "no address".to_owned();
    assert!(matches!(peers.live(&wrong, &asked).await.unwrap_err(), PeerError::Unreachable(_)));
}
