//! What a query sees in a cluster: this process's live rows, the blocks of one manifest, and the rows of every other writer
//! that this manifest does not have. Every span once.
//!
//! ```text
//! members view (valid) ─▶ own rows ─▶ manifest M, at least as new as retired writers need ─▶ ask all writers at once
//!        ▲                                  ▲                                                  │
//!        │                                  └───── refresh ◀──── some rows are gone ◀──────────┤
//!        └── list again, once ◀──────────────────────────── some writer did not answer ◀───────┘
//! ```
//!
//! A writer that did not answer may have been retired since the members were listed; a second listing tells. If it is still
//! a member, the view says that its rows are missing, and whose.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use model::TenantId;
use object_store::ObjectStore;
use storage::block::{BlockCache, BlockSource};
use storage::manifest::{self, Manifest};
use storage::members::{LogPlace, Members, MembersView, Record};
use storage::memory::MemorySource;
use storage::source::Source;
use storage::view::{LiveRows, Reach, TenantView, Views};
use storage::{CpuPool, Error};
use tracing::{debug, warn};

use crate::Peers;
use crate::logged::{Beyond, Logged};
use crate::question::{Answer, Listed, PeerError, Question, Rows};
use crate::source::{PeerSource, TableCache, memory_bytes};
use crate::telemetry::Telemetry;

/// How often a view is begun at the most: manifests and members move on while it is put together.
const MOST_ATTEMPTS: usize = 5;

/// The most that one view holds of the rows of others: what growing tables have, or all where rows are gone too fast. The
/// query that has the view accounts for it.
const MOST_HELD_BYTES: usize = 256 << 20;

/// Views over all writers of a cluster.
pub struct ClusterViews {
    /// The rows of this process, if it is a writer.
    pub own: Option<Arc<dyn LiveRows>>,
    pub members: Arc<Members>,
    pub peers: Arc<dyn Peers>,
    /// What was fetched of others.
    pub tables: TableCache,
    /// Reads what those have logged that do not answer.
    pub logged: Logged,
    pub manifests: Arc<manifest::Store>,
    pub objects: Arc<dyn ObjectStore>,
    pub cpu: CpuPool,
    pub cache: BlockCache,
    pub telemetry: Telemetry,
}

/// What became of putting a view together.
enum Attempt {
    Done(TenantView),
    /// Rows have left for blocks of a newer manifest.
    Gone {
        manifest: u64,
        silent: Silent,
    },
    /// Some writers did not answer; the view has the others.
    Lacks(TenantView, Silent),
}

/// What was learnt of the rows of a writer.
enum Heard {
    Answer(Answer),
    /// It did not answer, and its log has these.
    Logged(Vec<Arc<MemorySource>>),
    /// It did not answer, and these are what it has shipped of its log.
    Shipped(Vec<Arc<MemorySource>>, Unheard),
}

/// Why nothing was.
struct Unheard {
    reason: String,
    is_news: bool,
}

/// Writers that did not answer.
#[derive(Default)]
struct Silent {
    writers: Vec<Arc<Record>>,
    /// Whether one of them was noticed just now: whoever noticed it before has listed the members again.
    is_news: bool,
}

impl Silent {
    fn add(&mut self, view: &mut TenantView, writer: Arc<Record>, unheard: Unheard) {
        view.missing.push(format!("writer {} at {}: {}", writer.writer, writer.address, unheard.reason));
        self.is_news |= unheard.is_news;
        self.writers.push(writer);
    }
}

#[async_trait]
impl Views for ClusterViews {
    async fn view(&self, tenant: &TenantId, reach: Reach) -> Result<TenantView, Error> {
        let mut members = self.members.view().await;
        let mut has_listed_again = false;
        for _ in 0..MOST_ATTEMPTS {
            match self.attempt(tenant, reach, &members).await? {
                Attempt::Done(view) => return Ok(view),
                Attempt::Gone { manifest, silent } => {
                    let found = self.manifests.refresh(tenant).await?;
                    debug!(%tenant, wanted = manifest, found = found.sequence, "live rows are gone to blocks");
                    if !has_listed_again && let Some(again) = self.list_again(&members, &silent).await {
                        (members, has_listed_again) = (Ok(again), true);
                    }
                }
                Attempt::Lacks(view, silent) => {
                    let again = if has_listed_again { None } else { self.list_again(&members, &silent).await };
                    let Some(again) = again else { return Ok(self.lacking(tenant, view)) };
                    (members, has_listed_again) = (Ok(again), true);
                }
            }
        }
        Err(Error::ViewOutOfDate { reason: "blocks were published faster than they could be read".to_owned() })
    }
}

