//! An object that is stored while it is being written.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};

use crate::error::Error;

/// What is kept before it is sent: stores take parts of 5 MiB and more.
const PART_BYTES: usize = 8 << 20;
/// Parts that are under way at once.
const CONCURRENCY: usize = 2;

/// An object under way. It is there when [`finish`](Self::finish) has returned, and not before.
pub(crate) struct Upload {
    objects: Arc<dyn ObjectStore>,
    path: Path,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    /// Begun with the first whole part.
    parts: Option<WriteMultipart>,
}

impl Upload {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { objects, path, waiting: Vec::new(), waiting_bytes: 0, parts: None }
    }

    /// Adds the next bytes; waits while too much is under way.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes >= PART_BYTES { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), Error> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            none => {
                let upload =
                    self.objects.put_multipart(&self.path).await.map_err(Error::objects("write", &self.path))?;
                none.insert(WriteMultipart::new_with_chunk_size(upload, PART_BYTES))
            }
        };
        parts.wait_for_capacity(CONCURRENCY).await.map_err(Error::objects("write", &self.path))?;
        self.waiting_bytes = 0;
        self.waiting.drain(..).for_each(|bytes| parts.put(bytes));
        Ok(())
    }

    /// Waits until the object is stored durably.
    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        if self.parts.is_some() {
            self.send().await?;
        }
        let path = self.path;
        match self.parts {
            Some(parts) => parts.finish().await.map_err(Error::objects("write", &path))?,
            None => {
                let payload = PutPayload::from_iter(self.waiting);
                self.objects.put(&path, payload).await.map_err(Error::objects("write", &path))?
            }
        };
        Ok(())
    }

    /// Takes back what was sent, as far as that goes.
    pub(crate) async fn abort(self) {
        if let Some(parts) = self.parts
            && let Err(error) = parts.abort().await
        {
            tracing::debug!(path = %self.path, %error, "an unfinished upload could not be taken back");
        }
    }
}
