//! Several processes over one store answer as one: a span that any of them acknowledged before a query began is in the
//! answer of any of them, once; otherwise the answer says that it is partial, and names who was missing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use conformance::{Target, post};
use serde_json::Value;

use crate::durability::assert_all_there;
use crate::generated::{self, CALLS, ON, REQUESTS, scraped};
use crate::server::{Server, metric};
use crate::traffic::{dealt_trace, json, post_request, send, window};

/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Folders of processes that share one for blocks.
pub struct Folders(tempfile::TempDir);

impl Folders {
    pub fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// The folder of one process.
    fn of(&self, name: &str) -> Result<PathBuf> {
        let dir = self.0.path().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    pub async fn start(&self, name: &str, more: &str) -> Result<Server> {
        self.start_in(name, "zone: here", more).await
    }

    /// With this setting of the cluster.
    pub async fn start_in(&self, name: &str, setting: &str, more: &str) -> Result<Server> {
        let blocks = self.0.path().join("blocks");
        let cluster = format!("cluster: {{enabled: true, listen_address: '127.0.0.1:0', {setting}}}");
        let store = format!("storage: {{trace: {{local: {{path: {}}}}}}}", blocks.display());
        Server::start(&self.of(name)?, &format!("{cluster}\n{store}\n{more}")).await
    }

    /// Endings of what is said of writers, sorted.
    fn writers(&self) -> Result<Vec<String>> {
        let mut endings = Vec::new();
        for entry in std::fs::read_dir(self.0.path().join("blocks/cluster/writers"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            endings.push(name.rsplit('.').next().unwrap_or_default().to_owned());
        }
        endings.sort();
        Ok(endings)
    }
}

/// The address at which others ask a process.
fn peer_address(server: &Server) -> Result<String> {
    let lines = server.log_lines(&["joined the cluster", "address="]);
    let (_, rest) = lines.first().context("it has joined")?.split_once("address=").context("an address")?;
    Ok(rest.split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned())
}

pub fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The ids of the traces that a query finds, and how many spans of them match.
async fn found(target: &Target, query: &str) -> Result<Vec<(String, u64)>> {
    let answer = json(target, &format!("/api/search?q={}&limit=1000&spss=100{}", encoded(query), window())).await?;
    assert_eq!(answer["metrics"]["completedJobs"], answer["metrics"]["totalJobs"], "{answer}");
    let entry = |trace: Value| {
        (
            trace["traceID"].as_str().unwrap_or_default().to_owned(),
            trace["spanSets"][0]["matched"].as_u64().unwrap_or(0),
        )
    };
    let mut found: Vec<_> = list(&answer["traces"]).into_iter().map(entry).collect();
    found.sort();
    Ok(found)
}

async fn span_count(target: &Target) -> Result<Value> {
    let query = encoded("{ } | count_over_time()");
    json(target, &format!("/api/metrics/query?q={query}{}", window())).await
}

/// Every one of these traces of ten spans is there, once and whole, whatever is asked.
async fn assert_whole(target: &Target, ids: &[u128], when: &str) -> Result<()> {
    for id in ids {
        let trace = json(target, &format!("/api/v2/traces/{id:x}")).await?;
        let resources = list(&trace["trace"]["resourceSpans"]);
        let scopes = resources.iter().flat_map(|resource| list(&resource["scopeSpans"]));
        let spans: usize = scopes.map(|scope| list(&scope["spans"]).len()).sum();
        assert_eq!((spans, &trace["status"]), (10, &Value::Null), "{when}: {trace}");
    }
    let of_each = |spans| ids.iter().map(|id| (format!("{id:x}"), spans)).collect::<Vec<_>>();
    for (query, spans) in [
        ("{ }", 10),
        ("{ name = \"step 3\" }", 1),
        ("{ } | count() = 10", 10),
        ("{ rootName = \"step 0\" }", 10),
        // from one process to the other and back, all the way down
        ("{ name = \"step 0\" } >> { name = \"step 9\" }", 1),
        ("{ name = \"step 4\" } > { }", 1),
        ("{ trace:duration = 1us }", 10),
        ("{ span:childCount = 0 }", 1),
    ] {
        assert_eq!(found(target, query).await?, of_each(spans), "{when}: {query}");
    }
    assert_eq!(found(target, "{ } | count() < 10").await?, [], "{when}");
    let counted = span_count(target).await?;
    assert_eq!(counted["series"][0]["value"].as_f64(), Some(10.0 * ids.len() as f64), "{when}: {counted}");
    assert_eq!(counted["status"], Value::Null, "{when}: {counted}");
    let by_name = encoded("{ } | rate() by (name)");
    let by_name = json(target, &format!("/api/metrics/query_range?step=60s&q={by_name}{}", window())).await?;
    assert_eq!(list(&by_name["series"]).len(), 10, "{when}: {by_name}");
    let values = json(target, &format!("/api/v2/search/tag/name/values?{}", window())).await?;
    assert_eq!(list(&values["tagValues"]).len(), 10, "{when}: {values}");
    Ok(())
}

pub async fn flush(server: &Server) -> Result<()> {
    post(&server.target(), &format!("{}/flush", server.api)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_finds_every_span_at_once_and_once() -> Result<()> {
    let folders = Folders::new()?;
    let (a, b) = tokio::try_join!(folders.start("a", ""), folders.start("b", "target: writer"))?;
    let asker = folders.start("querier", "target: querier").await?;
    let targets = [a.target(), b.target(), asker.target()];
    let everywhere = async |ids: &[u128], when: &str| {
        for (target, name) in targets.iter().zip(["a", "b", "querier"]) {
            assert_whole(target, ids, &format!("{when}, asked {name}")).await?;
        }
        anyhow::Ok(())
    };
    assert!(send(&targets[0], 1).await?);
    everywhere(&[1], "live at a").await?;
    for (part, target) in dealt_trace(2, 2).iter().zip(&targets) {
        assert_eq!(post_request(target, part).await?.status, 200);
    }
    everywhere(&[1, 2], "dealt over a and b").await?;
    flush(&a).await?;
    everywhere(&[1, 2], "in a block of a, and live at b").await?;
    for (part, target) in dealt_trace(3, 2).iter().rev().zip(&targets) {
        assert_eq!(post_request(target, part).await?.status, 200);
    }
    everywhere(&[1, 2, 3], "in a block, and live at a and b").await?;
    flush(&b).await?;
    everywhere(&[1, 2, 3], "in blocks of a and b, and live at a").await?;
    assert!(!folders.of("querier")?.join("data").exists(), "a querier needs no volume");
    assert_eq!(targets[2].get("/flush").await?.status, 404);

    // one that is stopped leaves nothing behind that the others would have to ask for
    a.stop()?;
    assert_eq!(folders.writers()?, ["json", "json", "retired"]);
    assert_whole(&targets[1], &[1, 2, 3], "a has stopped, asked b").await?;
    assert_whole(&targets[2], &[1, 2, 3], "a has stopped, asked the querier").await?;
    let text = String::from_utf8(targets[2].get("/metrics").await?.body)?;
    assert_eq!(metric(&text, "mosso_cluster_writers"), 1.0);
    Ok(())
}

/// An answer says that it is partial, and names this process.
async fn assert_names(target: &Target, missing: &str) -> Result<()> {
    let trace = json(target, "/api/v2/traces/1").await?;
    let counted = span_count(target).await?;
    for answer in [trace, counted] {
        assert_eq!(answer["status"], Value::from("PARTIAL"), "{answer}");
        assert!(answer["message"].as_str().is_some_and(|message| message.contains(missing)), "{answer}");
    }
    for path in ["/api/search?q=%7B%7D", "/api/v2/search/tags?", "/api/v2/search/tag/name/values?", "/api/search/tags?"]
    {
        let answer = target.get(&format!("{path}{}", window())).await?;
        let partial = answer.header("x-mosso-partial").unwrap_or_default();
        assert!(partial.contains(missing), "{path}: {partial:?}");
        let metrics = &serde_json::from_slice::<Value>(&answer.body)?["metrics"];
        let jobs = |name: &str| metrics[name].as_u64().unwrap_or_default();
        assert!(jobs("completedJobs") < jobs("totalJobs"), "{path}: {metrics}");
    }
    let old = target.get("/api/traces/1").await?;
    assert!(old.header("x-mosso-partial").is_some_and(|partial| partial.contains(missing)), "{:?}", old.headers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_whose_spans_are_missing_until_they_are_back() -> Result<()> {
    let folders = Folders::new()?;
    let (a, b) = tokio::try_join!(folders.start("a", ""), folders.start("b", ""))?;
    assert!(send(&a.target(), 1).await? && send(&b.target(), 2).await?);
    assert_whole(&b.target(), &[1, 2], "both run").await?;
    let address = peer_address(&a)?;
    a.kill()?;
    assert_names(&b.target(), &address).await?;

    let a = folders.start("a", "").await?;
    let deadline = Instant::now() + PATIENCE;
    while span_count(&b.target()).await?["status"] != Value::Null {
        assert!(Instant::now() < deadline, "the start that was killed is not retired by the next");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_whole(&b.target(), &[1, 2], "a is back, asked b").await?;
    assert_whole(&a.target(), &[1, 2], "a is back, asked a").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_or_doubled_while_blocks_are_published() -> Result<()> {
    let folders = Folders::new()?;
    let small = "ingester: {max_block_bytes: 30000, max_block_duration: 1s}";
    let (a, b) = tokio::try_join!(folders.start("a", small), folders.start("b", small))?;
    let (targets, mut ids) = ([a.target(), b.target()], Vec::new());
    let (started, mut next) = (Instant::now(), 0u128);
    while started.elapsed() < Duration::from_secs(5) {
        for target in &targets {
            next += 1;
            assert!(send(target, next).await?);
            ids.push(next);
        }
        for target in &targets {
            let counted = span_count(target).await?;
            assert_eq!(counted["series"][0]["value"].as_f64(), Some(10.0 * ids.len() as f64), "{counted}");
            assert_eq!(counted["status"], Value::Null, "{counted}");
        }
    }
    for (target, server) in targets.iter().zip([&a, &b]) {
        assert_all_there(target, &ids).await?;
        let text = String::from_utf8(target.get("/metrics").await?.body)?;
        assert!(metric(&text, "tempo_ingester_blocks_flushed_total") > 1.0, "{}", server.api);
        assert!(
            metric(&text, "mosso_peer_requests_total") > 0.0 && metric(&text, "mosso_peer_partial_views_total") == 0.0
        );
    }
    println!("{} acknowledged traces, each found once", ids.len());
    Ok(())
}

#[test]
fn a_part_needs_the_others() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let refused = |arguments: &[&str]| -> Result<String> {
        let program = Path::new(env!("CARGO_BIN_EXE_mosso"));
        let output = std::process::Command::new(program).args(arguments).current_dir(dir.path()).output()?;
        assert!(!output.status.success());
        Ok(String::from_utf8(output.stderr)?)
    };
    assert!(refused(&["-target=query-frontend"])?.contains("needs cluster.enabled: true"));
    assert!(refused(&["-target=metrics-generator"])?.contains("where spans are taken"));
    assert!(refused(&["-target=ingester", "-cluster.enabled"])?.contains("a store that all processes share"));
    Ok(())
}

/// What the processes have counted together.
async fn counted(servers: [&Server; 2], series: &str) -> Result<f64> {
    let [one, other] = [scraped(servers[0]).await?, scraped(servers[1]).await?];
    Ok([one, other].iter().filter_map(|samples| samples.get(series)).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_halves_two_writers_received_is_counted_once() -> Result<()> {
    const CALLS_SENT: u128 = 30;
    let folders = Folders::new()?;
    let (a, b) = tokio::try_join!(folders.start("a", ON), folders.start("b", ON))?;
    // half of the clients at a, half of the servers at b, and whole calls at both
    let place = |trace: u128, half: usize| (trace as usize / (half + 1)) % 2;
    let send = async |targets: [Target; 2], traces: std::ops::Range<u128>| {
        for trace in traces {
            for (half, request) in generated::halves(trace).iter().enumerate() {
                generated::post(&targets[place(trace, half)], request).await?;
            }
        }
        anyhow::Ok(())
    };
    let half_way = CALLS_SENT / 2;
    send([a.target(), b.target()], 1..half_way + 1).await?;
    let deadline = Instant::now() + PATIENCE;
    while counted([&a, &b], REQUESTS).await? < half_way as f64 {
        anyhow::ensure!(Instant::now() < deadline, "{:?} {:?}", scraped(&a).await?, scraped(&b).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // client halves wait at b while a is away, and it asks for them once it is back
    a.kill()?;
    let rest = [b.target(), b.target()];
    for trace in half_way + 1..=CALLS_SENT {
        generated::post(&rest[0], &generated::halves(trace)[0]).await?;
    }
    let a = folders.start("a", ON).await?;
    for trace in half_way + 1..=CALLS_SENT {
        generated::post(&a.target(), &generated::halves(trace)[1]).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    while counted([&a, &b], REQUESTS).await? < CALLS_SENT as f64 {
        anyhow::ensure!(Instant::now() < deadline, "{:?} {:?}", scraped(&a).await?, scraped(&b).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // nothing waits any more, so nothing will be counted as something else
    a.wait_for_metrics(|text| metric(text, WAITING) == 0.0).await?;
    b.wait_for_metrics(|text| metric(text, WAITING) == 0.0).await?;
    assert_eq!(counted([&a, &b], REQUESTS).await?, CALLS_SENT as f64);
    for series in CALLS {
        assert_eq!(counted([&a, &b], series).await?, CALLS_SENT as f64, "{series}");
    }
    for server in [a, b] {
        let edges: Vec<String> = scraped(&server)
            .await?
            .into_keys()
            .filter(|series| series.starts_with("traces_service_graph_request_total"))
            .collect();
        assert_eq!(edges, [REQUESTS], "no call is of another kind");
    }
    Ok(())
}

const WAITING: &str = "mosso_metrics_generator_waiting_halves";
