//! `storage.trace.azure` → a client of Azure Blob Storage.

use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};

use super::remote::{self, Location, client_options, retries};
use crate::config::{AzureConfig, DEFAULT_ATTEMPTS};
use crate::error::Error;

pub(super) fn build(config: &AzureConfig) -> Result<MicrosoftAzure, Error> {
    check(config)?;
    let location = location(config)?;
    let mut builder = match config.use_managed_identity {
        true => MicrosoftAzureBuilder::new().with_credential_type("managed_identity"),
        false => MicrosoftAzureBuilder::from_env(),
    };
    if config.use_federated_token {
        builder = builder.with_credential_type("workload_identity");
    }
    if !config.user_assigned_id.is_empty() {
        builder = builder.with_client_id(&config.user_assigned_id);
    }
    if !config.storage_account_key.is_empty() {
        builder = builder.with_access_key(config.storage_account_key.expose()).with_credential_type("access_key");
    }
    builder
        .with_account(&config.storage_account_name)
        .with_container_name(&config.container_name)
        .with_endpoint(location.url())
        .with_client_options(client_options(location.is_http))
        .with_retry(retries(DEFAULT_ATTEMPTS))
        .build()
        .map_err(|error| remote::unusable("storage.trace.azure", &error))
}

fn check(config: &AzureConfig) -> Result<(), Error> {
    let wrong = |key, reason: &str| Err(Error::setting(key, reason));
    if config.storage_account_name.is_empty() {
        return wrong("storage.trace.azure.storage_account_name", "is missing");
    }
    if config.container_name.is_empty() {
        return wrong("storage.trace.azure.container_name", "is missing");
    }
    let asks = [!config.storage_account_key.is_empty(), config.use_managed_identity, config.use_federated_token];
    if asks.into_iter().filter(|asked| *asked).count() > 1 {
        return wrong(
            "storage.trace.azure",
            "has more than one of storage_account_key, use_managed_identity and use_federated_token",
        );
    }
    Ok(())
}

fn location(config: &AzureConfig) -> Result<Location, Error> {
    let AzureConfig { storage_account_name: account, endpoint_suffix: suffix, .. } = config;
    let is_emulator = !suffix.starts_with("blob.");
    let address = if is_emulator { format!("{suffix}/{account}") } else { format!("{account}.{suffix}") };
    Location::parse("storage.trace.azure.endpoint_suffix", &address, is_emulator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_stands_in_the_host_name_and_in_the_path_of_an_emulator() {
        let url = |suffix: &str| {
            let config = AzureConfig {
                storage_account_name: "traces".to_owned(),
                endpoint_suffix: suffix.to_owned(),
                ..AzureConfig::default()
            };
            location(&config).unwrap().url()
        };
        assert_eq!(url("blob.core.windows.net"), "https://traces.blob.core.windows.net");
        assert_eq!(url("127.0.0.1:10000"), "http://127.0.0.1:10000/traces");
    }
}
