//! The index of a stored block: what a question lacks is fetched, checked, kept for the next one.
//!
//! An index that is missing or damaged costs speed and nothing else: its questions are answered with "cannot say", and
//! damage is named once in the log and in a metric.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use model::BlockId;
use object_store::ObjectStore;
use object_store::path::Path;
use traceql::{Conditions, Field};

use super::bundle::{Payloads, Places, Shape, damaged, verified};
use super::directory::{Directory, IndexedField};
use super::figures::Figures;
use super::lookup::{Lookup, ValueCount, indexed};
use crate::cache::{ByteCache, Capacity};
use crate::cpu::CpuPool;
use crate::error::Error;
use crate::exact::{self, Unread};
use crate::paths::BlockFile;
use crate::telemetry::Telemetry;

/// Bytes fetched at the end of a bundle, in the hope that they hold footer, directory and the index of the dictionary.
const TAIL_BYTES: u64 = 16 * 1024;
/// How often a question may lack something: footer, directory, dictionary, a block of terms, postings, and as many again.
const MAX_ROUNDS: usize = 12;
const ENDLESS: &str = "a question finds no end in it";
/// Answers that take more, with what was asked, are not kept: they would drive out the sheets of many blocks, and what so
/// many traces satisfy is found soon.
const MOST_ANSWER_BYTES: usize = 64 * 1024;
/// About how many entries fill the cache: most are sheets.
const EXPECTED_ENTRIES: usize = 4_096;

/// Checked sheets and directories of indexes, and which traces they gave, kept between questions within a budget of bytes. Cheap to
/// clone.
#[derive(Clone)]
pub(crate) struct IndexCache {
    entries: ByteCache<Key, Entry>,
    telemetry: Telemetry,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Opened(BlockId),
    Sheet(BlockId, u32),
    /// Of filters, by what they are when they are written down. Dashboards ask the same all day long.
    Traces(BlockId, Arc<str>),
}

/// For each of several filters the traces that may satisfy it.
type TracesOfFilters = Vec<Option<Vec<Range<usize>>>>;

#[derive(Clone)]
enum Entry {
    Opened(Arc<OpenIndex>),
    /// Damage was found, and named.
    Unusable,
    Sheet(Bytes),
    Traces(Arc<TracesOfFilters>),
}

struct OpenIndex {
    places: Places,
    directory: Directory,
}

impl Key {
    fn block_id(&self) -> BlockId {
        match self {
            Self::Opened(block_id) | Self::Sheet(block_id, _) | Self::Traces(block_id, _) => *block_id,
        }
    }

    fn bytes(&self) -> usize {
        if let Self::Traces(_, filters) = self { filters.len() } else { 0 }
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Opened(opened) => opened.directory.memory_bytes(),
            Self::Unusable => 0,
            Self::Sheet(payload) => payload.len(),
            Self::Traces(of_filters) => traces_bytes(of_filters),
        }
    }
}

impl IndexCache {
    pub fn new(capacity_bytes: u64, telemetry: Telemetry) -> Self {
        let bytes_of = |key: &Key, entry: &Entry| key.bytes() + entry.bytes();
        let capacity = Capacity { name: "index", bytes: capacity_bytes, entries: EXPECTED_ENTRIES, bytes_of };
        Self { entries: ByteCache::new(&capacity, &telemetry), telemetry }
    }

    /// Drops what is kept of a block.
    pub fn forget(&self, block_id: &BlockId) {
        self.entries.retain(|key| key.block_id() != *block_id);
    }

    /// Adds to what is there the sheets that are kept. Returns the others, ascending.
    fn hold(&self, block_id: BlockId, payloads: &Payloads, wanted: BTreeSet<u32>) -> Vec<u32> {
        let mut missing = Vec::new();
        for number in wanted {
            match self.entries.get(&Key::Sheet(block_id, number)) {
                Some(Entry::Sheet(payload)) => payloads.hold(number, payload),
                _ => missing.push(number),
            }
        }
        missing
    }

    /// Asks until something is lacking that is not kept.
    fn ask<T>(
        &self,
        block_id: BlockId,
        payloads: &Payloads,
        question: &impl Fn() -> io::Result<T>,
    ) -> io::Result<Asked<T>> {
        for _ in 0..MAX_ROUNDS {
            let answer = question();
            let wanted = payloads.take_wanted();
            match answer {
                Ok(answer) => return Ok(Asked::Answer(answer)),
                Err(error) if wanted.is_empty() => return Err(error),
                Err(_) => {}
            }
            let lacking = self.hold(block_id, payloads, wanted);
            if !lacking.is_empty() {
                return Ok(Asked::Lacking(lacking));
            }
        }
        Err(damaged(ENDLESS))
    }

    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        self.entries.bytes()
    }
}

fn traces_bytes(of_filters: &TracesOfFilters) -> usize {
    of_filters.iter().flatten().map(|ranges| size_of_val(ranges.as_slice())).sum::<usize>()
        + size_of_val(of_filters.as_slice())
}

