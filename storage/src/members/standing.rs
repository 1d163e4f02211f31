//! Whether a start of a writer is still a member: what it needs to know before it believes in what it alone may do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::{ObjectStore, ObjectStoreExt};

use crate::clock::Moment;
use crate::error::Error;
use crate::incarnation::Incarnation;
use crate::paths::{self, WriterFile};

/// The standing of one start of a writer: it is a member from the put of its record until somebody puts its mark. What is said
/// of a writer is deleted [`super::KEPT_RETIRED`] after that, and only then is anything else of it.
#[derive(Debug)]
pub struct Standing {
    objects: Arc<dyn ObjectStore>,
    incarnation: Incarnation,
    /// It was a member at this moment.
    confirmed: Mutex<Moment>,
}

impl Standing {
    /// Of a start that joins now: to be called before its record is put.
    pub fn joining(objects: Arc<dyn ObjectStore>, incarnation: Incarnation) -> Self {
        Self { objects, incarnation, confirmed: Mutex::new(Moment::now()) }
    }

    /// Of a start that was seen to be a member.
    ///
    /// # Errors
    /// Those of [`confirm`](Self::confirm).
    pub async fn of(objects: Arc<dyn ObjectStore>, incarnation: Incarnation) -> Result<Self, Error> {
        let standing = Self::joining(objects, incarnation);
        standing.confirm().await?;
        Ok(standing)
    }

    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The last moment at which it was a member, as far as is known here.
    pub(crate) fn confirmed(&self) -> Moment {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`confirm`](Self::confirm), if that was last done longer ago.
    ///
    /// # Errors
    /// Those of [`confirm`](Self::confirm).
    pub async fn confirm_within(&self, longest: Duration) -> Result<(), Error> {
        if self.confirmed().age() < longest { Ok(()) } else { self.confirm().await.map(drop) }
    }

    /// Asks the store; the moment is before the question. Two requests.
    ///
    /// # Errors
    /// [`Error::WriterRetired`] when it is a member no more; others when the store does not answer.
    pub(crate) async fn confirm(&self) -> Result<Moment, Error> {
        let asked = Moment::now();
        // in this order: the record is deleted before the mark, so who finds the record has found no mark because none was put
        if self.has(WriterFile::Retired).await? || !self.has(WriterFile::Record).await? {
            return Err(Error::WriterRetired);
        }
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        Ok(asked)
    }

    async fn has(&self, file: WriterFile) -> Result<bool, Error> {
        let key = paths::writer(&self.incarnation, file);
        match self.objects.head(&key).await {
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            found => found.map(|_| true).map_err(Error::objects("look for", &key)),
        }
    }
}
