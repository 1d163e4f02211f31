//! Listing and reading a log of which somebody else is the writer.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;

use super::LogObject;
use crate::error::Error;
use crate::exact;
use crate::incarnation::Incarnation;
use crate::paths;
use crate::telemetry::Telemetry;

/// Reads logs. Clones share the store.
#[derive(Debug, Clone)]
pub struct LogReader {
    objects: Arc<dyn ObjectStore>,
    telemetry: Telemetry,
}

impl LogReader {
    pub fn new(objects: Arc<dyn ObjectStore>, telemetry: Telemetry) -> Self {
        Self { objects, telemetry }
    }

    /// The numbers above `after` that are there now.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn numbers_after(&self, writer: &Incarnation, after: u64) -> Result<BTreeSet<u64>, Error> {
        self.telemetry.bucket_log.requested("list");
        let (prefix, offset) = (paths::log(writer), paths::log_object(writer, after));
        let objects = match after {
            0 => self.objects.list(Some(&prefix)),
            _ => self.objects.list_with_offset(Some(&prefix), &offset),
        };
        let numbers = objects.try_filter_map(|object| async move { Ok(paths::parse_log_object(&object.location)) });
        numbers.try_collect().await.map_err(Error::objects("list the log in", &prefix))
    }

    /// One object; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub async fn read(&self, writer: &Incarnation, number: u64) -> Result<Option<LogObject>, Error> {
        self.telemetry.bucket_log.requested("get");
        let key = paths::log_object(writer, number);
        match exact::whole(self.objects.as_ref(), &key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            read => {
                let bytes = read.map_err(Error::objects("read the log object", &key))?;
                self.telemetry.bucket_log.read(bytes.len());
                LogObject::decode(&key, *writer, number, &bytes).map(Some)
            }
        }
    }
}
