//! The cases of `cases/*.yaml` and the recorded answers of `golden/*.json`, read and checked, with nothing sent yet.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json::Object;

/// Areas that run last, so that nothing they send is there for the others.
const LAST: [&str; 2] = ["misc", "ingest"];

/// One request and how its answer is compared. README.md says what each field means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: String,
    pub area: String,
    #[serde(default)]
    pub compare: Comparator,
    // the request
    pub path: Option<String>,
    pub raw_path: Option<String>,
    pub tag: Option<String>,
    pub method: Option<String>,
    pub q: Option<String>,
    #[serde(default)]
    pub params: Object,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub send: Option<Upload>,
    pub grpc: Option<String>,
    #[serde(default)]
    pub message: Object,
    // the answer
    #[serde(default = "ok")]
    pub ok: i64,
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    #[serde(default)]
    pub any_type: bool,
    #[serde(default)]
    pub exemplars: bool,
    pub tolerance: Option<f64>,
    #[serde(default)]
    pub optional: Vec<String>,
    #[serde(default)]
    pub ignore: Vec<String>,
    pub top: Option<usize>,
    #[serde(default)]
    pub check_headers: Vec<String>,
    #[serde(default)]
    pub accept_also: Vec<Alternative>,
    pub reference: Option<Reference>,
    /// For recording only: the spans per span set to ask for.
    pub record_spss: Option<u64>,
    // for people
    #[serde(default)]
    pub reference_bug: bool,
    pub note: Option<String>,
    /// Of a limited search: how many traces, and spans of each span set, the answer must hold.
    #[serde(skip)]
    pub limit: usize,
    #[serde(skip)]
    pub spss: usize,
}

impl Case {
    /// Whether the case sends OTLP over gRPC.
    pub fn needs_otlp_grpc(&self) -> bool {
        self.send.as_ref().is_some_and(|upload| upload.form == Form::Grpc)
    }
}

fn ok() -> i64 {
    200
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparator {
    #[default]
    Json,
    Text,
    Error,
    Status,
    Header,
    Buildinfo,
    Ingest,
    Search,
    SearchSome,
    SearchIds,
    Trace,
    TraceV2,
    Metrics,
    Instant,
    Comparison,
    TagsV1,
    TagsV2,
    TagValuesV1,
    TagValuesV2,
}

/// Another right answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alternative {
    pub same_as: Option<String>,
    pub status: Option<i64>,
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    pub spans: Option<BTreeMap<String, Vec<String>>>,
    pub traces: Option<Vec<String>>,
    pub body: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The reference answers differently each time, so there is no golden answer.
    Skip,
}

/// A request to the OTLP endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    pub probe: Option<u64>,
    pub trace_id: Option<String>,
    #[serde(default, rename = "as")]
    pub form: Form,
    pub text: Option<String>,
    pub base64: Option<String>,
    pub repeat: Option<Repeat>,
    #[serde(default)]
    pub headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub gzip: bool,
    pub method: Option<String>,
    pub path: Option<String>,
    pub stored: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    #[default]
    Proto,
    Json,
    Grpc,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    pub text: String,
    pub times: usize,
}

/// Recorded answers by case id, in canonical form.
pub type Golden = BTreeMap<String, Value>;

#[derive(Deserialize)]
struct CaseFile {
    area: String,
    #[serde(default)]
    defaults: Object,
    #[serde(default)]
    cases: Vec<Object>,
}

/// Where the folders `cases`, `golden` and `dataset` lie.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Every case, in the order in which they must run.
pub fn load_cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in files(&folder("cases"), "yaml")? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        cases.extend(parse_cases(&text).with_context(|| format!("read {}", path.display()))?);
    }
    let mut ids = BTreeSet::new();
    if let Some(twice) = cases.iter().find(|c| !ids.insert(&c.id)) {
        bail!("case id used twice: {}", twice.id);
    }
    cases.sort_by_key(|c| LAST.iter().position(|area| *area == c.area).map_or(0, |i| i + 1));
    Ok(cases)
}

/// The recorded answers of all areas.
pub fn load_golden() -> Result<Golden> {
    let mut golden = Golden::new();
    for path in files(&folder("golden"), "json")? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        golden.extend(serde_json::from_str::<Golden>(&text).with_context(|| format!("read {}", path.display()))?);
    }
    Ok(golden)
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    Ok(paths)
}

fn parse_cases(text: &str) -> Result<Vec<Case>> {
    let options = serde_saphyr::options! { strict_booleans: true }; // `y` and `on` are text
    let file: CaseFile = serde_saphyr::from_str_with_options(text, options)?;
    file.cases.into_iter().map(|own| finish(&file.area, &file.defaults, own)).collect()
}

/// Merges the defaults of the file in; `q` is a parameter, and `null` takes a default parameter away.
fn finish(area: &str, defaults: &Object, own: Object) -> Result<Case> {
    let mut params = Object::new();
    for source in [defaults.get("params"), own.get("params")] {
        params.extend(source.and_then(Value::as_object).cloned().unwrap_or_default());
    }
    params.retain(|_, value| !value.is_null());
    let mut fields = defaults.clone();
    fields.extend(own);
    fields.insert("area".into(), json!(area));
    fields.insert("params".into(), Value::Object(params));
    let what = fields.get("id").map(ToString::to_string).unwrap_or_default();
    let mut case: Case = serde_json::from_value(Value::Object(fields)).with_context(|| format!("case {what}"))?;
    if let Some(q) = &case.q {
        case.params.insert("q".into(), json!(q));
    }
    if case.compare == Comparator::SearchSome {
        case.limit = count(case.params.get("limit"), 20)?;
        case.spss = count(case.params.get("spss"), 3)?;
    }
    if case.compare == Comparator::Comparison && case.top.is_none() {
        bail!("case {what} needs `top`");
    }
    Ok(case)
}

/// A count given as a number or as text; absent, empty and zero stand for the default.
fn count(value: Option<&Value>, default: usize) -> Result<usize> {
    let count = match value {
        Some(Value::Number(n)) => n.to_string().parse()?,
        Some(Value::String(text)) if !text.is_empty() => text.parse()?,
        _ => 0,
    };
    Ok(if count == 0 { default } else { count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_an_answer_to_compare_with() {
        let (cases, golden) = (load_cases().unwrap(), load_golden().unwrap());
        assert_eq!(cases.len(), 950);
        for case in &cases {
            let judged = golden.contains_key(&case.id) || !case.accept_also.is_empty();
            assert!(judged, "{} has neither a golden answer nor alternatives", case.id);
        }
        let ids: BTreeSet<_> = cases.iter().map(|c| &c.id).collect();
        assert!(golden.keys().all(|id| ids.contains(id)));
        assert_eq!(cases.last().unwrap().area, "ingest");
    }

    #[test]
    fn defaults_are_merged_in() {
        let text = r#"
area: a
defaults: {path: /p, params: {start: "{base}", limit: 5}}
names: &names [x, y]
cases:
- {id: one, q: '{ a = "b" }', params: {start: null, spss: 2}, compare: search_some, optional: *names} # note
- {id: two, method: POST}
"#;
        let cases = parse_cases(text).unwrap();
        assert_eq!(Value::Object(cases[0].params.clone()), json!({"limit": 5, "spss": 2, "q": r#"{ a = "b" }"#}));
        assert_eq!((cases[0].limit, cases[0].spss, cases[0].optional.len()), (5, 2, 2));
        assert_eq!(Value::Object(cases[1].params.clone()), json!({"start": "{base}", "limit": 5}));
        assert!(parse_cases("area: a\ncases: [{id: x, colour: red}]").is_err());
    }
}
