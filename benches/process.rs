//! Servers as their clients and their operators see them: a mosso in a process of its own, or another server of Tempo's API
//! that runs already. Spans go in by OTLP over HTTP, questions come by HTTP; CPU time and memory are what the system says.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::try_join_all;
use prost::Message;
use reqwest::{Client, StatusCode};
use spans::testing::shop_request;

use crate::cpu_of;

/// How many connections spans are sent over.
const SENDERS: u64 = 2;
/// In one request, of some seventeen spans each.
const TRACES: usize = 45;
const SPANS_OF_A_REQUEST: u64 = 765;
const ENDED_BEFORE_NANOS: u64 = 2_000_000_000;
/// So long nothing is done before a server counts as idle, and at most so much of it is CPU time.
const QUIET: Duration = Duration::from_secs(8);
const QUIET_CPU: Duration = Duration::from_millis(400);
/// Merges of 20 million spans end long before.
const MOST_QUIET_PERIODS: usize = 120;

/// Spans of a shop that begin evenly over a time.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// About how many spans.
    pub spans: u64,
    /// Nanoseconds since 1970.
    pub end_nanos: u64,
    pub over: Duration,
}

impl Traffic {
    /// Of the time before the present.
    pub fn until_now(spans: u64, over: Duration) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        Self { spans, end_nanos: u64::try_from(now).expect("before 2554") - ENDED_BEFORE_NANOS, over }
    }

    fn requests(&self) -> u64 {
        (self.spans / SPANS_OF_A_REQUEST).max(1)
    }

    /// Of a request by its number, and the id of its first trace.
    fn request(&self, number: u64) -> (Vec<u8>, [u8; 16]) {
        let nanos = u64::try_from(self.over.as_nanos()).expect("less than centuries");
        let at = self.end_nanos - nanos + nanos / self.requests() * number;
        let request = shop_request(number, TRACES, at);
        let first = request.resource_spans.iter().flat_map(|of| &of.scope_spans).find_map(|of| of.spans.first());
        let id = first.expect("a shop has spans").trace_id.clone();
        (request.encode_to_vec(), id.try_into().expect("an id has sixteen bytes"))
    }

    /// Ids of so many traces, from all of the time.
    pub fn trace_ids(&self, count: u64) -> Vec<String> {
        let requests = self.requests();
        let ids = (0..count).map(|number| self.request(number * requests / count).1);
        ids.map(|id| format!("{:032x}", u128::from_be_bytes(id))).collect()
    }
}

/// What became of spans that were sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub spans: u64,
    pub time: Duration,
    /// Requests that were not taken, and were sent again until they were.
    pub refused: u64,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    pub time: Duration,
}

/// A server that runs.
#[derive(Clone, Debug)]
pub struct Server {
    pid: u32,
    api: String,
    otlp: String,
    client: Client,
}

impl Server {
    /// By its process and the addresses (host and port) of its API and of OTLP over HTTP.
    pub fn new(pid: u32, api: &str, otlp: &str) -> Self {
        // a client wants to have one, though nothing is encrypted here
        _ = rustls::crypto::ring::default_provider().install_default();
        Self { pid, api: api.to_owned(), otlp: otlp.to_owned(), client: Client::new() }
    }

