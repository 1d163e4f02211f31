//! What tenants set for themselves (`/api/overrides`): which keys there are, what follows from them for the metrics generator,
//! and the task that takes over what others have written.
//!
//! As in Tempo tenants set what is generated of their spans, and no limits. A key that Tempo has and that changes nothing
//! here is refused by its name.

mod keys;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{OverridesError, Settings};
use async_trait::async_trait;
use generator::{Generator, TenantConfig};
use model::TenantId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use storage::user_overrides::{ChangeError, UserOverrides as Store, Versioned};
use tracing::{info, warn};

use crate::config::{Config, GeneratorLimits, WITHOUT_LOCAL_BLOCKS};

/// The version of settings that are not there.
const NO_VERSION: &str = "0";
/// The part of settings that has an effect.
const GENERATOR: &str = "metrics_generator";

/// The settings of all tenants.
pub struct UserOverrides {
    config: Config,
    store: Store,
    generator: Arc<Generator>,
    /// What this process knows, as JSON.
    known: Mutex<BTreeMap<TenantId, Value>>,
    failed_polls: Counter,
}

/// What a tenant has set, and what follows from it.
struct Own {
    settings: Value,
    config: TenantConfig,
    names_local_blocks: bool,
}

impl UserOverrides {
    pub fn new(config: Config, store: Store, generator: Arc<Generator>, registry: &mut Registry) -> Self {
        let failed_polls = Counter::default();
        registry.register(
            "tempo_overrides_user_configurable_overrides_reload_failed",
            "How often the settings of tenants could not be read from the store",
            failed_polls.clone(),
        );
        Self { config, store, generator, known: Mutex::default(), failed_polls }
    }

    /// Takes over what is in the store, again and again.
    pub async fn run(self: Arc<Self>) {
        let period = self.config.overrides.user_configurable_overrides.poll_interval.get();
        loop {
            if let Err(error) = self.poll().await {
                self.failed_polls.inc();
                warn!(%error, "settings of tenants could not be read, the old ones hold");
            }
            tokio::time::sleep(period.max(std::time::Duration::from_secs(1))).await;
        }
    }

    async fn poll(&self) -> Result<(), storage::Error> {
        let stored: BTreeMap<TenantId, Versioned> = self.store.all().await?.into_iter().collect();
        let gone: Vec<TenantId> = self.known().keys().filter(|tenant| !stored.contains_key(*tenant)).cloned().collect();
        gone.iter().for_each(|tenant| self.forget(tenant));
        for (tenant, Versioned { text, .. }) in stored {
            let read = self.read(&tenant, text.as_bytes());
            match read {
                Ok(own) => self.take(&tenant, own),
                Err(error) => warn!(%tenant, %error, "settings of a tenant in the store cannot be used"),
            }
        }
        Ok(())
    }

    /// Settings, and what is generated with them.
    fn read(&self, tenant: &TenantId, json: &[u8]) -> Result<Own, OverridesError> {
        let settings: Value = serde_json::from_slice(json).map_err(invalid)?;
        keys::check(&settings).map_err(OverridesError::Invalid)?;
        let limits = self.merged(tenant, &settings)?;
        let config = self.config.generator_with(&limits).map_err(invalid)?;
        let check = generator::Config { default: config.clone(), ..generator::Config::default() };
        check.check().map_err(invalid)?;
        Ok(Own { settings, config, names_local_blocks: limits.names_local_blocks() })
    }

    /// What the operator has set, with what the tenant has set in its place.
    fn merged(&self, tenant: &TenantId, settings: &Value) -> Result<GeneratorLimits, OverridesError> {
        let (limits, _) = self.config.generator_limits(tenant).map_err(failed)?;
        let mut merged = serde_json::to_value(&limits).map_err(failed)?;
        let own = keys::applied(settings.get(GENERATOR).unwrap_or(&Value::Null));
        merge_patch(&mut merged, own);
        let merged = Config::read_generator_limits(&merged.to_string()).map_err(invalid)?;
        // secrets are not in the text
        Ok(GeneratorLimits { remote_write_headers: limits.remote_write_headers, ..merged })
    }

    fn take(&self, tenant: &TenantId, own: Own) {
        let Own { settings, config, names_local_blocks } = own;
        if self.known().insert(tenant.clone(), settings.clone()).as_ref() == Some(&settings) {
            return;
        }
        if names_local_blocks {
            warn!(%tenant, "settings of a tenant: {WITHOUT_LOCAL_BLOCKS}");
        }
        match self.generator.set_own(tenant, Some(config)) {
            Ok(()) => info!(%tenant, %settings, "settings of a tenant changed"),
            Err(error) => warn!(%tenant, %error, "settings of a tenant cannot be used"),
        }
    }

    fn forget(&self, tenant: &TenantId) {
        self.known().remove(tenant);
        match self.generator.set_own(tenant, None) {
            Ok(()) => info!(%tenant, "a tenant has no settings of its own any more"),
            Err(error) => warn!(%tenant, %error, "settings of a tenant cannot be dropped"),
        }
    }

