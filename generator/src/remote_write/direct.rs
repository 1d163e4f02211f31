//! Sending without a queue: to all targets, now, or an error. For series that can be made again.

use super::config::RemoteWriteConfig;
use super::endpoint::{Endpoint, Outcome};
use super::sender::{FIRST_BACKOFF, LONGEST_BACKOFF, LONGEST_RETRY_AFTER};
use super::{Form, Request};
use crate::error::Error;

/// Attempts for one request: with the backoff between them, about a minute.
const MOST_ATTEMPTS: usize = 20;

/// Every target of a configuration.
pub struct DirectSender {
    targets: Vec<(String, Form, Endpoint)>,
}

/// Why a target did not take a request.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// Other requests may be taken, this one never.
    #[error("{target} refused series: {reason}")]
    Refused { target: String, reason: String },
    #[error("{target} took no series in {attempts} attempts: {reason}")]
    Unreachable { target: String, attempts: usize, reason: String },
}

impl DirectSender {
    /// # Errors
    /// [`Error::Config`] when a target's settings cannot be used.
    pub fn new(config: &RemoteWriteConfig) -> Result<Self, Error> {
        let target = |(index, target): (usize, &super::TargetConfig)| {
            Ok((target.name(index), target.form(), Endpoint::new(target, config)?))
        };
        Ok(Self { targets: config.targets.iter().enumerate().map(target).collect::<Result<_, Error>>()? })
    }

    /// The forms that any target takes.
    pub fn forms(&self) -> Vec<Form> {
        let mut forms: Vec<Form> = self.targets.iter().map(|(_, form, _)| *form).collect();
        forms.sort_unstable();
        forms.dedup();
        forms
    }

    /// Sends requests to every target that takes their form, in order; returns how many samples were taken.
    ///
    /// # Errors
    /// The first that a target does not take.
    pub async fn send(&self, requests: &[Request]) -> Result<u64, NotSent> {
        let mut samples = 0;
        for (target, form, endpoint) in &self.targets {
            for request in requests.iter().filter(|request| request.form == *form) {
                send_one(target, endpoint, request).await?;
                samples += request.samples;
            }
        }
        Ok(samples)
    }
}

async fn send_one(target: &str, endpoint: &Endpoint, request: &Request) -> Result<(), NotSent> {
    let (mut backoff, mut last) = (FIRST_BACKOFF, String::new());
    for _ in 0..MOST_ATTEMPTS {
        match endpoint.send(&request.tenant, request.body.clone()).await {
            Outcome::Taken => return Ok(()),
            Outcome::Refused { reason, .. } => return Err(NotSent::Refused { target: target.to_owned(), reason }),
            Outcome::Later(reason, after) => {
                last = reason;
                tokio::time::sleep(after.unwrap_or(backoff).min(LONGEST_RETRY_AFTER)).await;
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
            }
        }
    }
    Err(NotSent::Unreachable { target: target.to_owned(), attempts: MOST_ATTEMPTS, reason: last })
}
