// Does it take spans, and are they safe? Rates between polls, the log, the way into blocks.

import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import type { Metrics } from "../../api/prometheus.ts";
import { bytes, count, duration, plural, short } from "../../format.ts";
import { color } from "../../frame/theme.ts";
import { Plot, timeAxis, valueAxis } from "../../parts/plot.tsx";
import { readout } from "../../parts/readout.ts";
import { Card, Figure, Figures } from "./card.tsx";
import { mean, rateNow, ratesOf } from "./rates.ts";

const spans = (metrics: Metrics) => metrics.sum("tempo_distributor_spans_received_total");
const received = (metrics: Metrics) => metrics.sum("tempo_distributor_bytes_received_total");

export function Taking({ history }: { history: Metrics[] }) {
  const newest = history.at(-1)!;
  const spanRate = rateNow(history, spans);
  const byteRate = rateNow(history, received);
  const push = mean(newest, "tempo_distributor_push_duration_seconds");
  const flush = mean(newest, "tempo_ingester_flush_duration_seconds");
  const data = useMemo<uPlot.AlignedData>(() => [history.slice(1).map(({ at }) => at / 1000), ratesOf(history, spans)], [history]);
  return (
    <Card title="Does it take spans, and are they safe?">
      <Figures>
        <Figure name="Spans now" value={spanRate === null ? "…" : `${short(spanRate)}/s`} note={byteRate === null ? "" : `${bytes(byteRate)}/s`} />
        <Figure name="Since the start" value={count(spans(newest))} note={bytes(received(newest))} />
        <Figure name="Until acknowledged" value={push === null ? "–" : duration(push * 1e9)} note="on average, synced" />
        <Figure name="Live" value={count(newest.sum("mosso_ingester_live_spans"))} note="spans, not yet in blocks" />
        <Figure
          name="In the log"
          value={bytes(newest.sum("mosso_ingester_log_bytes"))}
          note={plural(newest.sum("mosso_ingester_log_segments"), "segment")}
        />
        <Figure
          name="Blocks written"
          value={count(newest.sum("tempo_ingester_blocks_flushed_total"))}
          note={flush === null ? "" : `${duration(flush * 1e9)} each`}
        />
      </Figures>
      {history.length > 2 && (
        <Plot
          label="Spans per second since this page was opened"
          height={110}
          data={data}
          optionsKey="taking"
          options={() => ({
            padding: [8, 8, 0, 0],
            scales: { y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] } },
            axes: [timeAxis(), valueAxis((value) => `${short(value)}/s`)],
            series: [{}, { stroke: color("accent"), width: 1.5, fill: `color-mix(in srgb, ${color("accent")} 16%, transparent)`, points: { show: false } }],
            cursor: { y: false },
            plugins: [readout(["spans"], (value) => `${short(value)}/s`)],
          })}
        />
      )}
    </Card>
  );
}
