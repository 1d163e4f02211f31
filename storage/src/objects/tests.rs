use futures::TryStreamExt;
use futures::future::join_all;
use model::{BlockId, TenantId};
use object_store::{ObjectStoreExt, PutMode, PutPayload};
use prometheus_client::registry::Registry;

use super::*;
use crate::paths::{BlockFile, block_file, blocks};

fn both(temp: &tempfile::TempDir) -> Vec<Arc<dyn ObjectStore>> {
    [Backend::Local, Backend::Memory]
        .map(|backend| {
            let config = TraceConfig { backend, ..TraceConfig::default() };
            open(&config, &DataDir::new(temp.path()), &Telemetry::unregistered()).unwrap()
        })
        .into()
}

#[tokio::test]
async fn one_of_many_creators_wins() {
    let temp = tempfile::tempdir().unwrap();
    for store in both(&temp) {
        let key = block_file(&TenantId::single(), &BlockId::generate(), BlockFile::Meta);
        let puts = (0..16u8).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.put_opts(&key, vec![writer; 1000].into(), PutMode::Create.into()).await })
        });
        let results: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<usize> = (0..16).filter(|index| results[*index].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{store}");
        let stored = store.get(&key).await.unwrap().bytes().await.unwrap();
        assert_eq!(stored, vec![winners[0] as u8; 1000]);
        let lost = results.into_iter().filter_map(Result::err);
        assert!(lost.into_iter().all(|error| matches!(error, object_store::Error::AlreadyExists { .. })));
    }
}

#[tokio::test]
async fn keys_of_every_tenant_come_back_from_a_listing() {
    let temp = tempfile::tempdir().unwrap();
    for store in both(&temp) {
        for id in ["a", "*'()!-_.", "...", "2A"] {
            let tenant = TenantId::parse(id).unwrap();
            let key = block_file(&tenant, &BlockId::generate(), BlockFile::Spans);
            store.put(&key, PutPayload::from_static(b"x")).await.unwrap();
            let listed: Vec<_> = store.list(Some(&blocks(&tenant))).try_collect().await.unwrap();
            assert_eq!(listed.iter().map(|meta| &meta.location).collect::<Vec<_>>(), [&key], "{store}");
            let prefixes = store.list_with_delimiter(None).await.unwrap().common_prefixes;
            assert!(prefixes.iter().any(|prefix| crate::paths::tenant_of(prefix) == Some(tenant.clone())), "{store}");
        }
    }
}

#[tokio::test]
async fn unfinished_objects_are_removed_at_start_and_deleting_leaves_no_folders() {
    let temp = tempfile::tempdir().unwrap();
    let dir = DataDir::new(temp.path());
    let config = TraceConfig::default();
    let key = block_file(&TenantId::single(), &BlockId::generate(), BlockFile::Spans);
    let store = open(&config, &dir, &Telemetry::unregistered()).unwrap();
    store.put(&key, PutPayload::from_static(b"whole")).await.unwrap();
    let object = dir.blocks_dir().join(key.as_ref());
    let staged = object.with_file_name("traces.parquet#1");
    std::fs::write(&staged, "half").unwrap();

    let store = open(&config, &dir, &Telemetry::unregistered()).unwrap();
    assert!(object.exists() && !staged.exists());
    store.delete(&key).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.blocks_dir()).unwrap().count(), 0);
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_outcome() {
    let mut registry = Registry::default();
    let config = TraceConfig { backend: Backend::Memory, ..TraceConfig::default() };
    let store = open(&config, &DataDir::new("unused"), &Telemetry::register(&mut registry)).unwrap();
    let key = block_file(&TenantId::single(), &BlockId::generate(), BlockFile::Spans);
    store.get(&key).await.unwrap_err();
    store.put(&key, PutPayload::from_static(b"x")).await.unwrap();
    store.put_opts(&key, PutPayload::new(), PutMode::Create.into()).await.unwrap_err();
    store.list(None).try_collect::<Vec<_>>().await.unwrap();
    store.delete(&key).await.unwrap();
    drop(store.get(&key)); // never polled: no request

    let text = crate::telemetry::tests::text(&registry);
    for (operation, status) in [("GET", 404), ("PUT", 200), ("PUT", 412), ("LIST", 200), ("DELETE", 200)] {
        let line = format!(
            "tempodb_backend_request_duration_seconds_count{{operation=\"{operation}\",status_code=\"{status}\"}} 1"
        );
        assert!(text.contains(&line), "{line} not in {text}");
    }
}

