//! An object store of which any call can fail.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::faults::{Call, Fault, Faults, Power};

/// How often a delayed call lets others go first.
const DELAY_YIELDS: usize = 20;

/// A store behind a connection that fails as planned. What it stores outlives the power of the machine that asks.
///
/// A listing is always complete: so it is on S3, GCS, Azure and a local folder.
#[derive(Debug, Clone, Default)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    late: Arc<Mutex<Vec<LatePut>>>,
    faults: Faults,
    power: Power,
    /// Puts below these fail.
    refused: Arc<Mutex<Vec<Path>>>,
}

/// A put that nobody waits for any more, and that has not arrived yet.
#[derive(Debug)]
pub struct LatePut(Path, PutPayload, PutOptions);

impl FaultyStore {
    /// Decides which calls fail.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Lets every put below a prefix fail, or none any more.
    pub fn refuse_below(&self, prefix: Option<Path>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = prefix.into_iter().collect();
    }

    /// The same objects, asked from another machine, on which nothing fails yet.
    #[must_use]
    pub fn on(&self, power: Power) -> Self {
        let (inner, late) = (self.inner.clone(), self.late.clone());
        Self { inner, late, faults: Faults::default(), power, refused: Arc::default() }
    }

    /// The puts that are late now.
    pub fn take_late(&self) -> Vec<LatePut> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a late put be late for longer.
    pub fn delay(&self, put: LatePut) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).push(put);
    }

    /// Lets a late put arrive.
    pub async fn deliver(&self, LatePut(location, payload, opts): LatePut) {
        _ = self.inner.put_opts(&location, payload, opts).await; // whatever becomes of it, nobody hears
    }

    async fn write<T, F: Future<Output = Result<T>>>(&self, request: impl Fn() -> F) -> Result<T> {
        self.call(self.faults.next(Call::Write), request).await
    }

    /// What was read, and whether it is to be cut short.
    async fn read<T, F: Future<Output = Result<T>>>(&self, request: impl Fn() -> F) -> Result<(T, bool)> {
        let fault = self.faults.next(Call::Read);
        Ok((self.call(fault, request).await?, fault == Some(Fault::Truncated)))
    }

    /// `request` may be made twice.
    async fn call<T, F: Future<Output = Result<T>>>(&self, fault: Option<Fault>, request: impl Fn() -> F) -> Result<T> {
        if self.power.is_cut() {
            return Err(failed("the power is off"));
        }
        match fault {
            None | Some(Fault::Truncated) => request().await,
            Some(Fault::Refused | Fault::Late | Fault::Conflict) => Err(failed("refused")),
            Some(Fault::Unclear) => {
                request().await?;
                Err(failed("the answer was lost"))
            }
            Some(Fault::PowerCutBefore | Fault::PowerCutLate) => {
                self.power.cut();
                Err(failed("the power went"))
            }
            Some(Fault::PowerCutAfter) => {
                let result = request().await;
                self.power.cut();
                result.and(Err(failed("the power went")))
            }
            Some(Fault::Delayed) => {
                for _ in 0..DELAY_YIELDS {
                    tokio::task::yield_now().await;
                }
                request().await
            }
            Some(Fault::Twice) => {
                _ = request().await;
                request().await
            }
        }
    }

    fn listed(&self, objects: BoxStream<'static, Result<ObjectMeta>>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let listed = async move {
            store.read(async || Ok(())).await?;
            Ok::<_, Error>(objects)
        };
        stream::once(listed).try_flatten().boxed()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if self.refused.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|path| location.prefix_matches(path))
        {
            return Err(failed("refused below this prefix"));
        }
        let fault = self.faults.next(Call::Write);
        if let Some(Fault::Late | Fault::PowerCutLate) = fault
            && !self.power.is_cut()
        {
            self.delay(LatePut(location.clone(), payload.clone(), opts.clone()));
        }
        if fault == Some(Fault::Conflict) && !self.power.is_cut() {
            return Err(Error::AlreadyExists { path: location.to_string(), source: "409".into() });
        }
        self.call(fault, || self.inner.put_opts(location, payload.clone(), opts.clone())).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.write(|| self.inner.put_multipart_opts(location, opts.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (result, is_truncated) = self.read(|| self.inner.get_opts(location, options.clone())).await?;
        let GetResult { payload, meta, range, attributes, extensions } = result;
        let payload = match payload {
            GetResultPayload::Stream(body) if is_truncated => GetResultPayload::Stream(body.map_ok(first_half).boxed()),
            whole => whole,
        };
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (read, is_truncated) = self.read(|| self.inner.get_ranges(location, ranges)).await?;
        Ok(if is_truncated { read.into_iter().map(first_half).collect() } else { read })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Path| {
            let store = store.clone();
            async move {
                store.write(|| store.inner.delete(&location)).await?;
                Ok(location)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        Ok(self.read(|| self.inner.list_with_delimiter(prefix)).await?.0)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.write(|| self.inner.copy_opts(from, to, options.clone())).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.write(|| self.inner.rename_opts(from, to, options.clone())).await
    }
}

fn first_half(bytes: Bytes) -> Bytes {
    bytes.slice(..bytes.len() / 2)
}

fn failed(reason: &'static str) -> Error {
    Error::Generic { store: "faulty", source: reason.into() }
}

#[cfg(test)]
mod tests {
    use object_store::PutMode;

    use super::*;

    async fn create(store: &FaultyStore) -> Result<()> {
        store.put_opts(&key(), "content".into(), PutMode::Create.into()).await.map(drop)
    }

    async fn read(store: &FaultyStore) -> Result<Bytes> {
        store.get(&key()).await?.bytes().await
    }

    fn key() -> Path {
        Path::from("a/b")
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says() {
        let is_off = |store: &FaultyStore| store.power.is_cut();
        for (fault, is_answered, is_done) in [
            (None, true, true),
            (Some(Fault::Delayed), true, true),
            (Some(Fault::Refused), false, false),
            (Some(Fault::Unclear), false, true),
            (Some(Fault::PowerCutBefore), false, false),
            (Some(Fault::PowerCutAfter), false, true),
        ] {
            let store = FaultyStore::default();
            store.faults().plan(1, fault.unwrap_or(Fault::Truncated)); // which is nothing to a put
            store.delete(&Path::from("other")).await.unwrap();
            assert_eq!(create(&store).await.is_ok(), is_answered, "{fault:?}");
            assert_eq!(is_off(&store), matches!(fault, Some(Fault::PowerCutBefore | Fault::PowerCutAfter)));
            assert_eq!(read(&store).await.is_err(), is_off(&store) || !is_done, "{fault:?}");
            assert_eq!(read(&store.on(Power::default())).await.is_ok(), is_done, "{fault:?}");
        }
    }

    #[tokio::test]
    async fn what_is_created_twice_is_there_already_and_a_truncated_read_is_short() {
        let store = FaultyStore::default();
        store.faults().plan(0, Fault::Twice);
        assert!(matches!(create(&store).await, Err(Error::AlreadyExists { .. })));
        store.faults().plan(0, Fault::Truncated);
        assert_eq!(read(&store).await.unwrap(), "con");
        store.faults().plan(0, Fault::Truncated);
        assert_eq!(store.get_ranges(&key(), std::slice::from_ref(&(2..7))).await.unwrap(), ["nt"]);
        assert_eq!(read(&store).await.unwrap(), "content");
    }

    #[tokio::test]
    async fn a_late_put_arrives_when_it_is_delivered() {
        for fault in [Fault::Late, Fault::PowerCutLate] {
            let store = FaultyStore::default();
            store.faults().plan(0, fault);
            create(&store).await.unwrap_err();
            let restarted = store.on(Power::default());
            read(&restarted).await.unwrap_err();
            for put in restarted.take_late() {
                restarted.deliver(put).await;
            }
            assert_eq!(read(&restarted).await.unwrap(), "content");
        }
    }

    #[tokio::test]
    async fn a_listing_fails_as_planned_and_is_whole_otherwise() {
        let store = FaultyStore::default();
        create(&store).await.unwrap();
        store.faults().always(Call::Read, Fault::Refused);
        store.list(None).try_collect::<Vec<_>>().await.unwrap_err();
        store.faults().clear();
        assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    }
}
