// Is something wrong? Counters that stay at zero as long as all is well.

import type { Metrics } from "../../api/prometheus.ts";
import { count } from "../../format.ts";
import { Card } from "./card.tsx";

const FAULTS: [string, string][] = [
  ["tempo_ingester_failed_flushes_total", "blocks could not be stored; spans stay in the log and are tried again"],
  ["mosso_ingester_log_failures_total", "the log could not be written: spans were refused"],
  ["tempo_ingester_replay_errors_total", "parts of the log could not be read back at the start"],
  ["tempo_discarded_spans_total", "spans were discarded"],
  ["tempodb_compaction_errors_total", "compactions failed and are tried again"],
  ["mosso_compaction_damaged_blocks_total", "blocks were left out of compaction for their damage"],
  ["mosso_storage_damaged_total", "parts of stored data are damaged: answers say what they lack"],
  ["mosso_index_failures_total", "indexes could not be read: queries take longer, and miss nothing"],
  ["tempodb_retention_errors_total", "expired blocks could not be dropped"],
  ["tempodb_blocklist_poll_errors_total", "the list of blocks could not be read anew"],
];

export function Trouble({ metrics }: { metrics: Metrics }) {
  const found = FAULTS.map(([name, meaning]) => ({ name, meaning, times: metrics.sum(name) })).filter(({ times }) => times > 0);
  return (
    <Card title="Is something wrong?" wide>
      {found.length === 0 ? (
        <p class="well">Nothing has failed since mosso started.</p>
      ) : (
        <ul class="faults">
          {found.map(({ name, meaning, times }) => (
            <li key={name}>
              <b class="error-text">{count(times)} ×</b> {meaning} <code class="hint">{name}</code>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
