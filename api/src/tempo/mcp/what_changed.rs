//! `what-changed`: rates, errors and durations of two times beside each other, by service and operation.

use std::collections::BTreeMap;

use model::TimeRange;
use serde_json::{Value, json};

use super::answer::Found;
use super::asking::{Asking, NAME, SECOND, SERVICE, filter, label, millis, ordered};

/// Operations that are told of, those first that changed most.
const OPERATIONS: usize = 20;
/// A time is so long unless it is said.
const LENGTH: u64 = 15 * 60 * SECOND;
/// Quantiles and ratios of fewer spans say little.
const LEAST_SPANS: f64 = 5.0;
/// Changes below this score are what traffic does by itself: a factor of about 1.5.
const LEAST_SCORE: f64 = 0.4;

/// What spans of an operation were like in one time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Figures {
    count: f64,
    errors: f64,
    p95_seconds: f64,
}

impl Figures {
    fn error_ratio(&self) -> f64 {
        if self.count > 0.0 { self.errors / self.count } else { 0.0 }
    }
}

type Operations = BTreeMap<(String, String), Figures>;

pub(super) async fn find(asking: &Asking) -> Result<Found, String> {
    let (base_range, range) = ranges(asking)?;
    let condition = asking.condition()?.unwrap_or_default();
    let (base, now) = futures::try_join!(figures(asking, &condition, base_range), figures(asking, &condition, range))?;
    // two times of different length have different counts of the same traffic
    let scale = length(range) / length(base_range);
    let mut changes = changes(&base, &now, scale);
    let quiet = base.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>().len() - changes.len();
    changes.truncate(OPERATIONS);
    let next = after(&changes);
    let changes: Vec<Value> = changes.iter().map(|change| change.document(length(base_range), length(range))).collect();
    let document = json!({
        "base": told(base_range), "compare": told(range), "changes": changes, "operationsWithoutChange": quiet,
    });
    Ok(Found::json("what-changed", "1", document.to_string()).next(next))
}

/// The time to compare with, and the time in question.
fn ranges(asking: &Asking) -> Result<(TimeRange, TimeRange), String> {
    let end = asking.time("end")?.unwrap_or(asking.now_nanos);
    let range = ordered(asking.time("start")?.unwrap_or(end.saturating_sub(LENGTH)), end)?;
    let base_end = asking.time("base_end")?.unwrap_or(range.start_nanos);
    let base_start = asking.time("base_start")?.unwrap_or(base_end.saturating_sub(range.end_nanos - range.start_nanos));
    let base = ordered(base_start, base_end).map_err(|_| "base_start must be before base_end".to_owned())?;
    Ok((base, range))
}

fn length(range: TimeRange) -> f64 {
    (range.end_nanos - range.start_nanos) as f64 / SECOND as f64
}

fn told(range: TimeRange) -> Value {
    let time = |nanos: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos);
        humantime::format_rfc3339_seconds(time).to_string()
    };
    json!({ "start": time(range.start_nanos), "end": time(range.end_nanos) })
}

async fn figures(asking: &Asking, condition: &str, range: TimeRange) -> Result<Operations, String> {
    let by = format!("by ({SERVICE}, {NAME})");
    let counts = format!("{} | count_over_time() {by}", filter(&[condition]));
    let errors = format!("{} | count_over_time() {by}", filter(&["status = error", condition]));
    let durations = format!("{} | quantile_over_time(duration, .95) {by}", filter(&[condition]));
    let (counts, errors, durations) = futures::try_join!(
        asking.instant(&counts, range),
        asking.instant(&errors, range),
        asking.instant(&durations, range)
    )?;
    let mut operations = Operations::new();
    let mut each = |series: Vec<crate::tempo::proto::InstantSeries>, set: fn(&mut Figures, f64)| {
        for series in series {
            let operation = (label(&series.labels, SERVICE), label(&series.labels, NAME));
            set(operations.entry(operation).or_default(), series.value);
        }
    };
    each(counts, |figures, value| figures.count = value);
    each(errors, |figures, value| figures.errors = value);
    each(durations, |figures, value| figures.p95_seconds = value);
    Ok(operations)
}

/// How one operation changed.
#[derive(Debug)]
struct Change {
    service: String,
    operation: String,
    base: Figures,
    now: Figures,
    what: Vec<&'static str>,
    score: f64,
}

