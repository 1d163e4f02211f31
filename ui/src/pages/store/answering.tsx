// Does it answer? Queries by kind, how long they take, how many are refused.

import type { Metrics } from "../../api/prometheus.ts";
import { bytes, count, duration, short } from "../../format.ts";
import { Card } from "./card.tsx";
import { mean, rateNow } from "./rates.ts";

const QUERIES = "tempo_query_frontend_queries_total";
const INSPECTED = "tempo_query_frontend_bytes_inspected_total";
const REQUESTS = "tempo_request_duration_seconds";

const KINDS: [string, string, string[]][] = [
  ["search", "Search", ["api_search"]],
  ["traces", "Trace by id", ["api_traces_traceid", "api_v2_traces_traceid"]],
  ["metrics", "Metrics", ["api_metrics_query_range", "api_metrics_query"]],
  ["service_graph", "Service map", ["api_service_graph"]],
  ["metadata", "Names and values", ["api_search_tags", "api_v2_search_tags", "api_search_tag_tagname_values", "api_v2_search_tag_tagname_values"]],
];

export function Answering({ history }: { history: Metrics[] }) {
  const newest = history.at(-1)!;
  return (
    <Card title="Does it answer?" wide>
      <table>
        <thead>
          <tr>
            <th scope="col">Queries</th>
            <th scope="col" class="number">Now</th>
            <th scope="col" class="number">Since the start</th>
            <th scope="col" class="number">Average</th>
            <th scope="col" class="number">Read</th>
            <th scope="col" class="number">Failed</th>
          </tr>
        </thead>
        <tbody>
          {KINDS.map(([op, title, routes]) => {
            const now = rateNow(history, (metrics) => metrics.sum(QUERIES, { op }));
            const failed = newest.samples(`${REQUESTS}_count`).filter(({ labels }) => routes.includes(labels["route"] ?? "") && (labels["status_code"] ?? "") >= "500");
            const failures = failed.reduce((sum, { value }) => sum + value, 0);
            return (
              <tr key={op}>
                <td>{title}</td>
                <td class="number">{now === null ? "…" : `${short(now)}/s`}</td>
                <td class="number">{count(newest.sum(QUERIES, { op }))}</td>
                <td class="number">{averageOf(newest, routes)}</td>
                <td class="number">{bytes(newest.sum(INSPECTED, { op }))}</td>
                <td class="number">{failures ? <b class="error-text">{count(failures)}</b> : "0"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Card>
  );
}

function averageOf(metrics: Metrics, routes: string[]): string {
  const means = routes.flatMap((route) => {
    const seconds = mean(metrics, REQUESTS, { route });
    return seconds === null ? [] : [{ seconds, number: metrics.sum(`${REQUESTS}_count`, { route }) }];
  });
  const number = means.reduce((sum, one) => sum + one.number, 0);
  return number ? duration((means.reduce((sum, one) => sum + one.seconds * one.number, 0) / number) * 1e9) : "–";
}
