//! What a configuration has stored, opened to be looked at.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use model::{BlockId, TenantId};
use object_store::ObjectStore;
use storage::cpu::CpuPool;
use storage::manifest::{BlockEntry, Manifest};
use storage::{Telemetry, manifest, objects};

use crate::config::Config;

/// The object store of a configuration.
pub(super) struct Stored {
    pub objects: Arc<dyn ObjectStore>,
    pub manifests: manifest::Store,
    pub cpu: CpuPool,
}

impl Stored {
    /// Opens the store as it is, whoever else uses it, and reads the manifests.
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let trace = &config.storage.trace;
        let (dir, telemetry) = (trace.data_dir(&config.data_dir), Telemetry::unregistered());
        let open = async {
            let objects = objects::open_to_read(trace, &dir, &telemetry)?;
            let manifests = manifest::Store::open(objects.clone(), telemetry).await?;
            let cpu = CpuPool::of_all_cores();
            Ok::<_, storage::Error>(Self { objects, manifests, cpu })
        };
        open.await.with_context(|| format!("open {}", trace.store_name()))
    }

    /// The tenants asked for.
    pub(super) fn tenants(&self, wanted: Option<&TenantId>) -> Result<Vec<TenantId>> {
        let tenants = self.manifests.tenants();
        match wanted {
            None => Ok(tenants),
            Some(tenant) if tenants.contains(tenant) => Ok(vec![tenant.clone()]),
            Some(tenant) => bail!("tenant {tenant} has no blocks; {}", named(&tenants)),
        }
    }

    /// The tenant asked for, or the only one there is.
    pub(super) fn one_tenant(&self, wanted: Option<&TenantId>) -> Result<TenantId> {
        match self.tenants(wanted)?.as_slice() {
            [tenant] => Ok(tenant.clone()),
            tenants => bail!("name one tenant with --tenant; {}", named(tenants)),
        }
    }

    /// Finds a block; an error says where it was looked for.
    pub(super) async fn block(&self, id: BlockId, wanted: Option<&TenantId>) -> Result<(TenantId, BlockEntry)> {
        let tenants = self.tenants(wanted)?;
        for tenant in &tenants {
            let manifest = self.manifest(tenant).await?;
            if let Some(entry) = manifest.block(&id) {
                return Ok((tenant.clone(), entry.clone()));
            }
        }
        bail!("no manifest names block {id}; {}", named(&tenants))
    }

    pub(super) async fn manifest(&self, tenant: &TenantId) -> Result<Arc<Manifest>, storage::Error> {
        self.manifests.load(tenant).await
    }
}

fn named(tenants: &[TenantId]) -> String {
    match tenants {
        [] => "the store has no blocks".to_owned(),
        tenants => format!("tenants: {}", tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join(", ")),
    }
}
