//! Which tags there are, and which values a tag has: `/api/search/tags`, `/api/search/tag/{tag}/values`, and their v2.

use std::collections::BTreeSet;

use model::Scope;
use model::attribute::LISTED_INTRINSICS;
use percent_encoding::percent_decode_str;
use querier::answer::{QueryMetrics, TagNames, TagValueKind, TagValues};
use querier::request::{Tag, TagNamesRequest, TagScope, TagValuesRequest};

use super::params::range::Bounds;
use super::params::{Params, check_length, range};
use super::proto::{
    MetadataMetrics, SearchTagValuesResponse, SearchTagValuesV2Response, SearchTagsResponse, SearchTagsV2Response,
    SearchTagsV2Scope, TagValue,
};
use super::reply::{QueryError, Reply};
use super::search::saturated;
use super::{Asker, Call};
use crate::QueryConfig;

const INTRINSIC: &str = "intrinsic";

/// An answer, and whose live spans are missing in it.
type Told<M> = (M, Option<String>);

pub(super) async fn names_v1(call: Call) -> Result<Reply, QueryError> {
    let (names, lack) = NamesAsked::of_url(&call.params)?.v1(call.asker()).await?;
    Ok(Reply::of(&names, call.format).with_lack(lack))
}

pub(super) async fn names_v2(call: Call) -> Result<Reply, QueryError> {
    let (names, lack) = NamesAsked::of_url(&call.params)?.v2(call.asker()).await?;
    Ok(Reply::of(&names, call.format).with_lack(lack))
}

pub(super) async fn values_v1(call: Call) -> Result<Reply, QueryError> {
    let (values, lack) = ValuesAsked::of_url(call.uri.path(), &call.params)?.v1(call.asker()).await?;
    Ok(Reply::of(&values, call.format).with_lack(lack))
}

pub(super) async fn values_v2(call: Call) -> Result<Reply, QueryError> {
    let (values, lack) = ValuesAsked::of_url(call.uri.path(), &call.params)?.v2(call.asker()).await?;
    Ok(Reply::with_llm(&values, call.format).with_lack(lack))
}

/// A question for names, as a client words it.
#[derive(Debug, Default)]
pub(super) struct NamesAsked {
    /// Empty for all.
    pub(super) scope: String,
    pub(super) query: Option<String>,
    pub(super) bounds: Bounds,
    /// 0 for all.
    pub(super) limit: u32,
}

impl NamesAsked {
    fn of_url(params: &Params) -> Result<Self, QueryError> {
        Ok(Self {
            scope: params.get("scope").unwrap_or_default().to_owned(),
            query: params.get("q").map(str::to_owned),
            bounds: Bounds::of_tags(params)?,
            limit: params.uint32_or_zero("limit"),
        })
    }

    /// Names of all scopes in one list; intrinsics only when they alone are asked for. A query is ignored.
    pub(super) async fn v1(self, asker: Asker<'_>) -> Result<Told<SearchTagsResponse>, QueryError> {
        let scope = scope(&self.scope)?;
        let names = Self { query: None, ..self }.find(scope, asker).await?;
        let mut listed: BTreeSet<String> = names.scopes.into_values().flatten().collect();
        if scope == TagScope::Intrinsic {
            listed.extend(LISTED_INTRINSICS.map(str::to_owned));
        }
        let metrics = metrics(&names.metrics);
        Ok((SearchTagsResponse { tag_names: listed.into_iter().collect(), metrics }, names.lack))
    }

    /// Names by scope.
    pub(super) async fn v2(self, asker: Asker<'_>) -> Result<Told<SearchTagsV2Response>, QueryError> {
        let scope = scope(&self.scope)?;
        let mut names = self.find(scope, asker).await?;
        let (metrics, lack) = (metrics(&names.metrics), names.lack.take());
        Ok((SearchTagsV2Response { scopes: listed_scopes(names), metrics }, lack))
    }

    async fn find(self, scope: TagScope, asker: Asker<'_>) -> Result<TagNames, QueryError> {
        let config = &asker.edge.query_config(asker.tenants);
        let query = checked_query(self.query, config)?;
        let range = range::of_tags(self.bounds, config, asker.now_nanos)?;
        let request = TagNamesRequest { scope, range, query, limit: limit(self.limit) };
        Ok(asker.edge.querier.tag_names(asker.tenants, request).await?)
    }
}

