//! The read path of `/api/traces/{id}`: find the parts, read them whole, put them together, choose (`subset`), encode, put similar
//! spans together (`pruning`).

mod fit;
mod pruning;
mod subset;

use std::sync::Arc;

use futures::FutureExt;
use model::{ErrorKind, TimeRange, TraceId};
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use spans::SpanTable;
use storage::CpuPool;
use storage::source::{Projection, Source};

use self::fit::fit;
use self::subset::Chooser;
use crate::answer::{Pruned, TraceAnswer, TracePartial};
use crate::engine::budget::{Budget, Held};
use crate::engine::concurrent::try_all;
use crate::engine::merge::{part_shared_ids, sort_by_start};
use crate::engine::scan::OpenSource;
use crate::engine::{Engine, parts, plan, table_bytes};
use crate::error::Error;
use crate::request::{SpanPruning, SpanSubset};

/// All spans of a trace or those of a subset; of more than fit into an answer, the first. A source that cannot be read makes the answer partial, if
/// others can.
///
/// # Errors
/// The first error, when no source could be read.
pub(crate) async fn trace_by_id(
    engine: &Engine,
    budget: Arc<Budget>,
    sources: Vec<Arc<dyn Source>>,
    id: TraceId,
    range: Option<TimeRange>,
    subset: Option<&SpanSubset>,
    pruning: Option<SpanPruning>,
) -> Result<TraceAnswer, Error> {
    let chooser = subset.map(Chooser::compile).transpose()?;
    let range = range.unwrap_or(TimeRange::ALL);
    // in the order of arrival, so that of the copies of a span the first one stays
    let mut sources = plan::by_arrival(sources);
    sources.retain(|source| source.time_range().overlaps(&range));
    budget.plan(plan::metrics(&sources, &range));
    let (budget, cpu) = (&budget, &engine.cpu);
    let read = |source: Arc<dyn Source>| {
        async move { Ok((source.block_id(), read_part(budget, cpu, source, id).await)) }.boxed()
    };
    let parts = try_all(engine.config.max_concurrent_reads, sources.into_iter().map(read).collect()).await?;

    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for (block_id, part) in parts {
        match part {
            Ok(part) => {
                budget.count_source();
                found.extend(part);
            }
            Err(error) if may_be_left_out(&error) => {
                budget.leave_out(block_id, &error);
                failures.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    let mut partial = match failures.len() {
        0 => None,
        count if budget.spent().completed_jobs > 0 => Some(TracePartial::UnreadableBlocks(count)),
        _ => return Err(failures.swap_remove(0)),
    };
    budget.count_traces(usize::from(!found.is_empty()));
    let (tables, _held): (Vec<SpanTable>, Vec<Held>) = found.into_iter().unzip();
    let (effort, encode) = (parts::effort_of(&tables), move || encode(&tables, chooser.as_ref()));
    let (mut resource_spans, is_filtered) = cpu.run_sized(effort, &budget.cpu_time, encode).await??;
    let max_bytes = engine.config.max_bytes_per_trace;
    if fit(&mut resource_spans, max_bytes) {
        partial = Some(TracePartial::TooLarge { max_bytes });
    }
    let mut pruned = Pruned::No;
    if let Some(pruning) = pruning {
        (resource_spans, pruned) = cpu
            .run(move || {
                let pruned = pruning::prune(&mut resource_spans, &pruning);
                (resource_spans, pruned)
            })
            .await?;
    }
    Ok(TraceAnswer { resource_spans, metrics: budget.spent(), partial, is_filtered, pruned, lack: None })
}

fn may_be_left_out(error: &Error) -> bool {
    !matches!(error, Error::MustBeginAgain(_))
        && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable | ErrorKind::NotFound)
}

/// The spans of the trace in one source.
async fn read_part(
    budget: &Arc<Budget>,
    cpu: &CpuPool,
    source: Arc<dyn Source>,
    id: TraceId,
) -> Result<Option<(SpanTable, Held)>, Error> {
    let Some(at) = source.find_trace(&id).await? else { return Ok(None) };
    let _turn = budget.turn().await?;
    let group = OpenSource::open(source).await?.group(at.group).await?;
    let (fetched, counting) = (parts::fetch_whole(&group, &[at.trace], &Projection::all()).await?, budget.clone());
    let (effort, decode) = (fetched.effort(), move || parts::decode_whole(fetched, &[at.trace], &counting));
    let table = cpu.run_sized(effort, &budget.cpu_time, decode).await??;
    let held = budget.hold(table_bytes::memory_bytes(&table))?;
    Ok(Some((table, held)))
}

/// The spans of all parts, each once; and whether some were not chosen.
fn encode(parts: &[SpanTable], chooser: Option<&Chooser>) -> Result<(Vec<ResourceSpans>, bool), Error> {
    let joined;
    let table = match parts {
        [] => return Ok((Vec::new(), false)),
        [whole] => whole,
        parts => {
            joined = parts::merge_parts(parts)?;
            &joined
        }
    };
    let mut encoded = spans::encode_with_rows(table)?;
    // ids are parted while the whole trace is there, so that a span has the same id whatever is left out
    part_shared_ids(&mut encoded.resource_spans);
    let is_filtered = chooser.map(|chooser| chooser.retain(table, &mut encoded)).transpose()?.unwrap_or(false);
    sort_by_start(&mut encoded.resource_spans);
    Ok((encoded.resource_spans, is_filtered))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{ErrorKind, TenantId};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use storage::source::Source;

    use super::*;
    use crate::config::Config;
    use crate::testing::{Damaged, attributes, int, querier, querier_with, service, source, span, trace_id};

    async fn ask(sources: Vec<Arc<dyn Source>>, id: u8) -> Result<TraceAnswer, Error> {
        querier(sources).trace_by_id(TenantId::single(), trace_id(id), None).await
    }

    fn names(answer: &TraceAnswer) -> Vec<&str> {
        let scopes = answer.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.as_str()).collect()
    }

    fn sources() -> Vec<Arc<dyn Source>> {
        let copy = Span { attributes: attributes(&[("n", int(1))]), ..span(1, 1, 0, "root", 0, 10) };
        vec![
            source(vec![service("a", vec![copy.clone(), span(2, 1, 0, "another trace", 0, 1)])]),
            source(vec![
                service("a", vec![span(1, 3, 1, "last", 5, 1), copy]),
                service("b", vec![span(1, 2, 1, "second", 3, 1)]),
            ]),
        ]
    }

    #[tokio::test]
    async fn parts_are_merged_in_order_of_start() {
        let answer = ask(sources(), 1).await.unwrap();
        assert_eq!(names(&answer), ["root", "last", "second"], "by resource");
        assert_eq!(answer.partial, None);
        assert_eq!(names(&ask(sources(), 9).await.unwrap()), [""; 0]);
    }

    #[tokio::test]
    async fn a_trace_that_is_too_large_is_cut_after_its_first_spans() {
        let config = Config { max_bytes_per_trace: 150, ..Config::default() };
        let answer = querier_with(config, sources()).trace_by_id(TenantId::single(), trace_id(1), None).await.unwrap();
        assert_eq!(names(&answer), ["root"]);
        let partial = answer.partial.unwrap().to_string();
        assert_eq!(partial, "Trace exceeds maximum size of 150 bytes, a partial trace is returned");
    }

    #[tokio::test]
    async fn a_damaged_source_makes_the_answer_partial() {
        let mut sources = sources();
        sources.push(Arc::new(Damaged));
        let answer = ask(sources, 1).await.unwrap();
        assert_eq!(names(&answer).len(), 3);
        assert_eq!(answer.partial, Some(TracePartial::UnreadableBlocks(1)));
        assert_eq!(ask(vec![Arc::new(Damaged)], 1).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
