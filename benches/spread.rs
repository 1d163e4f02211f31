//! How much sooner three processes answer than one: real processes over one store, each within the same fraction of a core.
//!
//! ```sh
//! cargo build --release && cargo bench -p benches --bench spread -- target/release/mosso
//! ```
//!
//! Needs a machine that lets this user make control groups (version 1, controller `cpu`). Without a path it does nothing, so
//! that it runs beside the others.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use benches::{START_NANOS, encoded, requests, table, tokio_runtime};
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
const QUESTIONS: [(&str, &str); 3] = [
    (
        "quantiles by service",
        "/api/metrics/query_range?step=60s&q={duration>N}|quantile_over_time(duration,0.5,0.99)by(resource.service.name)",
    ),
    ("average by name", "/api/metrics/query_range?step=60s&q={duration>N}|avg_over_time(duration)by(name)"),
    ("a search that finds nothing", "/api/search?limit=20&q={duration=N%26%26name=~\".*x9$\"}"),
];

struct Process {
    child: Child,
    api: String,
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
        let mut child = Command::new("sh")
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&group)
            .arg(mosso)
            .arg("-config.file")
            .arg(&config)
            .stderr(Stdio::piped())
            .spawn()
            .expect("start mosso");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("listener=\"http\"")).expect("mosso says where it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let (_, address) = line.split_once("address=").expect("the line has an address");
        let api = address.split_whitespace().next().unwrap_or_default().to_owned();
        Self { child, api, group }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.api).expect("mosso listens");
        let path =
            path.replace('"', "%22").replace('{', "%7B").replace('}', "%7D").replace('|', "%7C").replace('>', "%3E");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("mosso reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("mosso answers");
        answer
    }

    fn jobs_given(&self) -> u64 {
        let text = self.get("/metrics");
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

#[expect(clippy::disallowed_methods, reason = "no runtime waits for this thread")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// The median time of each question, asked of the first of so many processes.
fn measured(mosso: &Path, dir: &Path, count: usize) -> Vec<Duration> {
    let processes: Vec<Process> = (0..count).map(|number| Process::start(mosso, dir, number)).collect();
    let asked = &processes[0];
    while !asked.get("/ready").starts_with("HTTP/1.1 200") {
        wait(Duration::from_millis(100));
    }
    // the others put their records as they start, and a list of nodes counts for ten seconds
    wait(Duration::from_secs(12));
    let start = START_NANOS / 1_000_000_000;
    // twenty requests a second of their own time
    let window = format!("&start={}&end={}", start - 60, start + BLOCKS * REQUESTS_OF_A_BLOCK / 20 + 60);
    let mut medians = Vec::new();
    for (name, question) in QUESTIONS {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let path = question.replacen('N', &format!("{}ns", round + 1), 1);
            let begun = Instant::now();
            let answer = asked.get(&format!("{path}{window}"));
            times.push(begun.elapsed());
            assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        }
        // what each process reads for the first time
        times.remove(0);
        times.sort();
        medians.push(times[times.len() / 2]);
    }
    let jobs_given = asked.jobs_given();
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
    let (one, three) = (measured(&mosso, &dir, 1), measured(&mosso, &dir, 3));
    for ((name, _), (one, three)) in QUESTIONS.iter().zip(one.iter().zip(&three)) {
        let percent = 100.0 * three.as_secs_f64() / one.as_secs_f64();
        println!("{name}: one process {} ms, three {}: {percent:.0} %", one.as_millis(), three.as_millis());
    }
    fs::remove_dir_all(&dir).expect("the folder is ours");
}