    /// Tempo excludes the list of processors: tenants may always choose those.
    fn check_conflicts(&self, tenant: &TenantId, skip: bool) -> Result<(), OverridesError> {
        let is_checked = self.config.overrides.user_configurable_overrides.api.check_for_conflicting_runtime_overrides;
        if skip || !is_checked || self.known().contains_key(tenant) {
            return Ok(());
        }
        let (limits, is_own) = self.config.generator_limits(tenant).map_err(failed)?;
        let sets_more = GeneratorLimits { processors: Vec::new(), ..limits } != GeneratorLimits::default();
        if is_own && sets_more { Err(OverridesError::ConflictingRuntimeOverrides) } else { Ok(()) }
    }

    async fn stored(&self, tenant: &TenantId) -> Result<Option<Versioned>, OverridesError> {
        self.store.get(tenant).await.map_err(failed)
    }

    async fn store(&self, tenant: &TenantId, settings: &Value, version: u64) -> Result<String, OverridesError> {
        let version = self.store.change(tenant, version, &settings.to_string()).await.map_err(refused)?;
        Ok(version.to_string())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<TenantId, Value>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl api::UserOverrides for UserOverrides {
    async fn get(&self, tenant: &TenantId, merged: bool) -> Result<Settings, OverridesError> {
        let Versioned { version, text } = self.stored(tenant).await?.ok_or(OverridesError::NotFound)?;
        let json = match merged {
            false => text,
            true => {
                let settings = serde_json::from_str(&text).map_err(failed)?;
                let generator = serde_json::to_value(self.merged(tenant, &settings)?).map_err(failed)?;
                let mut merged = settings.as_object().cloned().unwrap_or_default();
                merged.insert(GENERATOR.to_owned(), without_headers(generator));
                Value::Object(merged).to_string()
            }
        };
        Ok(Settings { json, version: version.to_string() })
    }

    async fn set(
        &self,
        tenant: &TenantId,
        json: &[u8],
        version: &str,
        skip_check: bool,
    ) -> Result<String, OverridesError> {
        let own = self.read(tenant, json)?;
        keys::check_applied(&own.settings).map_err(OverridesError::Invalid)?;
        self.check_conflicts(tenant, skip_check)?;
        let version = self.store(tenant, &own.settings, parse_version(version)?).await?;
        self.take(tenant, own);
        Ok(version)
    }

    async fn patch(&self, tenant: &TenantId, patch: &[u8], skip_check: bool) -> Result<Settings, OverridesError> {
        let patch: Value = serde_json::from_slice(patch).map_err(invalid)?;
        let stored = self.stored(tenant).await?;
        let (mut settings, version) = match &stored {
            Some(Versioned { version, text }) => (serde_json::from_str(text).map_err(failed)?, *version),
            None => (Value::Object(Map::new()), 0),
        };
        merge_patch(&mut settings, patch);
        let own = self.read(tenant, settings.to_string().as_bytes())?;
        keys::check_applied(&own.settings).map_err(OverridesError::Invalid)?;
        self.check_conflicts(tenant, skip_check)?;
        let version = self.store(tenant, &own.settings, version).await.map_err(|error| match error {
            OverridesError::Conflict => {
                OverridesError::Failed("overrides have been modified during request processing, try again".to_owned())
            }
            error => error,
        })?;
        let json = own.settings.to_string();
        self.take(tenant, own);
        Ok(Settings { json, version })
    }

    async fn delete(&self, tenant: &TenantId, version: &str) -> Result<(), OverridesError> {
        let version = parse_version(version)?;
        if version == 0 || self.stored(tenant).await?.is_none() {
            return Err(OverridesError::NotFound);
        }
        self.store.change(tenant, version, "").await.map_err(refused)?;
        self.forget(tenant);
        Ok(())
    }

    fn shown(&self, tenant: &TenantId) -> Option<String> {
        self.known().get(tenant).map(Value::to_string)
    }

    fn tenants(&self) -> Vec<TenantId> {
        self.known().keys().cloned().collect()
    }
}

fn parse_version(text: &str) -> Result<u64, OverridesError> {
    if text == NO_VERSION { Ok(0) } else { text.parse().map_err(|_| OverridesError::Conflict) }
}

/// RFC 7396.
fn merge_patch(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        if !patch.is_null() {
            *target = patch;
        }
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge_patch(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The operator's secrets are none of the tenant's business.
fn without_headers(mut generator: Value) -> Value {
    if let Some(generator) = generator.as_object_mut() {
        generator.remove("remote_write_headers");
    }
    generator
}

fn invalid(error: impl std::fmt::Display) -> OverridesError {
    OverridesError::Invalid(format!("{error:#}"))
}

fn failed(error: impl std::fmt::Display) -> OverridesError {
    OverridesError::Failed(format!("{error:#}"))
}

fn refused(error: ChangeError) -> OverridesError {
    match error {
        ChangeError::Conflict => OverridesError::Conflict,
        ChangeError::Storage(error) => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_removes_what_it_sets_to_nothing() {
        let mut target = serde_json::json!({"a": {"b": 1, "c": [1]}, "d": 1});
        merge_patch(&mut target, serde_json::json!({"a": {"b": 2, "c": [2], "e": {"f": 3}}, "d": null}));
        assert_eq!(target, serde_json::json!({"a": {"b": 2, "c": [2], "e": {"f": 3}}}));
    }
}
