//! Several pieces of async work at a time, but not too many.

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::error::Error;

/// Work that may run beside other work of the same query. Boxed, so that what it borrows stays its own affair.
pub(crate) type Work<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// Runs all, at most `limit` at a time; results are in the order of the work. The first error ends the rest.
pub(crate) async fn try_all<T>(limit: usize, work: Vec<Work<'_, T>>) -> Result<Vec<T>, Error> {
    let numbered = work.into_iter().enumerate().map(numbered).collect::<Vec<_>>();
    let mut results: Vec<(usize, T)> = stream::iter(numbered).buffer_unordered(limit.max(1)).try_collect().await?;
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Runs all, at most `limit` at a time, and takes each result in the order of the work. The first error ends the rest.
pub(crate) async fn try_in_order<T>(
    limit: usize,
    work: Vec<Work<'_, T>>,
    mut take: impl FnMut(T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut results = stream::iter(work).buffered(limit.max(1));
    while let Some(result) = results.next().await {
        take(result?)?;
    }
    Ok(())
}

async fn numbered<T>((number, work): (usize, Work<'_, T>)) -> Result<(usize, T), Error> {
    Ok((number, work.await?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn results_keep_their_order_and_few_run_at_a_time() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (running, most) = (&running, &most);
        let work = (0..20).map(|number| {
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..20 - number {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            }
            .boxed()
        });
        let results = try_all(3, work.collect()).await.unwrap();
        assert_eq!(results, (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }
}
