// The traces found: one row each, a link, with its duration as a bar beside the others'.

import { useMemo } from "preact/hooks";
import type { FoundTrace } from "../../api/search.ts";
import { ago, clock, count, duration, plural } from "../../format.ts";
import { Service } from "../../parts/service.tsx";
import { href } from "../../place.ts";

const SHOWN_SERVICES = 5;

export function Results({ traces, query }: { traces: FoundTrace[]; query: string }) {
  const longest = useMemo(() => usualLongest(traces), [traces]);
  const now = Date.now();
  return (
    <table class="results">
      <thead>
        <tr>
          <th scope="col">Started</th>
          <th scope="col">Trace</th>
          <th scope="col">Duration</th>
          <th scope="col" class="number">Matched</th>
          <th scope="col" class="number">Spans</th>
          <th scope="col">Services</th>
        </tr>
      </thead>
      <tbody>
        {traces.map((trace) => (
          <Row key={trace.id} trace={trace} longest={longest} now={now} matches={query !== "{}"} />
        ))}
      </tbody>
    </table>
  );
}

/** A width for bars that one very long trace among many does not make useless. */
function usualLongest(traces: FoundTrace[]): number {
  const durations = traces.map((trace) => trace.duration).sort((one, other) => one - other);
  const usual = durations[Math.floor((durations.length - 1) * 0.9)] ?? 1;
  return Math.max(1, Math.min(durations.at(-1) ?? 1, 3 * usual));
}

function Row({ trace, longest, now, matches }: { trace: FoundTrace; longest: number; now: number; matches: boolean }) {
  const shown = trace.services.slice(0, SHOWN_SERVICES);
  const more = trace.services.length - shown.length;
  return (
    <tr class={trace.errors ? "failed" : ""}>
      <td class="when">
        <time dateTime={new Date(trace.start).toISOString()} title={ago(trace.start, now)}>{clock(trace.start, now)}</time>
      </td>
      <td class="what">
        <a href={href("trace", { id: trace.id, span: matches ? trace.span : null })}>
          <Service name={trace.service} /> <span class="operation">{trace.name || "no root span"}</span>
        </a>
        {trace.errors > 0 && <span class="tag error">{plural(trace.errors, "error")}</span>}
      </td>
      <td class="how-long">
        <span class="bar" style={{ width: `${Math.min(100, (100 * trace.duration) / longest)}%` }} />
        <span>{duration(trace.duration)}</span>
      </td>
      <td class="number">{count(trace.matched)}</td>
      <td class="number">{count(trace.spans)}</td>
      <td class="services">
        {shown.map((service) => <Service key={service.name} name={service.name} errors={service.errors} />)}
        {more > 0 && <span class="hint">+{more}</span>}
      </td>
    </tr>
  );
}