fn scope(name: &str) -> Result<TagScope, QueryError> {
    match name {
        "" | "none" => Ok(TagScope::All),
        INTRINSIC => Ok(TagScope::Intrinsic),
        name => Scope::from_name(name)
            .map(TagScope::One)
            .ok_or_else(|| QueryError::bad_request(format!("invalid scope: {name}"))),
    }
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

/// The older name of `trace:duration`: as in Tempo, only the newer one has values.
const OLD_TRACE_DURATION: &str = "traceDuration";

/// A question for values, as a client words it.
#[derive(Debug, Default)]
pub(super) struct ValuesAsked {
    pub(super) tag: String,
    pub(super) query: Option<String>,
    pub(super) bounds: Bounds,
    /// 0 for all.
    pub(super) limit: u32,
    /// Blocks without news after which no more are asked; 0 for all blocks.
    pub(super) max_stale: u32,
}

impl ValuesAsked {
    fn of_url(path: &str, params: &Params) -> Result<Self, QueryError> {
        Ok(Self {
            tag: tag_name(path)?,
            query: params.get("q").map(str::to_owned),
            bounds: Bounds::of_tags(params)?,
            limit: params.uint32("limit")?.unwrap_or(0),
            max_stale: params.uint32("maxStaleValues")?.unwrap_or(0),
        })
    }

    /// Texts, sorted; the name is bare, and a query is ignored.
    pub(super) async fn v1(self, asker: Asker<'_>) -> Result<Told<SearchTagValuesResponse>, QueryError> {
        let tag = Tag::Bare(self.tag.clone());
        let values = Self { query: None, ..self }.find(tag, asker).await?;
        let texts: BTreeSet<String> = values.values.into_iter().map(|value| value.text).collect();
        let metrics = metrics(&values.metrics);
        Ok((SearchTagValuesResponse { tag_values: texts.into_iter().collect(), metrics }, values.lack))
    }

    /// Typed values of a TraceQL field.
    pub(super) async fn v2(self, asker: Asker<'_>) -> Result<Told<SearchTagValuesV2Response>, QueryError> {
        if self.tag == OLD_TRACE_DURATION {
            return Ok((SearchTagValuesV2Response::default(), None));
        }
        if self.tag.is_empty() {
            return Err(no_tag_name());
        }
        let field = traceql::parse_field(&self.tag)
            .map_err(|error| QueryError::bad_request(format!("please provide a valid tagName: {error}")))?;
        let values = self.find(Tag::Field(field), asker).await?;
        let typed =
            |value: querier::answer::TagValue| TagValue { kind: kind_name(value.kind).to_owned(), value: value.text };
        let tag_values = values.values.into_iter().map(typed).collect();
        Ok((SearchTagValuesV2Response { tag_values, metrics: metrics(&values.metrics) }, values.lack))
    }

    async fn find(self, tag: Tag, asker: Asker<'_>) -> Result<TagValues, QueryError> {
        if self.tag.is_empty() {
            return Err(no_tag_name());
        }
        let config = &asker.edge.query_config(asker.tenants);
        let query = checked_query(self.query, config)?;
        let range = range::of_tags(self.bounds, config, asker.now_nanos)?;
        let max_stale_sources = limit(self.max_stale);
        let request = TagValuesRequest { tag, range, query, limit: limit(self.limit), max_stale_sources };
        Ok(asker.edge.querier.tag_values(asker.tenants, request).await?)
    }
}

/// Only a message can lack it: a path without a name is another path.
fn no_tag_name() -> QueryError {
    QueryError::bad_request("please provide a non-empty tagName")
}

fn checked_query(query: Option<String>, config: &QueryConfig) -> Result<Option<String>, QueryError> {
    query.as_deref().map_or(Ok(()), |text| check_length(text, config.max_query_bytes))?;
    Ok(query)
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

fn limit(asked: u32) -> Option<usize> {
    (asked > 0).then_some(asked as usize)
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
