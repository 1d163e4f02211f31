use std::sync::Arc;
use model::*;
use querier::answer::*;
use querier::request::*;
use querier::*;
use serde_json::{json, Value as J};
use prost::Message;
fn val(v: &Value) -> J { match v {
    Value::String(s) => json!({"stringValue": s}),
    Value::Int(i) => json!({"intValue": i.to_string()}),
    Value::Double(d) => if d.is_finite() { json!({"doubleValue": if d.fract()==0.0 && d.abs()<1e15 { json!(*d as i64) } else { json!(d) }}) } else { json!({"doubleValue": if *d>0.0 {"Infinity"} else {"-Infinity"}}) },
    Value::Bool(b) => json!({"boolValue": b}),
    Value::Array(a) => json!({"arrayValue": {"values": a.iter().map(val).collect::<Vec<_>>()}}),
}}
fn search_json(a: &SearchAnswer) -> J {
    let traces: Vec<J> = a.traces.iter().map(|t| {
        let mut o = json!({"traceID": t.trace_id.short_hex(), "startTimeUnixNano": t.start_nanos.to_string(), "rootServiceName": t.root_service.clone().unwrap_or("<root span not yet received>".into())});
        if let Some(n) = &t.root_name { if !n.is_empty() { o["rootTraceName"] = json!(n); } }
        if t.duration_nanos/1_000_000 > 0 { o["durationMs"] = json!(t.duration_nanos/1_000_000); }
        if !t.services.is_empty() { let mut m = serde_json::Map::new(); for (k,s) in &t.services { let mut e = json!({"spanCount": s.span_count}); if s.error_count>0 { e["errorCount"]=json!(s.error_count);} m.insert(k.clone(), e);} o["serviceStats"]=J::Object(m); }
        if !t.span_sets.is_empty() {
            let sets: Vec<J> = t.span_sets.iter().map(|s| {
                let spans: Vec<J> = s.spans.iter().map(|sp| {
                    let mut e = json!({"spanID": sp.span_id.to_string(), "startTimeUnixNano": sp.start_nanos.to_string()});
                    if sp.duration_nanos>0 { e["durationNanos"]=json!(sp.duration_nanos.to_string()); }
                    if let Some(n)=&sp.name { e["name"]=json!(n); }
                    if !sp.attributes.is_empty() { e["attributes"]=sp.attributes.iter().map(|(k,v)| json!({"key":k,"value":val(v)})).collect(); }
                    e }).collect();
                json!({"spans": spans, "matched": s.matched}) }).collect();
            o["spanSet"]=sets[0].clone(); o["spanSets"]=J::Array(sets);
        }
        o }).collect();
    json!({"traces": traces, "metrics": {}})
}
fn is_send<T: Send>(t: T) -> T { t }
#[tokio::main]
async fn main() {
    let split: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut files: Vec<_> = std::fs::read_dir("/tmp/qc/req").unwrap().map(|e| e.unwrap().path()).collect(); files.sort();
    let mut sources: Vec<Arc<dyn storage::source::Source>> = vec![];
    for chunk in files.chunks(split) {
        let mut b = spans::TableBuilder::default();
        for f in chunk { b.append(&std::fs::read(f).unwrap()).unwrap(); }
        sources.push(Arc::new(storage::memory::MemorySource::new(BlockId::generate(), b.snapshot().unwrap()).unwrap()));
    }
    eprintln!("{} sources", sources.len());
    let all = sources.clone();
    let s: Sources = Arc::new(move |_| { let all = all.clone(); Box::pin(async move { Ok(all) }) });
    let mut reg = prometheus_client::registry::Registry::default();
    let q = Querier::new(Config::default(), s, storage::CpuPool::new(2), &mut reg);
    let t = TenantId::single();
    let jobs: J = serde_json::from_slice(&std::fs::read("/tmp/qc/jobs.json").unwrap()).unwrap();
    let base = jobs["base"].as_u64().unwrap();
    let t0 = std::time::Instant::now();
    for j in jobs["jobs"].as_array().unwrap() {
        let p = |k: &str| j["p"][k].as_str().map(str::to_owned);
        let secs = |k: &str, d: u64| p(k).map_or(d*1_000_000_000, |v| if v.contains('T') { if k=="start" {1} else {2} } else { let n: u64 = v.parse().unwrap(); if v.len()>10 { n } else { n*1_000_000_000 } });
        let range = TimeRange::new(secs("start", base), secs("end", base+240));
        let area = j["area"].as_str().unwrap();
        let out: Result<J, Error> = match area {
            "trace_by_id" => {
                let path = j["path"].as_str().unwrap(); let id = TraceId::parse(path.rsplit('/').next().unwrap()).unwrap();
                is_send(q.trace_by_id(&t, id, None)).await.map(|a| { let m = opentelemetry_proto::tonic::trace::v1::TracesData { resource_spans: a.resource_spans }; json!({"hex": m.encode_to_vec().iter().map(|b| format!("{b:02x}")).collect::<String>()}) })
            }
            "search_legacy" | "search_params" | "traceql_filters" | "traceql_pipeline" => {
                let filter = match p("q").filter(|q| !q.is_empty()) { Some(q) => SearchFilter::TraceQl(q), None => {
                    let tags = p("tags").unwrap_or_default(); let mut v = vec![];
                    let mut rest = tags.as_str();
                    while !rest.trim().is_empty() { rest = rest.trim_start(); let kend = rest.find(['=',' ']).unwrap_or(rest.len()); let k = rest[..kend].to_owned(); rest = &rest[kend..];
                        let mut val = String::new(); if rest.starts_with('=') { rest=&rest[1..]; if rest.starts_with('"') { let e = rest[1..].find('"').unwrap(); val = rest[1..=e].into(); rest=&rest[e+2..]; } else { let e = rest.find(' ').unwrap_or(rest.len()); val = rest[..e].into(); rest=&rest[e..]; } }
                        v.push((k,val)); }
                    let dur = |k: &str| p(k).map(|v| std::time::Duration::from_nanos(traceql::parse_go_duration(&v).unwrap() as u64));
                    SearchFilter::Tags { tags: v, min_duration: dur("minDuration"), max_duration: dur("maxDuration") } } };
                let n = |k: &str, d: usize| p(k).filter(|v| !v.is_empty()).map_or(d, |v| v.parse().unwrap());
                let r = SearchRequest { filter, range, limit: n("limit", 20), spans_per_span_set: n("spss", 3) };
                is_send(q.search(&t, r)).await.map(|a| search_json(&a))
            }
            "tags_v1" | "tags_v2" => {
                let scope = match p("scope").as_deref() { None | Some("") | Some("none") => TagScope::All, Some("intrinsic") => TagScope::Intrinsic, Some(s) => TagScope::One(Scope::from_name(s).unwrap()) };
                let v1 = area == "tags_v1";
                is_send(q.tag_names(&t, TagNamesRequest { scope, range, query: p("q").filter(|_| !v1), limit: p("limit").map(|l| l.parse().unwrap()) })).await.map(|a| {
                    if v1 { let mut all: std::collections::BTreeSet<String> = a.scopes.values().flatten().cloned().collect(); if a.intrinsics && scope == TagScope::Intrinsic { all.extend(model::attribute::LISTED_INTRINSICS.iter().map(|s| s.to_string())); } json!({"tagNames": all, "metrics": {}}) }
                    else { let mut sc: Vec<J> = a.scopes.iter().map(|(s, n)| json!({"name": s.name(), "tags": n})).collect(); if a.intrinsics { sc.push(json!({"name":"intrinsic","tags": model::attribute::LISTED_INTRINSICS})); } json!({"scopes": sc, "metrics": {}}) } })
            }
            "tag_values_v1" | "tag_values_v2" => {
                let v1 = area == "tag_values_v1"; let tag = j["tag"].as_str().unwrap();
                let tag = if v1 { Tag::Bare(tag.into()) } else { match traceql::parse_field(tag) { Ok(f) => Tag::Field(f), Err(e) => { println!("{}", json!({"id": j["id"], "status": 400, "body": e.to_string()})); continue } } };
                is_send(q.tag_values(&t, TagValuesRequest { tag, range, query: p("q").filter(|_| !v1), limit: None })).await.map(|a| {
                    if v1 { let s: std::collections::BTreeSet<&String> = a.values.iter().map(|v| &v.text).collect(); json!({"tagValues": s, "metrics": {}}) }
                    else { json!({"tagValues": a.values.iter().map(|v| { let k = match v.kind { TagValueKind::String=>"string", TagValueKind::Int=>"int", TagValueKind::Float=>"float", TagValueKind::Bool=>"bool", TagValueKind::Keyword=>"keyword" }; if v.text.is_empty() { json!({"type":k}) } else { json!({"type":k,"value":v.text}) } }).collect::<Vec<_>>(), "metrics": {}}) } })
            }
            _ => continue,
        };
        match out { Ok(b) => println!("{}", json!({"id": j["id"], "status": 200, "body": b})), Err(e) => println!("{}", json!({"id": j["id"], "status": 400, "body": e.to_string()})) }
    }
    eprintln!("{:?}", t0.elapsed());
}
