//! How much sooner three processes answer than one: real processes over one store, each within the same fraction of a core.
//!
//! ```sh
//! cargo build --release && cargo bench -p benches --bench spread -- target/release/mosso
//! ```
//!
//! Needs a machine that lets this user make control groups (version 1, controller `cpu`). Without a path it does nothing, so
//! that it runs beside the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use benches::process::{Server, spawn};
use benches::{START_NANOS, encoded, requests, table, tokio_runtime};
use form_urlencoded::Serializer;
use model::TenantId;
use storage::Telemetry;
use storage::config::{Backend, TraceConfig};
use storage::manifest::{Change, Store};
use storage::objects;
use storage::paths::DataDir;

const BLOCKS: u64 = 100;
/// Requests of a block, of some 800 spans each: blocks are about as large as merged ones are.
const REQUESTS_OF_A_BLOCK: u64 = 384;
/// A quarter of a core for each process: three of them, and what else runs, do not fill two cores.
const PERIOD_MICROS: u64 = 20_000;
const QUOTA_MICROS: u64 = 5_000;
const ROUNDS: usize = 7;
const GROUPS: &str = "/sys/fs/cgroup/cpu";

/// Each is another question in every round, so that nothing is known of it; `N` is the number of the round.
const QUESTIONS: [(&str, &str, &str); 3] = [
    (
        "quantiles by service",
        "/api/metrics/query_range?step=60s",
        "{ duration > Nns } | quantile_over_time(duration, 0.5, 0.99) by (resource.service.name)",
    ),
    ("average by name", "/api/metrics/query_range?step=60s", "{ duration > Nns } | avg_over_time(duration) by (name)"),
    ("a search that finds nothing", "/api/search?limit=20", "{ duration = Nns && name =~ `.*x9$` }"),
];

struct Process {
    child: Child,
    server: Server,
    group: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_dir(&self.group);
    }
}

impl Process {
    fn start(mosso: &Path, dir: &Path, number: usize) -> Self {
        let (name, own) = (format!("mosso-spread-{number}"), dir.join(format!("process-{number}")));
        fs::create_dir_all(&own).expect("the folder is ours");
        let group = Path::new(GROUPS).join(name);
        fs::create_dir_all(&group).expect("make a control group, as root");
        for (file, micros) in [("cpu.cfs_period_us", PERIOD_MICROS), ("cpu.cfs_quota_us", QUOTA_MICROS)] {
            fs::write(group.join(file), micros.to_string()).expect("limit the control group");
        }
        let config = own.join("mosso.yaml");
        let yaml = format!(
            "target: querier\ndata_dir: {}\nserver: {{http_listen_port: 0}}\nstorage: {{trace: {{local: {{path: {}}}}}}}\n\
             cluster: {{enabled: true, listen_address: '127.0.0.1:0'}}\n",
            own.join("data").display(),
            dir.join("blocks").display()
        );
        fs::write(&config, yaml).expect("the folder is ours");
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&group).arg(mosso);
        command.arg("-config.file").arg(&config);
        let (child, [api]) = spawn(command, ["http"]);
        let server = Server::new(child.id(), &api, "");
        Self { child, server, group }
    }

    async fn jobs_given(&self) -> u64 {
        let text = String::from_utf8(self.server.get("/metrics").await.expect("mosso answers").body).expect("a text");
        let jobs = text.lines().filter_map(|line| line.strip_prefix("mosso_query_jobs_total{outcome=\"done\"} "));
        jobs.filter_map(|count| count.parse::<u64>().ok()).sum()
    }
}

fn store_blocks(dir: &Path) -> u64 {
    let runtime = tokio_runtime();
    let config = TraceConfig { backend: Backend::Local, ..TraceConfig::default() };
    let data_dir = DataDir::new(dir.join("writer")).with_blocks_dir(dir.join("blocks")).with_shared_blocks();
    runtime.block_on(async {
        let telemetry = Telemetry::unregistered();
        let objects = objects::open(&config, &data_dir, &telemetry).expect("the folder is ours");
        let manifests = Store::open(objects.clone(), telemetry).await.expect("the folder is empty");
        let (tenant, mut add) = (TenantId::single(), Vec::new());
        for number in 0..BLOCKS {
            let (requests, _) = requests(number * REQUESTS_OF_A_BLOCK..(number + 1) * REQUESTS_OF_A_BLOCK);
            let block = encoded(&table(&requests));
            block.put(&tenant, objects.as_ref()).await.expect("the folder is ours");
            add.push(block.entry());
        }
        let spans: u64 = add.iter().map(|entry| entry.spans).sum();
        let bytes: u64 = add.iter().map(storage::manifest::BlockEntry::bytes).sum();
        let change = Change { add, ..Change::default() };
        manifests.commit(&tenant, |_| Some(change.clone())).await.expect("nobody else is there");
        println!("{BLOCKS} blocks, {spans} spans, {} MiB", bytes >> 20);
        spans
    })
}

/// The median time of each question, asked of the first of so many processes.
async fn measured(mosso: &Path, dir: &Path, count: usize) -> Vec<Duration> {
    let processes: Vec<Process> = (0..count).map(|number| Process::start(mosso, dir, number)).collect();
    let asked = &processes[0];
    asked.server.ready().await;
    // the others put their records as they start, and a list of nodes counts for ten seconds
    tokio::time::sleep(Duration::from_secs(12)).await;
    let start = START_NANOS / 1_000_000_000;
    // twenty requests a second of their own time
    let (start, end) = (start - 60, start + BLOCKS * REQUESTS_OF_A_BLOCK / 20 + 60);
    let mut medians = Vec::new();
    for (name, path, query) in QUESTIONS {
        let mut times = Vec::new();
        for round in 1..=ROUNDS {
            let mut parameters = Serializer::new(String::new());
            parameters.append_pair("q", &query.replacen('N', &round.to_string(), 1));
            parameters.append_pair("start", &start.to_string()).append_pair("end", &end.to_string());
            let answer = asked.server.get(&format!("{path}&{}", parameters.finish())).await.expect("mosso answers");
            assert!(answer.status.is_success(), "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
            times.push(answer.time);
        }
        // what each process reads for the first time
        times.remove(0);
        times.sort();
        medians.push(times[times.len() / 2]);
    }
    let jobs_given = asked.jobs_given().await;
    assert_eq!(jobs_given > 0, count > 1, "{count} processes: {jobs_given} jobs given to others");
    println!("{count} processes: {jobs_given} jobs given to others");
    medians
}

fn main() {
    let mosso = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(mosso) = mosso.map(PathBuf::from) else {
        println!("spread: needs the path of a mosso: cargo bench -p benches --bench spread -- target/release/mosso");
        return;
    };
    let mosso = fs::canonicalize(mosso).expect("there is a mosso");
    let dir = std::env::temp_dir().join(format!("mosso-spread-{}", std::process::id()));
    store_blocks(&dir);
    let runtime = tokio_runtime();
    let [one, three] = [1, 3].map(|count| runtime.block_on(measured(&mosso, &dir, count)));
    for ((name, ..), (one, three)) in QUESTIONS.iter().zip(one.iter().zip(&three)) {
        let percent = 100.0 * three.as_secs_f64() / one.as_secs_f64();
        println!("{name}: one process {} ms, three {}: {percent:.0} %", one.as_millis(), three.as_millis());
    }
    fs::remove_dir_all(&dir).expect("the folder is ours");
}
