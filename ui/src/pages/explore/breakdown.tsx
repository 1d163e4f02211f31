// Rate, errors and duration for each value of an attribute.

import { useEffect, useState } from "preact/hooks";
import { useLoad } from "../../api/load.ts";
import { atOnce, overTime, stepSeconds } from "../../api/metrics.ts";
import type { Series } from "../../api/metrics.ts";
import { tagNames } from "../../api/tags.ts";
import { duration, percent, short } from "../../format.ts";
import { useDraft } from "../../parts/draft.ts";
import { ErrorNotice, Notice, Progress } from "../../parts/notices.tsx";
import { narrowed } from "../../parts/query.ts";
import { Service } from "../../parts/service.tsx";
import { go, hrefWith } from "../../place.ts";
import type { Asked } from "../explore.tsx";
import { rates } from "./queries.ts";

const DEFAULT = "resource.service.name";
const SHOWN = 50;
const SPARK_POINTS = 40;

interface Part {
  value: string;
  /** As a filter writes it; `null` for spans without the attribute. */
  literal: string | null;
  rate: number;
  errors: number;
  p95: number | null;
  overTime: number[];
}

export function Breakdown({ asked, params }: { asked: Asked; params: URLSearchParams }) {
  const by = params.get("by") ?? DEFAULT;
  const loaded = useLoad(`${asked.key}\n${by}`, (signal) => load(asked, by, signal));
  const parts = loaded.data ?? [];
  const most = parts.reduce((highest, part) => Math.max(highest, part.rate), 0) || 1;
  return (
    <section class="breakdown" aria-label="Breakdown">
      <AttributeField asked={asked} by={by} />
      <Progress loading={loaded.loading} what="Loading the breakdown" />
      {loaded.error && <ErrorNotice error={loaded.error} />}
      {loaded.data && !parts.length && <Notice title="No spans in this range" />}
      {parts.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">{by}</th>
              <th scope="col" class="number">Rate</th>
              <th scope="col">Over time</th>
              <th scope="col" class="number">Errors</th>
              <th scope="col" class="number">p95</th>
            </tr>
          </thead>
          <tbody>
            {parts.slice(0, SHOWN).map((part) => (
              <tr key={part.value}>
                <td>
                  {part.literal === null ? (
                    <span class="hint">{part.value}</span>
                  ) : (
                    <a href={hrefWith({ q: narrowed(asked.query, [{ name: by, operator: "=", value: part.literal }]) })}>
                      {by === DEFAULT ? <Service name={part.value} /> : part.value}
                    </a>
                  )}
                </td>
                <td class="number share">
                  <span class="bar" style={{ width: `${(100 * part.rate) / most}%` }} />
                  <span>{short(part.rate)}/s</span>
                </td>
                <td><Spark values={part.overTime} /></td>
                <td class="number">{part.errors ? <b class="error-text">{percent(part.errors / part.rate)}</b> : "0 %"}</td>
                <td class="number">{part.p95 === null ? "–" : duration(part.p95)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {parts.length > SHOWN && <p class="hint">{SHOWN} of {parts.length} values, the most frequent.</p>}
    </section>
  );
}

function AttributeField({ asked, by }: { asked: Asked; by: string }) {
  const [names, setNames] = useState<string[]>([]);
  const [text, setText] = useDraft(by);
  useEffect(() => {
    tagNames(asked.span).then(setNames, () => setNames([]));
  }, [asked.key]);
  return (
    <label class="by">
      <span>By</span>
      <input
        list="breakdown-names"
        value={text}
        aria-label="Break down by"
        spellcheck={false}
        onFocus={(event) => event.currentTarget.select()}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => go(hrefWith({ by: event.currentTarget.value.trim() }))}
      />
      <datalist id="breakdown-names">{names.map((name) => <option key={name} value={name} />)}</datalist>
    </label>
  );
}

async function load(asked: Asked, by: string, signal: AbortSignal): Promise<Part[]> {
  const step = stepSeconds(asked.span, SPARK_POINTS);
  const grouped = by === "status" ? "status" : `${by}, status`;
  const [counted, timed] = await Promise.all([
    overTime(`${asked.query} | rate() by(${grouped})`, asked.span, step, signal),
    atOnce(`${asked.query} | quantile_over_time(duration, .95) by(${by})`, asked.span, signal),
  ]);
  const p95 = new Map(timed.map((series) => [series.labels.get(by), series.value * 1e9]));
  return [...groupBy(counted, by)].map(([value, series]) => part(value, series, by, p95)).sort((one, other) => other.rate - one.rate);
}

function groupBy(series: Series[], by: string): Map<string, Series[]> {
  const groups = new Map<string, Series[]>();
  for (const one of series) {
    const value = one.labels.get(by) ?? "nil";
    const group = groups.get(value);
    if (group) group.push(one);
    else groups.set(value, [one]);
  }
  return groups;
}

function part(value: string, series: Series[], by: string, p95: Map<string | undefined, number>): Part {
  const { all, failed } = rates(series);
  const mean = (values: number[]) => values.reduce((sum, one) => sum + one, 0) / Math.max(1, values.length);
  return {
    value,
    literal: series[0]!.literals.get(by) ?? null,
    rate: mean(all),
    errors: mean(failed),
    p95: p95.get(value) ?? null,
    overTime: all,
  };
}

const WIDTH = 160;
const HEIGHT = 18;

function Spark({ values }: { values: number[] }) {
  const most = Math.max(...values, Number.MIN_VALUE);
  const points = values.map((value, place) => `${(place * WIDTH) / Math.max(1, values.length - 1)},${HEIGHT - (value / most) * (HEIGHT - 2)}`);
  return (
    <svg class="spark" width={WIDTH} height={HEIGHT} aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}