impl ClusterViews {
    async fn attempt(
        &self,
        tenant: &TenantId,
        reach: Reach,
        members: &Result<Arc<MembersView>, Error>,
    ) -> Result<Attempt, Error> {
        // before the manifest: see storage/src/view.rs
        let own = self.own_tables(tenant).await?;
        let (writers, least_manifest, unknown) = match members {
            Ok(view) => (view.writers.clone(), view.least_manifest(tenant), None),
            Err(error) => {
                let last = self.members.last_view().await;
                let writers = last.map(|view| view.writers.clone()).unwrap_or_default();
                (writers, 0, Some(format!("who has them is not known: {error}")))
            }
        };
        let mut manifest = self.manifests.load(tenant).await?;
        if manifest.sequence < least_manifest {
            manifest = self.manifests.refresh(tenant).await?;
        }
        let own = own.filter(|_| self.has_own_log(&manifest));
        let own_incarnation = own.as_ref().and(self.own.as_ref()).map(|own| own.writer().incarnation);
        let is_other = |writer: &&Arc<Record>| own_incarnation.is_none_or(|own| own != writer.incarnation);
        let others: Vec<Arc<Record>> = writers.iter().filter(is_other).cloned().collect();
        self.telemetry.writers(writers.len());
        let answers = join_all(others.iter().map(|writer| self.hear(writer, tenant, reach, &manifest))).await;

        let blocks = BlockSource::all(tenant, &manifest, &self.objects, &self.cpu, &self.cache);
        let own = own.filter(|_| !members.as_ref().is_ok_and(|view| self.is_adopted(view)));
        let mut view = match (&self.own, own) {
            (Some(live), Some(tables)) => TenantView::new(&live.writer(), tables, &manifest, blocks),
            _ => TenantView::of(blocks.into_iter().map(|block| Arc::new(block) as Arc<dyn Source>).collect()),
        };
        let (mut silent, mut gone_to) = (Silent::default(), None);
        for (writer, answer) in others.into_iter().zip(answers) {
            match answer {
                Ok(Heard::Answer(Answer::Gone { manifest })) => gone_to = gone_to.max(Some(manifest)),
                Ok(Heard::Logged(rows)) => hold(&mut view, rows)?,
                Ok(Heard::Shipped(rows, unheard)) => {
                    hold(&mut view, rows)?;
                    silent.add(&mut view, writer, unheard);
                }
                Ok(Heard::Answer(Answer::Rows(listed))) => {
                    match self.add(&mut view, &writer, tenant, reach, listed).await {
                        // the next attempt asks this writer anew, and has what is in blocks by now
                        Err(Error::ViewOutOfDate { .. }) => gone_to = gone_to.max(Some(manifest.sequence + 1)),
                        added => added?,
                    }
                }
                Err(unheard) => silent.add(&mut view, writer, unheard),
            }
        }
        if let Some(manifest) = gone_to {
            return Ok(Attempt::Gone { manifest, silent });
        }
        let mut view = view.without_deleted(&manifest).await?;
        view.missing.extend(unknown);
        if self.own.as_ref().is_some_and(|own| !own.is_whole()) {
            view.missing.push("this process is still reading its log".to_owned());
        }
        Ok(match (view.missing.is_empty(), silent.writers.is_empty()) {
            (true, _) => Attempt::Done(view),
            (false, true) => Attempt::Done(self.lacking(tenant, view)),
            (false, false) => Attempt::Lacks(view, silent),
        })
    }

    async fn own_tables(&self, tenant: &TenantId) -> Result<Option<Vec<storage::view::LiveTable>>, Error> {
        let Some(live) = self.own.clone() else { return Ok(None) };
        let tenant = tenant.clone();
        self.cpu.run(move || live.tables(&tenant)).await?.map(Some)
    }

    /// Whether others have adopted the log of this process: all that it has acknowledged is in blocks by now.
    fn is_adopted(&self, members: &MembersView) -> bool {
        let own = self.own.as_ref().map(|own| own.writer());
        own.is_some_and(|own| own.is_of_one_start() && !members.has(&own.incarnation))
    }

