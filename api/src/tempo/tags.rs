//! Which tags there are, and which values a tag has: `/api/search/tags`, `/api/search/tag/{tag}/values`, and their v2.

use std::collections::BTreeSet;

use model::Scope;
use model::attribute::LISTED_INTRINSICS;
use percent_encoding::percent_decode_str;
use querier::answer::{QueryMetrics, TagNames, TagValueKind, TagValues};
use querier::request::{Tag, TagNamesRequest, TagScope, TagValuesRequest};

use super::Call;
use super::json::{Json, ToJson};
use super::params::range;
use super::proto::{
    MetadataMetrics, SearchTagValuesResponse, SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response,
    SearchTagsV2Scope, TagValue,
};
use super::reply::{Format, QueryError, Reply};
use super::search::saturated;

const INTRINSIC: &str = "intrinsic";

/// Names of all scopes in one list; intrinsics only when they alone are asked for.
pub(super) async fn names_v1(call: Call) -> Result<Reply, QueryError> {
    let scope = scope(&call)?;
    let names = names(&call, scope, None).await?;
    let mut listed: BTreeSet<String> = names.scopes.into_values().flatten().collect();
    if scope == TagScope::Intrinsic {
        listed.extend(LISTED_INTRINSICS.map(str::to_owned));
    }
    let tag_names = listed.into_iter().collect();
    Ok(reply(&call, SearchTagsResponse { tag_names, metrics: metrics(&names.metrics) }))
}

/// Names by scope. A scope that was asked for is there even if it is empty.
pub(super) async fn names_v2(call: Call) -> Result<Reply, QueryError> {
    let scope = scope(&call)?;
    let query = call.params.query(call.edge.config.query.max_query_bytes)?.map(str::to_owned);
    let mut names = names(&call, scope, query).await?;
    if let TagScope::One(asked) = scope {
        names.scopes.entry(asked).or_default();
    }
    let metrics = metrics(&names.metrics);
    Ok(reply(&call, SearchTagsV2Response { scopes: listed_scopes(names), metrics }))
}

fn listed_scopes(names: TagNames) -> Vec<SearchTagsV2Scope> {
    let attributes = names
        .scopes
        .into_iter()
        .map(|(scope, tags)| SearchTagsV2Scope { name: scope.name().to_owned(), tags: tags.into_iter().collect() });
    let intrinsics = names
        .intrinsics
        .then(|| SearchTagsV2Scope { name: INTRINSIC.to_owned(), tags: LISTED_INTRINSICS.map(str::to_owned).into() });
    attributes.chain(intrinsics).collect()
}

async fn names(call: &Call, scope: TagScope, query: Option<String>) -> Result<TagNames, QueryError> {
    let range = range::of_tags(&call.params, &call.edge.config.query, call.now_nanos)?;
    let request = TagNamesRequest { scope, range, query, limit: limit(call)? };
    Ok(call.edge.querier.tag_names(&call.tenant, request).await?)
}

fn scope(call: &Call) -> Result<TagScope, QueryError> {
    match call.params.get("scope") {
        None | Some("none") => Ok(TagScope::All),
        Some(INTRINSIC) => Ok(TagScope::Intrinsic),
        Some(name) => Scope::from_name(name)
            .map(TagScope::One)
            .ok_or_else(|| QueryError::bad_request(format!("invalid scope: {name}"))),
    }
}

/// Texts, sorted; the name is bare, and a query is ignored.
pub(super) async fn values_v1(call: Call) -> Result<Reply, QueryError> {
    let name = tag_name(call.uri.path())?;
    let values = values(&call, Tag::Bare(name), None).await?;
    let texts: BTreeSet<String> = values.values.into_iter().map(|value| value.text).collect();
    let tag_values = texts.into_iter().collect();
    Ok(reply(&call, SearchTagValuesResponse { tag_values, metrics: metrics(&values.metrics) }))
}

/// Typed values of a TraceQL field.
pub(super) async fn values_v2(call: Call) -> Result<Reply, QueryError> {
    let name = tag_name(call.uri.path())?;
    let field = traceql::parse_field(&name)
        .map_err(|error| QueryError::bad_request(format!("please provide a valid tagName: {error}")))?;
    let query = call.params.query(call.edge.config.query.max_query_bytes)?.map(str::to_owned);
    let values = values(&call, Tag::Field(field), query).await?;
    let typed =
        |value: querier::answer::TagValue| TagValue { kind: kind_name(value.kind).to_owned(), value: value.text };
    let tag_values = values.values.into_iter().map(typed).collect();
    Ok(reply(&call, SearchTagValuesV2Response { tag_values, metrics: metrics(&values.metrics) }))
}

async fn values(call: &Call, tag: Tag, query: Option<String>) -> Result<TagValues, QueryError> {
    let range = range::of_tags(&call.params, &call.edge.config.query, call.now_nanos)?;
    let request = TagValuesRequest { tag, range, query, limit: limit(call)? };
    Ok(call.edge.querier.tag_values(&call.tenant, request).await?)
}

fn kind_name(kind: TagValueKind) -> &'static str {
    match kind {
        TagValueKind::String => "string",
        TagValueKind::Int => "int",
        TagValueKind::Float => "float",
        TagValueKind::Bool => "bool",
        TagValueKind::Keyword => "keyword",
    }
}

/// 0 asks for all.
fn limit(call: &Call) -> Result<Option<usize>, QueryError> {
    Ok(call.params.uint32("limit")?.filter(|limit| *limit > 0).map(|limit| limit as usize))
}

/// What stands between `/search/tag/` and `/values`: slashes may be in it, encoded or not.
fn tag_name(path: &str) -> Result<String, QueryError> {
    let encoded = path.split_once("/search/tag/").and_then(|(_, rest)| rest.strip_suffix("/values"));
    let encoded = encoded.filter(|name| !name.is_empty()).ok_or_else(QueryError::unknown_path)?;
    Ok(percent_decode_str(encoded).decode_utf8_lossy().into_owned())
}

fn metrics(metrics: &QueryMetrics) -> MetadataMetrics {
    MetadataMetrics {
        inspected_bytes: metrics.inspected_bytes,
        total_jobs: saturated(metrics.total_jobs),
        completed_jobs: saturated(metrics.completed_jobs),
        total_blocks: saturated(metrics.total_blocks),
        total_block_bytes: metrics.total_block_bytes,
    }
}

fn reply(call: &Call, response: impl ToJson + prost::Message) -> Reply {
    match call.format {
        Format::Json => Reply::json(Json::of(&response)),
        Format::Protobuf => Reply::protobuf(&response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_names_may_hold_anything() {
        for (path, name) in [
            ("/api/search/tag/key/slash/values", "key/slash"),
            ("/api/v2/search/tag/span.key%2Fslash/values", "span.key/slash"),
            ("/tempo/api/v2/search/tag/span.%22foo%20bar%22/values", "span.\"foo bar\""),
            ("/api/v2/search/tag/span.http:%2F%2Furl/values", "span.http://url"),
            ("/api/search/tag/%D0%BA/values", "к"),
            ("/api/search/tag/values/values", "values"),
        ] {
            assert_eq!(tag_name(path), Ok(name.to_owned()), "{path}");
        }
        for path in ["/api/search/tag/fruit", "/api/search/tag//values", "/api/search/tag/values"] {
            assert_eq!(tag_name(path), Err(QueryError::unknown_path()), "{path}");
        }
    }
}
