//! Closing a log from outside, so that its writer acknowledges nothing more.

use object_store::{ObjectStore, PutMode};
use uuid::Uuid;

use super::{LogObject, LogReader};
use crate::error::Error;
use crate::incarnation::Incarnation;
use crate::paths;

/// What became of an attempt to seal a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// All that its writer has acknowledged lies in objects up to this one.
    Sealed { last: u64 },
    /// The writer was faster, or further than was known: it lives.
    Lives,
}

/// Seals a log, or finds it sealed. `objects` is the store that `reader` reads.
///
/// # Errors
/// When the store does not answer, or answers nothing that is clear; to be tried again.
pub async fn seal(objects: &dyn ObjectStore, reader: &LogReader, writer: &Incarnation) -> Result<Seal, Error> {
    let newest = reader.numbers_after(writer, 0).await?.last().copied().unwrap_or_default();
    if newest > 0 && reader.read(writer, newest).await?.is_some_and(|object| object.is_seal) {
        return Ok(Seal::Sealed { last: newest - 1 });
    }
    let number = newest + 1;
    let key = paths::log_object(writer, number);
    let put = LogObject::encode_seal(*writer, number, Uuid::new_v4());
    match objects.put_opts(&key, put.into(), PutMode::Create.into()).await {
        Err(object_store::Error::AlreadyExists { .. }) => match reader.read(writer, number).await? {
            Some(there) if there.is_seal => {} // ours, or that of another who does not hear of the writer either
            Some(_) => return Ok(Seal::Lives),
            None => return Err(Error::members(&key, "could not be put, although nothing is there")),
        },
        result => result.map(drop).map_err(Error::objects("seal the log with", &key))?,
    }
    // after the put: who slept before it may have found a number free that was deleted since
    let now = reader.numbers_after(writer, newest).await?;
    Ok(if now.into_iter().eq([number]) { Seal::Sealed { last: newest } } else { Seal::Lives })
}
