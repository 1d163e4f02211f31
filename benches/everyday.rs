//! What people ask a trace store every day, of the spans of a `process::Traffic`.

use std::time::Duration;

use form_urlencoded::Serializer;

use crate::process::{Answer, Server, Traffic};

/// Traces of which one is asked for.
const TRACES: u64 = 40;
const POINTS: u64 = 60;

/// What may grow with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// It stops early, or finds what it looks for.
    Little,
    /// It looks at all spans.
    Scan,
}

/// One of these questions. Asked again it is about a range that begins a second earlier, so that no server has its answer.
#[derive(Clone, Debug)]
pub struct Question {
    pub name: &'static str,
    pub cost: Cost,
    paths: Vec<String>,
    parameters: Vec<(&'static str, String)>,
    range: Option<(u64, u64)>,
}

const SEARCHES: [(&str, &str); 16] = [
    ("newest", "{ }"),
    ("by service", "{ resource.service.name = `checkout` }"),
    ("errors of a service", "{ resource.service.name = `payment` && status = error }"),
    ("one user", "{ span.app.user.id = `user-77` }"),
    ("one user, unscoped", "{ .app.user.id = `user-78` }"),
    ("one pod", "{ resource.k8s.pod.name = `cart-7b774997c5-0` && kind = server }"),
    ("absent value", "{ span.app.user.id = `nobody` }"),
    ("absent key", "{ span.no.such.key = `x` }"),
    ("slow spans", "{ duration > 49999us }"),
    ("regular expression and duration", "{ name =~ `.*resource-2.*` && duration > 49ms }"),
    ("unscoped number", "{ .http.response.status_code = 500 }"),
    ("negation", "{ resource.service.name != `frontend` && status = error }"),
    ("structural", "{ resource.service.name = `gateway` } >> { resource.service.name = `catalog` && status = error }"),
    ("both", "{ resource.service.name = `payment` } && { span.db.system = `postgresql` && duration > 49ms }"),
    ("exception", "{ event.exception.type = `RpcError` }"),
    ("count", "{ } | count() > 60"),
];
const AVERAGE: (&str, &str) =
    ("average by service", "{ kind = server } | by(resource.service.name) | avg(duration) > 49ms");

const METRICS: [(&str, &str); 8] = [
    ("rate", "{ } | rate()"),
    ("rate by service", "{ } | rate() by (resource.service.name)"),
    ("errors by service", "{ status = error } | rate() by (resource.service.name)"),
    (
        "quantiles by service",
        "{ kind = server } | quantile_over_time(duration, .5, .9, .99) by (resource.service.name)",
    ),
    ("histogram", "{ resource.service.name = `frontend` } | histogram_over_time(duration)"),
    ("mean of an attribute", "{ kind = server } | avg_over_time(span.http.response.status_code)"),
    ("top routes", "{ kind = server } | rate() by (span.http.route) | topk(5)"),
    ("compare", "{ kind = server } | compare({ status = error })"),
];

const VALUES: [(&str, &str, &str); 5] = [
    ("values of service.name", "resource.service.name", ""),
    ("values of http.route", "span.http.route", ""),
    ("values of name", "name", ""),
    ("values of app.user.id", "span.app.user.id", ""),
    ("values with a filter", "name", "{ resource.service.name = `cart` }"),
];

/// All of them, in the order in which they are asked.
pub fn questions(traffic: &Traffic) -> Vec<Question> {
    let end = traffic.end_nanos / 1_000_000_000 + 60;
    let range = (end - traffic.over.as_secs() - 120, end);
    let step = ((range.1 - range.0) / POINTS).max(1);
    let by_id = |name, ids: Vec<String>| Question {
        name,
        cost: Cost::Little,
        paths: ids.iter().map(|id| format!("/api/v2/traces/{id}")).collect(),
        parameters: Vec::new(),
        range: None,
    };
    let within = |name, cost, path: String, parameters| Question {
        name,
        cost,
        paths: vec![path],
        parameters,
        range: Some(range),
    };
    let search = |cost, (name, query): (_, &str)| {
        let parameters = vec![("q", query.to_owned()), ("limit", "20".to_owned())];
        within(name, cost, "/api/search".to_owned(), parameters)
    };
    let absent = (1..=5u128).map(|number| format!("{number:032x}")).collect();
    let mut all = vec![by_id("trace by id", traffic.trace_ids(TRACES)), by_id("trace by id, absent", absent)];
    all.extend(SEARCHES.map(|asked| search(Cost::Little, asked)));
    all.push(search(Cost::Scan, AVERAGE));
    all.extend(METRICS.map(|(name, query)| {
        let parameters = vec![("q", query.to_owned()), ("step", format!("{step}s"))];
        within(name, Cost::Scan, "/api/metrics/query_range".to_owned(), parameters)
    }));
    all.push(within("names of tags", Cost::Little, "/api/v2/search/tags".to_owned(), Vec::new()));
    all.extend(VALUES.map(|(name, tag, query)| {
        let (cost, parameters) =
            if query.is_empty() { (Cost::Little, Vec::new()) } else { (Cost::Scan, vec![("q", query.to_owned())]) };
        within(name, cost, format!("/api/v2/search/tag/{tag}/values"), parameters)
    }));
    all
}

/// How long a question takes: the first time, and in the middle of those after it.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub first: Duration,
    pub again: Duration,
}

impl Question {
    /// How often it is asked with so many rounds: one about a trace once for each of its traces.
    pub fn turns(&self, rounds: usize) -> usize {
        if self.paths.len() > 1 { self.paths.len() } else { rounds }
    }

    /// Asks it once more.
    pub async fn ask(&self, server: &Server, turn: usize) -> Result<Answer, reqwest::Error> {
        let mut parameters = Serializer::new(String::new());
        parameters.extend_pairs(&self.parameters);
        if let Some((start, end)) = self.range {
            parameters
                .extend_pairs([("start", start - turn as u64), ("end", end)].map(|(name, at)| (name, at.to_string())));
        }
        server.get(&format!("{}?{}", self.paths[turn % self.paths.len()], parameters.finish())).await
    }
}

impl Times {
    /// Of the times of one question, in the order in which it was asked.
    pub fn of(times: &[Duration]) -> Self {
        let mut after = times.get(1..).filter(|after| !after.is_empty()).unwrap_or(times).to_vec();
        after.sort_unstable();
        Self { first: times[0], again: after[after.len() / 2] }
    }
}

/// Milliseconds, for a table.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What follows a figure, or its bound, that does not hold.
pub fn missed(is_missed: bool) -> &'static str {
    if is_missed { " MISSED" } else { "" }
}