/// A configuration in JSON, which is YAML too.
fn remote(text: &str) -> TraceConfig {
    serde_json::from_str(text).unwrap()
}

#[test]
fn clients_of_all_stores_are_made_without_a_request() {
    for text in [
        r#"{"backend": "s3", "s3": {"bucket": "b"}}"#,
        r#"{"backend": "s3", "s3": {"bucket": "b", "prefix": "/a/b/", "endpoint": "minio:9000", "insecure": true,
            "access_key": "a", "secret_key": "s", "forcepathstyle": true}}"#,
        r#"{"backend": "gcs", "gcs": {"bucket_name": "b"}}"#,
        r#"{"backend": "gcs", "gcs": {"bucket_name": "b", "endpoint": "127.0.0.1:1", "insecure": true}}"#,
        r#"{"backend": "azure", "azure": {"storage_account_name": "a", "container_name": "c"}}"#,
        r#"{"backend": "azure", "azure": {"storage_account_name": "a", "container_name": "c", "storage_account_key": "a2V5"}}"#,
    ] {
        check(&remote(text)).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn settings_that_cannot_work_are_named_in_one_line() {
    for (text, named) in [
        (r#"{"backend": "s3"}"#, "storage.trace.s3.bucket is missing"),
        (r#"{"backend": "s3", "s3": {"bucket": "b", "access_key": "a"}}"#, "one of access_key and secret_key"),
        (r#"{"backend": "s3", "s3": {"bucket": "b", "session_token": "a"}}"#, "storage.trace.s3.session_token"),
        (r#"{"backend": "s3", "s3": {"bucket": "b", "endpoint": "http://a"}}"#, "storage.trace.s3.endpoint"),
        (r#"{"backend": "s3", "s3": {"bucket": "b", "part_size": 1000}}"#, "storage.trace.s3.part_size"),
        (r#"{"backend": "s3", "s3": {"bucket": "b", "prefix": "a//b"}}"#, "storage.trace.s3.prefix"),
        (r#"{"backend": "s3", "s3": {"bucket": "b", "tls_ca_path": "/nowhere"}}"#, "/nowhere"),
        (
            r#"{"backend": "s3", "s3": {"bucket": "b", "forcepathstyle": true, "bucket_lookup_type": "dns"}}"#,
            "storage.trace.s3.bucket_lookup_type",
        ),
        (r#"{"backend": "gcs"}"#, "storage.trace.gcs.bucket_name is missing"),
        (r#"{"backend": "azure", "azure": {"container_name": "c"}}"#, "storage.trace.azure.storage_account_name"),
        (r#"{"backend": "azure", "azure": {"storage_account_name": "a"}}"#, "storage.trace.azure.container_name"),
        (
            r#"{"backend": "azure", "azure": {"storage_account_name": "a", "container_name": "c", "storage_account_key": "-"}}"#,
            "storage.trace.azure cannot be used",
        ),
    ] {
        let error = check(&remote(text)).expect_err(text).to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{error} does not name {named}");
    }
}

#[tokio::test]
async fn a_store_that_creates_only_what_is_absent_passes_the_probe() {
    let temp = tempfile::tempdir().unwrap();
    for store in both(&temp) {
        for _ in 0..2 {
            probe(store.as_ref()).await.unwrap();
        }
        let listed = store.list_with_delimiter(None).await.unwrap();
        assert!(listed.common_prefixes.is_empty(), "the probe is not taken for a tenant");
    }
}
