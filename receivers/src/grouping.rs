//! Spans, each with its resource and scope → a request, in which those that share a resource and a scope stand together.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

/// A request that is being put together.
#[derive(Default)]
pub(crate) struct Grouping {
    resource_spans: Vec<ResourceSpans>,
    resources: HashMap<Vec<u8>, usize>,
    scopes: HashMap<(usize, ScopeName), usize>,
}

/// Name and version of an instrumentation scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct ScopeName {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A resource of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResourcePlace(usize);

impl Grouping {
    /// The place of a resource with these attributes.
    pub(crate) fn resource(&mut self, attributes: Vec<KeyValue>) -> ResourcePlace {
        let resource = Resource { attributes, ..Resource::default() };
        let place = *self.resources.entry(resource.encode_to_vec()).or_insert(self.resource_spans.len());
        if place == self.resource_spans.len() {
            self.resource_spans.push(ResourceSpans { resource: Some(resource), ..ResourceSpans::default() });
        }
        ResourcePlace(place)
    }

    pub(crate) fn add(&mut self, ResourcePlace(resource): ResourcePlace, scope: ScopeName, span: Span) {
        let scopes = &mut self.resource_spans[resource].scope_spans;
        let place = *self.scopes.entry((resource, scope.clone())).or_insert(scopes.len());
        if place == scopes.len() {
            let ScopeName { name, version } = scope;
            let scope = InstrumentationScope { name, version, ..InstrumentationScope::default() };
            scopes.push(ScopeSpans { scope: Some(scope), ..ScopeSpans::default() });
        }
        scopes[place].spans.push(span);
    }

    /// Resources without spans are left out.
    pub(crate) fn finish(mut self) -> ExportTraceServiceRequest {
        self.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
        ExportTraceServiceRequest { resource_spans: self.resource_spans }
    }
}