    /// CPU time of the process so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.pid.to_string()).into_iter().sum()
    }

    /// The most memory that the process has held so far.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the system says it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib >> 10
    }

    /// Sends all, as fast as it is taken.
    pub async fn send(&self, traffic: Traffic) -> Result<Sent, reqwest::Error> {
        let (next, spans, refused) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let counters = Arc::new((next, spans, refused));
        let begun = Instant::now();
        let senders = (0..SENDERS).map(|_| tokio::spawn(self.clone().send_some(traffic, counters.clone())));
        for ended in try_join_all(senders).await.expect("a sender does not panic") {
            ended?;
        }
        let (_, spans, refused) = &*counters;
        let [spans, refused] = [spans, refused].map(|counter| counter.load(Ordering::Relaxed));
        Ok(Sent { spans, time: begun.elapsed(), refused })
    }

    async fn send_some(
        self,
        traffic: Traffic,
        counters: Arc<(AtomicU64, AtomicU64, AtomicU64)>,
    ) -> Result<(), reqwest::Error> {
        let (next, spans, refused) = &*counters;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= traffic.requests() {
                return Ok(());
            }
            let (body, _) = traffic.request(number);
            let count = spans::check(&body).expect("the generator makes valid requests").spans as u64;
            let (url, body) = (format!("http://{}/v1/traces", self.otlp), bytes::Bytes::from(body));
            loop {
                let request = self.client.post(&url).header("content-type", "application/x-protobuf");
                if request.body(body.clone()).send().await?.status().is_success() {
                    break;
                }
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            spans.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The answer to a question, of a path with its parameters.
    pub async fn get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        let begun = Instant::now();
        let answer = self.client.get(format!("http://{}{path}", self.api)).send().await?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        Ok(Answer { status, body: body.to_vec(), time: begun.elapsed() })
    }

    /// Returns when it says that it is ready.
    pub async fn ready(&self) {
        while !self.get("/ready").await.is_ok_and(|answer| answer.status.is_success()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What its blocks take, indexes included, without those that were merged and wait to be deleted.
    pub async fn bytes_at_rest(&self) -> Result<u64, reqwest::Error> {
        let text = String::from_utf8(self.get("/metrics").await?.body).expect("metrics are a text");
        let of_blocks =
            |line: &&str| line.starts_with("tempodb_backend_bytes_total{") && line.contains("status=\"live\"");
        let bytes = text.lines().filter(of_blocks).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(bytes.sum())
    }

    /// Asks it to write what it has, where it can be asked, and waits until it uses no CPU to speak of.
    pub async fn settle(&self) -> Result<(), reqwest::Error> {
        self.client.post(format!("http://{}/flush", self.api)).send().await?;
        for _ in 0..MOST_QUIET_PERIODS {
            let before = self.cpu();
            tokio::time::sleep(QUIET).await;
            if self.cpu() - before < QUIET_CPU {
                break;
            }
        }
        Ok(())
    }
}

/// A mosso that ends with this.
#[derive(Debug)]
pub struct Mosso {
    pub server: Server,
    child: Child,
}

impl Drop for Mosso {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Mosso {
    /// Starts it with defaults, on free ports, with its data in a folder; returns when it is ready.
    pub async fn start(binary: &Path, folder: &Path) -> Self {
        let config = folder.join("mosso.yaml");
        let yaml = format!(
            "data_dir: {}\nserver: {{http_listen_address: 127.0.0.1, http_listen_port: 0}}\n\
             distributor: {{receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:0'}}}}}}}}}}\n",
            folder.join("data").display()
        );
        std::fs::write(&config, yaml).expect("the folder is ours");
        let mut mosso = Command::new(binary);
        mosso.arg("-config.file").arg(&config);
        let (child, [api, otlp]) = spawn(mosso, ["http", "otlp_http"]);
        let server = Server::new(child.id(), &api, &otlp);
        server.ready().await;
        Self { server, child }
    }

    /// Ends it in order, so that all it has is in blocks.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status().expect("there is a `kill`");
        self.child.wait().expect("mosso ends");
    }
}

/// Starts a mosso, and waits until it says at which addresses it listens for what is named.
pub fn spawn<const N: usize>(mut mosso: Command, listeners: [&str; N]) -> (Child, [String; N]) {
    let mut child = mosso.stderr(Stdio::piped()).spawn().expect("mosso can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
    let addresses = listeners.map(|name| {
        let said = format!("listener=\"{name}\" address=");
        let mut told = lines.by_ref().filter_map(|line| Some(line.split_once(&said)?.1.to_owned()));
        told.next().expect("mosso says where it listens, in this order").trim().to_owned()
    });
    std::thread::spawn(move || lines.for_each(drop));
    (child, addresses)
}
