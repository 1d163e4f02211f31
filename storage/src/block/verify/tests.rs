//! Whatever is changed in whatever file is found, and named.

use model::BlockId;
use object_store::memory::InMemory;

use super::*;
use crate::block::encode;
use crate::block::tests::table_of;

struct Stored {
    tenant: TenantId,
    entry: BlockEntry,
    objects: Arc<dyn ObjectStore>,
}

async fn stored() -> Stored {
    let (objects, tenant): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), TenantId::single());
    let block = encode(BlockId::generate(), &tenant, &table_of(&(0..20).collect::<Vec<_>>()), None).unwrap();
    block.put(&tenant, objects.as_ref()).await.unwrap();
    Stored { tenant, entry: block.entry(), objects }
}

impl Stored {
    fn path(&self, file: BlockFile) -> Path {
        paths::block_file(&self.tenant, &self.entry.id, file)
    }

    async fn content(&self, file: BlockFile) -> Vec<u8> {
        self.objects.get(&self.path(file)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    async fn put(&self, file: BlockFile, content: Vec<u8>) {
        self.objects.put(&self.path(file), content.into()).await.unwrap();
    }

    /// The files that are named.
    async fn damaged(&self) -> Vec<BlockFile> {
        let (read, cpu) = (|_| {}, CpuPool::new(1));
        let Self { tenant, entry, objects } = self;
        let found = Verifier { tenant, entry, objects, cpu: &cpu, read: &read }.damages().await.unwrap();
        found.iter().for_each(|damage| assert_eq!(damage.key, self.path(damage.file).to_string()));
        found.into_iter().map(|damage| damage.file).collect()
    }
}

#[tokio::test]
async fn a_block_is_as_it_was_written_and_read_to_its_end() {
    let stored = stored().await;
    let told = std::sync::atomic::AtomicU64::new(0);
    let read = |bytes| _ = told.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    let (cpu, Stored { tenant, entry, objects }) = (CpuPool::new(1), &stored);
    let found = Verifier { tenant, entry, objects, cpu: &cpu, read: &read }.damages().await.unwrap();
    assert_eq!(found, []);
    assert_eq!(told.into_inner(), entry.bytes(), "each byte once");
}

#[tokio::test]
async fn a_changed_byte_is_found_wherever_it_is() {
    let stored = stored().await;
    for file in BlockFile::ALL {
        let whole = stored.content(file).await;
        for at in (0..whole.len()).step_by(whole.len() / 40 + 1).chain([whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            stored.put(file, changed).await;
            let found = stored.damaged().await;
            let is_found = match file {
                // white space in it means nothing; a checksum that is changed in it speaks against the other file
                BlockFile::Meta => !found.is_empty() || whole[at].is_ascii_whitespace(),
                file => found == [file],
            };
            assert!(is_found, "byte {at} of {}: {found:?}", file.name());
        }
        stored.put(file, whole).await;
    }
}

#[tokio::test]
async fn files_that_are_cut_or_gone_are_named_and_so_are_several_at_once() {
    let stored = stored().await;
    for file in BlockFile::ALL {
        let whole = stored.content(file).await;
        for cut in [whole[..whole.len() / 2].to_vec(), Vec::new()] {
            stored.put(file, cut).await;
            assert_eq!(stored.damaged().await, [file]);
        }
        stored.objects.delete(&stored.path(file)).await.unwrap();
        assert_eq!(stored.damaged().await, [file]);
        stored.put(file, whole).await;
    }
    for file in [BlockFile::Spans, BlockFile::Traces, BlockFile::Index] {
        stored.objects.delete(&stored.path(file)).await.unwrap();
    }
    let found = stored.damaged().await;
    assert_eq!(found, [BlockFile::Traces, BlockFile::Index, BlockFile::Spans]);
}

#[tokio::test]
async fn files_of_another_block_are_found_by_what_they_say() {
    let (mut stored, other) = (stored().await, stored().await);
    stored.put(BlockFile::Meta, other.content(BlockFile::Meta).await).await;
    assert_eq!(stored.damaged().await, [BlockFile::Meta]);
    stored.entry.id = other.entry.id;
    stored.objects = other.objects;
    assert_eq!(stored.damaged().await, []);
    stored.entry.traces += 1;
    assert_eq!(stored.damaged().await, [BlockFile::Meta, BlockFile::Index, BlockFile::Directory]);
}
