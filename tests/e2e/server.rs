//! A mosso process of a test's own: free ports, its own data folder, killed when the test ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conformance::Target;

/// How long a test waits for something that should take a moment.
pub const PATIENCE: Duration = Duration::from_secs(60);

const MOSSO: &str = env!("CARGO_BIN_EXE_mosso");

pub struct Server {
    process: Child,
    log: Log,
    pub api: String,
    pub otlp: String,
    pub grpc: String,
}

/// What a process has said so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Lines that hold all of these words.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
    }
}

/// Settings that let every test run beside the others.
pub fn config_in(dir: &Path, more: &str) -> Result<std::path::PathBuf> {
    let path = dir.join("mosso.yaml");
    let yaml = format!(
        "data_dir: {}\nserver: {{http_listen_port: 0}}\ndistributor: {{receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:0'}}, http: {{endpoint: '127.0.0.1:0'}}}}}}}}}}\n{more}\n",
        dir.join("data").display()
    );
    std::fs::write(&path, yaml)?;
    Ok(path)
}

/// The sum of a metric over all its labels in the text of `/metrics`; NaN when it is not there.
pub fn metric(text: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let values: Vec<f64> =
        text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    if values.is_empty() { f64::NAN } else { values.iter().sum() }
}

impl Server {
    /// Starts on `dir` and waits until it is ready.
    pub async fn start(dir: &Path, more: &str) -> Result<Self> {
        Self::run(Command::new(MOSSO), dir, more).await
    }

    /// As [`start`](Self::start), with a limit on the size of each of its files: bytes, or `unlimited`. A write beyond it
    /// is an error instead of the end of the process.
    pub async fn start_within_file_limit(dir: &Path, bytes: &str) -> Result<Self> {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--fsize={bytes}:")).args(["sh", "-c", r#"trap '' XFSZ; exec "$0" "$@""#, MOSSO]);
        Self::run(limited, dir, "").await
    }

    /// Changes that limit.
    pub fn limit_files(&self, bytes: &str) -> Result<()> {
        let arguments = [format!("--pid={}", self.process.id()), format!("--fsize={bytes}:")];
        let status = Command::new("prlimit").args(arguments).status().context("run prlimit, of util-linux")?;
        if status.success() { Ok(()) } else { bail!("prlimit ended with {status}") }
    }

    async fn run(program: Command, dir: &Path, more: &str) -> Result<Self> {
        let server = Self::listening(program, &config_in(dir, more)?)?;
        server.wait_ready().await?;
        Ok(server)
    }

    /// Starts with this configuration and waits until it listens; whether it is ready is for the test to ask.
    pub fn start_listening(dir: &Path, yaml: &str) -> Result<Self> {
        let config = dir.join("mosso.yaml");
        std::fs::write(&config, format!("data_dir: {}\n{yaml}\n", dir.join("data").display()))?;
        Self::listening(Command::new(MOSSO), &config)
    }

    fn listening(mut program: Command, config: &Path) -> Result<Self> {
        let mut process = program.arg("-config.file").arg(config).stderr(Stdio::piped()).spawn()?;
        let stderr = process.stderr.take().context("stderr is piped")?;
        let (lines, log) = std::sync::mpsc::channel();
        let all_lines = Log::default();
        let kept = all_lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("mosso| {line}");
                kept.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                _ = lines.send(line);
            }
        });
        let address = |listener: &str| -> Result<String> {
            let line = loop {
                let line = log
                    .recv_timeout(PATIENCE)
                    .with_context(|| format!("mosso did not log the address of {listener}"))?;
                if line.contains(&format!("listener=\"{listener}\"")) {
                    break line;
                }
            };
            let (_, rest) = line.split_once("address=").context("the line has an address")?;
            Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
        };
        let text = std::fs::read_to_string(config)?;
        let takes_spans = !["target: querier", "target: compactor"].iter().any(|target| text.contains(target));
        let of_spans = |listener: &str| if takes_spans { address(listener) } else { Ok(String::new()) };
        let (api, grpc, otlp) = (address("http")?, of_spans("otlp_grpc")?, of_spans("otlp_http")?);
        Ok(Self { process, log: all_lines, api: format!("http://{api}"), otlp: format!("http://{otlp}"), grpc })
    }

    /// SIGHUP.
    pub fn hang_up(&self) -> Result<()> {
        let status = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { bail!("kill ended with {status}") }
    }

    /// Waits until the log has a line with all of these words.
    pub async fn wait_for_log(&self, words: &[&str]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.log_lines(words).is_empty() {
            if Instant::now() > deadline {
                bail!("no line of the log has all of {words:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Lines of the log so far that hold all of these words.
    pub fn log_lines(&self, words: &[&str]) -> Vec<String> {
        self.log.lines(words)
    }

    /// The log, also of after the end.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    pub fn target(&self) -> Target {
        let mut target = Target::new(&self.api, &self.otlp);
        target.grpc = Some(self.grpc.clone());
        target
    }

    async fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.target().get("/ready").await.is_ok_and(|response| response.status == 200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("mosso was not ready within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the text of `/metrics` is as it should be.
    pub async fn wait_for_metrics(&self, is_as_wanted: impl Fn(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = self.target().get("/metrics").await?.body;
            let text = String::from_utf8_lossy(&body);
            if is_as_wanted(&text) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the metrics were not as wanted within {PATIENCE:?}:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits until the process ends by itself.
    pub async fn ended(mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("mosso did not end within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM; returns how long the stop took.
    pub fn stop(mut self) -> Result<Duration> {
        let started = Instant::now();
        let id = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        let status = self.process.wait()?;
        if !status.success() {
            bail!("mosso ended with {status}");
        }
        Ok(started.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}