    /// Whether this process alone has published its log. Otherwise its rows are looked for as those of any other writer.
    fn has_own_log(&self, manifest: &Manifest) -> bool {
        self.own.as_ref().is_some_and(|own| own.has_cut_at(manifest.published_by(&own.writer())))
    }

    /// Asks a writer; if it does not answer, its log, if that can be read.
    async fn hear(
        &self,
        writer: &Record,
        tenant: &TenantId,
        reach: Reach,
        manifest: &Manifest,
    ) -> Result<Heard, Unheard> {
        let error = match self.ask(writer, tenant, reach, manifest).await {
            Ok(answer) => return Ok(Heard::Answer(answer)),
            Err(error) => error,
        };
        let is_news = !matches!(error, PeerError::Lately(_));
        if !writer.is_on_bucket() {
            return Err(Unheard { reason: error.to_string(), is_news });
        }
        match self.logged.beyond(writer, tenant, manifest).await {
            Ok(Beyond::Rows(rows)) => {
                self.telemetry.read_log();
                Ok(match writer.log {
                    LogPlace::Bucket => Heard::Logged(rows),
                    LogPlace::Local => {
                        let reason = format!("{error}; what it has shipped of its log is here, the last of it is not");
                        Heard::Shipped(rows, Unheard { reason, is_news })
                    }
                })
            }
            Ok(Beyond::Gone { manifest }) => Ok(Heard::Answer(Answer::Gone { manifest })),
            Err(Error::ViewOutOfDate { .. }) => Ok(Heard::Answer(Answer::Gone { manifest: manifest.sequence + 1 })),
            Err(unread) => Err(Unheard { reason: format!("{error}, and its log cannot be read: {unread}"), is_news }),
        }
    }

    async fn ask(
        &self,
        writer: &Record,
        tenant: &TenantId,
        reach: Reach,
        manifest: &Manifest,
    ) -> Result<Answer, PeerError> {
        let question = Question {
            tenant: tenant.clone(),
            incarnation: writer.incarnation,
            manifest: manifest.sequence,
            watermark: manifest.published_by(&writer.writer()),
            reach,
        };
        self.peers.live(writer, &question).await
    }

    /// Adds the rows of one writer to a view.
    async fn add(
        &self,
        view: &mut TenantView,
        writer: &Arc<Record>,
        tenant: &TenantId,
        reach: Reach,
        listed: Vec<Listed>,
    ) -> Result<(), Error> {
        let mut held = Vec::new();
        for listed in listed {
            let id = match listed.rows {
                Rows::Kept(id) => id,
                Rows::Given(table) => {
                    held.push(Arc::new(self.cpu.run(move || MemorySource::new(listed.block_id, table)).await??));
                    continue;
                }
            };
            let source = PeerSource {
                listed,
                id,
                tenant: tenant.clone(),
                writer: writer.clone(),
                peers: self.peers.clone(),
                tables: self.tables.clone(),
                cpu: self.cpu.clone(),
            };
            match reach {
                Reach::Held => held.push(source.rows().await?),
                _ => view.sources.push(Arc::new(source)),
            }
        }
        hold(view, held)
    }

    /// Newer members, if among them some of the silent ones are missing.
    async fn list_again(&self, members: &Result<Arc<MembersView>, Error>, silent: &Silent) -> Option<Arc<MembersView>> {
        let before = members.as_ref().ok().filter(|_| !silent.writers.is_empty())?;
        let now = match silent.is_news {
            true => self.members.view_after(before).await.ok()?,
            false => self.members.last_view().await.filter(|view| view.is_valid())?,
        };
        self.tables.keep_of(|incarnation| now.has(incarnation));
        silent.writers.iter().any(|writer| !now.has(&writer.incarnation)).then_some(now)
    }

    fn lacking(&self, tenant: &TenantId, view: TenantView) -> TenantView {
        self.telemetry.partial();
        warn!(%tenant, missing = view.missing.join("; "), "live spans of other processes are missing in an answer");
        view
    }
}

/// Adds rows that the view holds.
fn hold(view: &mut TenantView, rows: Vec<Arc<MemorySource>>) -> Result<(), Error> {
    view.held_bytes += rows.iter().map(|source| memory_bytes(source)).sum::<usize>();
    view.sources.extend(rows.into_iter().map(|source| source as Arc<dyn Source>));
    if view.held_bytes > MOST_HELD_BYTES {
        let reason = "they are gone before they can be read, and too many to be held".to_owned();
        return Err(Error::LiveSpans { reason });
    }
    Ok(())
}
