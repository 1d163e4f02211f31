//! A store that counts and times its requests, and changes nothing else.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use tracing::{Instrument, Span, info_span};

use crate::telemetry::{RequestTimer, Telemetry};

#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    telemetry: Telemetry,
}

impl<T: ObjectStore> Counted<T> {
    pub(super) fn new(inner: T, telemetry: Telemetry) -> Self {
        Self { inner, telemetry }
    }

    async fn count<A>(&self, operation: &'static str, request: impl Future<Output = Result<A>>) -> Result<A> {
        count(&self.telemetry, operation, request).await
    }

    fn count_stream<A: 'static>(
        &self,
        operation: &'static str,
        items: BoxStream<'static, Result<A>>,
    ) -> BoxStream<'static, Result<A>> {
        let mut timer = self.telemetry.request(operation);
        timer.set_outcome(&Ok(()));
        until_end(timer, items)
    }
}

/// The time of a stream is until its end, and its outcome that of its last item.
fn until_end<A: 'static>(
    mut timer: RequestTimer,
    items: BoxStream<'static, Result<A>>,
) -> BoxStream<'static, Result<A>> {
    items.inspect(move |item| timer.set_outcome(item)).boxed()
}

async fn count<T>(
    telemetry: &Telemetry,
    operation: &'static str,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut timer = telemetry.request(operation);
    let result = request.instrument(span(operation)).await;
    timer.set_outcome(&result);
    result
}

/// Of a request for a query, a flush or a merge; looking after the store by itself makes no traces.
fn span(operation: &'static str) -> Span {
    if Span::current().is_disabled() {
        return Span::none();
    }
    info_span!("object store", otel.kind = "client", operation)
}

impl<T: fmt::Display> fmt::Display for Counted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ObjectStore> ObjectStore for Counted<T> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.count("PUT", self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.count("POST", self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(CountedUpload { inner, telemetry: self.telemetry.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let mut timer = self.telemetry.request(if is_head { "HEAD" } else { "GET" });
        let result = self.inner.get_opts(location, options).await;
        timer.set_outcome(&result);
        if let Ok(given) = &result
            && !is_head
        {
            self.telemetry.read_bytes(given.range.end - given.range.start);
        }
        Ok(match result? {
            GetResult { payload: GetResultPayload::Stream(body), meta, range, attributes, extensions } => {
                let payload = GetResultPayload::Stream(until_end(timer, body));
                GetResult { payload, meta, range, attributes, extensions }
            }
            file => file,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = self.count("GET", self.inner.get_ranges(location, ranges)).await?;
        self.telemetry.read_bytes(read.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(read)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.count_stream("DELETE", self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_stream("LIST", self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_stream("LIST", self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.count("LIST", self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count("COPY", self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.count("COPY", self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    telemetry: Telemetry,
}

#[async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (telemetry, part) = (self.telemetry.clone(), self.inner.put_part(data));
        Box::pin(async move { count(&telemetry, "PUT", part).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        count(&self.telemetry, "POST", self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        count(&self.telemetry, "DELETE", self.inner.abort()).await
    }
}