fn changes(base: &Operations, now: &Operations, scale: f64) -> Vec<Change> {
    let names: std::collections::BTreeSet<_> = base.keys().chain(now.keys()).collect();
    let of = |operations: &Operations, name| operations.get(name).copied().unwrap_or_default();
    let changes = names.into_iter().map(|name| Change::of(name, of(base, name), of(now, name), scale));
    let mut changes: Vec<Change> = changes.filter(|change| !change.what.is_empty()).collect();
    let traffic = |change: &Change| change.base.count + change.now.count;
    changes
        .sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| traffic(other).total_cmp(&traffic(one))));
    changes
}

impl Change {
    fn of((service, operation): &(String, String), base: Figures, now: Figures, scale: f64) -> Self {
        let expected = base.count * scale;
        let (mut what, mut score) = (Vec::new(), 0.0_f64);
        let mut changed = |amount: f64, more: &'static str, less: &'static str| {
            if amount.abs() >= LEAST_SCORE {
                what.push(if amount > 0.0 { more } else { less });
                score = score.max(amount.abs());
            }
        };
        match (base.count, now.count) {
            (0.0, count) if count >= LEAST_SPANS => changed(2.0, "new", ""),
            (count, 0.0) if count * scale >= LEAST_SPANS => changed(-2.0, "", "gone"),
            (before, after) if before >= LEAST_SPANS && after >= LEAST_SPANS => {
                changed((now.error_ratio() - base.error_ratio()) * 5.0, "fails more", "fails less");
                changed((now.p95_seconds / base.p95_seconds).ln(), "slower", "faster");
                changed((now.count / expected).ln() / 2.0, "asked for more", "asked for less");
            }
            _ => {}
        }
        Self { service: service.clone(), operation: operation.clone(), base, now, what, score }
    }

    fn document(&self, base_seconds: f64, seconds: f64) -> Value {
        let figures = |figures: &Figures, seconds: f64| {
            json!({
                "perSecond": (figures.count / seconds * 1e4).round() / 1e4,
                "errorPercent": (figures.error_ratio() * 1e3).round() / 10.0,
                "p95Ms": millis(figures.p95_seconds * 1e9),
            })
        };
        json!({
            "service": self.service, "operation": self.operation, "what": self.what,
            "base": figures(&self.base, base_seconds), "compare": figures(&self.now, seconds),
        })
    }
}

fn after(changes: &[Change]) -> Vec<String> {
    let Some(first) = changes.first() else {
        return vec![
            "Nothing changed by more than traffic does by itself; longer times show smaller changes".to_owned(),
        ];
    };
    let service = super::asking::quoted(&first.service);
    let mut next =
        vec![format!("slowest-paths with query {{ {SERVICE} = {service} }} shows what its requests wait for")];
    if changes.iter().any(|change| change.what.contains(&"fails more")) {
        next.push("error-examples shows the errors".to_owned());
    }
    next.push(format!(
        "get-attribute-values of resource.service.version with filter-query {{ {SERVICE} = {service} }}: a new release?"
    ));
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operations(list: &[(&str, f64, f64, f64)]) -> Operations {
        let figures = |&(name, count, errors, p95_seconds): &(&str, f64, f64, f64)| {
            (("shop".to_owned(), name.to_owned()), Figures { count, errors, p95_seconds })
        };
        list.iter().map(figures).collect()
    }

    #[test]
    fn what_changed_most_comes_first_and_noise_is_left_out() {
        let base = operations(&[
            ("same", 100.0, 1.0, 0.10),
            ("slow", 100.0, 0.0, 0.10),
            ("broken", 100.0, 0.0, 0.10),
            ("gone", 100.0, 0.0, 0.10),
            ("rare", 2.0, 0.0, 0.10),
        ]);
        let now = operations(&[
            ("same", 55.0, 0.0, 0.12),
            ("slow", 50.0, 0.0, 0.40),
            ("broken", 50.0, 40.0, 0.10),
            ("new", 50.0, 0.0, 0.10),
            ("rare", 1.0, 1.0, 9.0),
        ]);
        let changes = changes(&base, &now, 0.5);
        let told: Vec<_> = changes.iter().map(|change| (change.operation.as_str(), change.what.as_slice())).collect();
        let expected: [(&str, &[&str]); 4] =
            [("broken", &["fails more"]), ("gone", &["gone"]), ("new", &["new"]), ("slow", &["slower"])];
        assert_eq!(told, expected);
        let document = changes[0].document(100.0, 50.0);
        assert_eq!(document["compare"], json!({"perSecond": 1.0, "errorPercent": 80.0, "p95Ms": 100.0}));
    }
}
