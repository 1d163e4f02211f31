// What does it hold, for whom, and does it keep up with merging and dropping?

import type { Metrics } from "../../api/prometheus.ts";
import { bytes, count } from "../../format.ts";
import { hrefWith } from "../../place.ts";
import { Card, Figure, Figures } from "./card.tsx";

const SPANS = "tempo_distributor_spans_received_total";
const BLOCKS = "tempodb_blocklist_length";
const BYTES = "tempodb_backend_bytes_total";
const DISK = "mosso_disk_free_bytes";
const OUTSTANDING = "tempodb_compaction_outstanding_blocks";

export function Holding({ metrics, config }: { metrics: Metrics; config: string }) {
  const tenants = [...new Set([BLOCKS, SPANS].flatMap((name) => metrics.values(name, "tenant")))].sort();
  const setting = (name: string) => new RegExp(`\\b${name}: (\\S+)`).exec(config)?.[1] ?? "";
  return (
    <Card title="What does it hold, and does it keep up?">
      <Figures>
        <Figure name="Blocks" value={count(metrics.sum(BLOCKS))} note={bytes(metrics.sum(BYTES, { status: "live" }))} />
        <Figure name="Waiting to be merged" value={count(metrics.sum(OUTSTANDING))} note="blocks" />
        <Figure name="Waiting to be deleted" value={bytes(metrics.sum(BYTES, { status: "compacted" }))} note={`after ${readable(setting("compacted_block_retention"))}`} />
        <Figure name="Kept for" value={readable(setting("block_retention")) || "–"} note={`${count(metrics.sum("tempodb_retention_marked_for_deletion_total"))} blocks expired`} />
        {metrics.has(DISK) && <Figure name="Free disk" value={bytes(metrics.sum(DISK))} note={`of ${bytes(metrics.sum("mosso_disk_size_bytes"))}`} />}
        <Figure name="Stored in" value={setting("backend") || "–"} />
      </Figures>
      <table>
        <thead>
          <tr>
            <th scope="col">Tenant</th>
            <th scope="col" class="number">Spans since the start</th>
            <th scope="col" class="number">Blocks</th>
            <th scope="col" class="number">Stored</th>
            <th scope="col" class="number">To be merged</th>
          </tr>
        </thead>
        <tbody>
          {tenants.map((tenant) => (
            <tr key={tenant}>
              <td>{tenant === "single-tenant" ? tenant : <a href={hrefWith({ tenant })}>{tenant}</a>}</td>
              <td class="number">{count(metrics.sum(SPANS, { tenant }))}</td>
              <td class="number">{count(metrics.sum(BLOCKS, { tenant }))}</td>
              <td class="number">{bytes(metrics.sum(BYTES, { tenant, status: "live" }))}</td>
              <td class="number">{count(metrics.sum(OUTSTANDING, { tenant }))}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {tenants.length === 0 && <p class="hint">No data yet.</p>}
    </Card>
  );
}

/** Go's `168h0m0s` without what is zero. */
function readable(text: string): string {
  return text.replace(/(?<=[a-z])0[ms]/g, "").replace(/(?<=[a-z])0[ms]/g, "");
}
