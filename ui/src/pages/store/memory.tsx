// Where may memory go, and what do caches do with theirs?

import type { Metrics } from "../../api/prometheus.ts";
import { bytes, count, percent } from "../../format.ts";
import { Card } from "./card.tsx";

const BUDGET = "mosso_memory_budget_bytes";
const REQUESTS = "mosso_cache_requests_total";

export function Memory({ metrics }: { metrics: Metrics }) {
  const parts = metrics.samples(BUDGET).map(({ labels, value }) => ({ part: labels["part"] ?? "", value }));
  const most = parts.reduce((largest, { value }) => Math.max(largest, value), 1);
  return (
    <Card title="Where does memory go?" wide>
      <div class="memory">
        <table>
          <thead>
            <tr>
              <th scope="col">Budget</th>
              <th scope="col" class="number">At most</th>
            </tr>
          </thead>
          <tbody>
            {parts.sort((one, other) => other.value - one.value).map(({ part, value }) => (
              <tr key={part}>
                <td>{spaced(part)}</td>
                <td class="number share">
                  <span class="bar" style={{ width: `${(100 * value) / most}%` }} />
                  <span>{bytes(value)}</span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        <table>
          <thead>
            <tr>
              <th scope="col">Cache</th>
              <th scope="col" class="number">Holds</th>
              <th scope="col" class="number">Hits</th>
              <th scope="col" class="number">Asked</th>
              <th scope="col" class="number">Evicted</th>
            </tr>
          </thead>
          <tbody>
            {metrics.values("mosso_cache_bytes", "cache").sort().map((cache) => {
              const hits = metrics.sum(REQUESTS, { cache, outcome: "hit" });
              const asked = metrics.sum(REQUESTS, { cache });
              return (
                <tr key={cache}>
                  <td>{spaced(cache)}</td>
                  <td class="number">{bytes(metrics.sum("mosso_cache_bytes", { cache }))}</td>
                  <td class="number">{asked ? percent(hits / asked) : "–"}</td>
                  <td class="number">{count(asked)}</td>
                  <td class="number">{count(metrics.sum("mosso_cache_evictions_total", { cache }))}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

function spaced(name: string): string {
  return name.replaceAll("_", " ");
}