/// What came of a question.
enum Asked<T> {
    Answer(T),
    /// It lacks these sheets, ascending.
    Lacking(Vec<u32>),
}

/// The index of one block.
pub(crate) struct BlockIndex<'a> {
    pub block_id: BlockId,
    pub path: Path,
    pub object_bytes: u64,
    pub objects: &'a dyn ObjectStore,
    pub cpu: &'a CpuPool,
    pub cache: &'a IndexCache,
}

/// Why a question has no answer.
enum Failure {
    Damaged(String),
    /// The store did not give it; it may the next time.
    Unread(object_store::Error),
    Other(Error),
}

impl BlockIndex<'_> {
    /// For each of the filters the traces (ranges of rows of `traces`, ascending and apart) that may have a span which
    /// satisfies it; `None` where that cannot be said.
    pub async fn traces(&self, filters: &[Conditions]) -> Result<TracesOfFilters, Error> {
        let key = Key::Traces(self.block_id, format!("{filters:?}").into());
        if let Some(Entry::Traces(of_filters)) = self.cache.entries.get(&key) {
            return Ok(Arc::unwrap_or_clone(of_filters));
        }
        let asked = filters.to_vec();
        let answer = self.answer(move |lookup| {
            // all are asked before the first failure counts, so that one round fetches what all of them lack
            let all: Vec<_> = asked.iter().map(|conditions| lookup.traces(conditions)).collect();
            all.into_iter().collect::<io::Result<Vec<_>>>()
        });
        let Some(of_filters) = answer.await? else { return Ok(vec![None; filters.len()]) };
        if key.bytes() + traces_bytes(&of_filters) <= MOST_ANSWER_BYTES {
            self.cache.entries.insert(key, Entry::Traces(Arc::new(of_filters.clone())));
        }
        Ok(of_filters)
    }

    /// The values of a field; `None` when they cannot be listed.
    pub async fn values(&self, field: &Field) -> Result<Option<Vec<ValueCount>>, Error> {
        let Some(field) = indexed(field) else { return Ok(None) };
        Ok(self.answer(move |lookup| lookup.values(&field)).await?.flatten())
    }

    /// Every attribute key with its scope; `None` when that cannot be said.
    pub async fn keys(&self) -> Result<Option<BTreeSet<(model::Scope, String)>>, Error> {
        let Some(opened) = self.opened(&Payloads::new(self.shape())).await? else { return Ok(None) };
        let keys = opened.directory.fields.iter().filter_map(|info| match &info.field {
            IndexedField::Attribute(scope, name) => Some((*scope, name.clone())),
            IndexedField::Intrinsic(_) => None,
        });
        Ok(opened.directory.is_complete.then(|| keys.collect()))
    }

    /// What the index is made of; `None` for a block without one.
    ///
    /// # Errors
    /// [`Error::BlockDamaged`] when it cannot be opened.
    pub(super) async fn figures(&self) -> Result<Option<Figures>, Error> {
        if self.object_bytes == 0 {
            return Ok(None);
        }
        let payloads = Payloads::new(self.shape());
        let opened = match self.open(&payloads).await {
            Ok(opened) => opened,
            Err(Failure::Damaged(reason)) => return Err(Error::block_damaged(self.path.as_ref(), reason)),
            Err(Failure::Unread(error)) => return Err(Error::objects("read", &self.path)(error)),
            Err(Failure::Other(error)) => return Err(error),
        };
        Ok(Some(Figures::of(&opened.places, &opened.directory)))
    }

    /// The answer to a question; `None` when the index is missing or damaged.
    async fn answer<T: Send + 'static>(
        &self,
        question: impl Fn(&Lookup<'_>) -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<Option<T>, Error> {
        let payloads = Payloads::new(self.shape());
        let Some(opened) = self.opened(&payloads).await? else { return Ok(None) };
        let asked = payloads.clone();
        let question = move || question(&Lookup::open(&asked, &opened.places, &opened.directory)?);
        self.usable(self.ask(&payloads, question).await)
    }

    fn shape(&self) -> Shape {
        Shape::of(self.object_bytes)
    }

    async fn opened(&self, payloads: &Payloads) -> Result<Option<Arc<OpenIndex>>, Error> {
        if self.object_bytes == 0 {
            return Ok(None);
        }
        let key = Key::Opened(self.block_id);
        match self.cache.entries.get(&key) {
            Some(Entry::Opened(opened)) => return Ok(Some(opened)),
            Some(_) => return Ok(None),
            None => {}
        }
        let opened = self.usable(self.open(payloads).await)?;
        if let Some(opened) = &opened {
            self.cache.entries.insert(key, Entry::Opened(opened.clone()));
        }
        Ok(opened)
    }

    async fn open(&self, payloads: &Payloads) -> Result<Arc<OpenIndex>, Failure> {
        self.fetch(payloads, self.shape().tail(TAIL_BYTES).collect()).await?;
        let asked = payloads.clone();
        let open = move || {
            let places = asked.places()?;
            let directory = asked.read(places.directory.clone())?;
            let directory = Directory::decode(&directory).ok_or_else(|| damaged("its directory cannot be read"))?;
            Ok(Arc::new(OpenIndex { places, directory }))
        };
        self.ask(payloads, open).await
    }

    /// Asks until nothing is lacking. What the cache has is taken from it on the pool, so that a question which lacks nothing
    /// else goes there and back once.
    async fn ask<T: Send + 'static>(
        &self,
        payloads: &Payloads,
        question: impl Fn() -> io::Result<T> + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        let question = Arc::new(question);
        for _ in 0..MAX_ROUNDS {
            let (asked, payloads_there, cache, block_id) =
                (question.clone(), payloads.clone(), self.cache.clone(), self.block_id);
            let ask = move || cache.ask(block_id, &payloads_there, asked.as_ref());
            let lacking = match self.cpu.run(ask).await {
                Ok(Ok(Asked::Answer(answer))) => return Ok(answer),
                Ok(Ok(Asked::Lacking(sheets))) => sheets,
                Ok(Err(error)) => return Err(Failure::Damaged(error.to_string())),
                // undamaged sheets with contents that make no sense to the code that reads them
                Err(Error::Panicked { message }) => return Err(Failure::Damaged(message)),
                Err(error) => return Err(Failure::Other(error)),
            };
            self.fetch_missing(payloads, &lacking).await?;
        }
        Err(Failure::Damaged(ENDLESS.to_owned()))
    }

    /// Adds sheets to what is there: from the cache, else from the store.
    async fn fetch(&self, payloads: &Payloads, wanted: BTreeSet<u32>) -> Result<(), Failure> {
        let missing = self.cache.hold(self.block_id, payloads, wanted);
        if missing.is_empty() { Ok(()) } else { self.fetch_missing(payloads, &missing).await }
    }

    /// Adds sheets, ascending, from the store.
    async fn fetch_missing(&self, payloads: &Payloads, missing: &[u32]) -> Result<(), Failure> {
        let runs = runs(missing);
        let ranges: Vec<Range<u64>> =
            runs.iter().map(|run| self.shape().sheet(run.start).start..self.shape().sheet(run.end - 1).end).collect();
        let fetched = exact::ranges(self.objects, &self.path, self.object_bytes, &ranges).await;
        let fetched = fetched.map_err(|unread| match unread {
            Unread::CutShort { found } => Failure::Damaged(format!("it has {found} bytes, not {}", self.object_bytes)),
            Unread::Store(object_store::Error::NotFound { .. }) => Failure::Damaged("it is not there".to_owned()),
            Unread::Store(error) => Failure::Unread(error),
        })?;
        for (run, bytes) in runs.into_iter().zip(fetched) {
            let start = self.shape().sheet(run.start).start;
            for number in run {
                let place = self.shape().sheet(number);
                let within = (place.start - start) as usize..(place.end - start) as usize;
                let payload = verified(&bytes.slice(within), number)
                    .ok_or_else(|| Failure::Damaged(format!("the checksum of sheet {number} does not match")))?;
                // a copy of its own, so that the cache holds what it counts
                let payload = Bytes::copy_from_slice(&payload);
                self.cache.entries.insert(Key::Sheet(self.block_id, number), Entry::Sheet(payload.clone()));
                payloads.hold(number, payload);
            }
        }
        Ok(())
    }

    /// Names what is wrong; damage once for a block, as long as the cache remembers it.
    fn usable<T>(&self, result: Result<T, Failure>) -> Result<Option<T>, Error> {
        let (block_id, key) = (self.block_id, &self.path);
        match result {
            Ok(value) => return Ok(Some(value)),
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::Unread(error)) => {
                tracing::warn!(%block_id, %key, %error, "index could not be read, the block is read without it");
                self.cache.telemetry.index_failed("unread");
            }
            Err(Failure::Damaged(reason)) => {
                tracing::warn!(%block_id, file = BlockFile::Index.kind(), %key, %reason, "index is damaged, the block is read without it");
                self.cache.telemetry.index_failed("damaged");
                self.cache.telemetry.damaged_block_file(BlockFile::Index);
                self.cache.entries.insert(Key::Opened(block_id), Entry::Unusable);
            }
        }
        Ok(None)
    }
}

/// Numbers that follow each other, as ranges.
fn runs(numbers: &[u32]) -> Vec<Range<u32>> {
    numbers.chunk_by(|left, right| left + 1 == *right).map(|run| run[0]..run[0] + run.len() as u32).collect()
}

/// The figures of a stored index; `None` for a block without one (`bytes` is 0).
///
/// # Errors
/// [`Error::BlockDamaged`] when it cannot be opened.
pub(crate) async fn figures(
    block_id: BlockId,
    path: Path,
    bytes: u64,
    objects: &dyn ObjectStore,
    cpu: &CpuPool,
) -> Result<Option<Figures>, Error> {
    let cache = IndexCache::new(0, Telemetry::unregistered()); // asked once
    BlockIndex { block_id, path, object_bytes: bytes, objects, cpu, cache: &cache }.figures().await
}
