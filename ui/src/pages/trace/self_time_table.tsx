// Self time by service and operation: where the time of the trace went.

import { useMemo, useState } from "preact/hooks";
import { count, duration, percent } from "../../format.ts";
import { Service } from "../../parts/service.tsx";
import { hrefWith } from "../../place.ts";
import type { Trace } from "../../trace/model.ts";
import type { OperationTimes } from "../../trace/self_time.ts";
import { operationTimes } from "../../trace/self_time.ts";

type Column = "service" | "name" | "self" | "total" | "average" | "longest" | "spans" | "errors";

const COLUMNS: [Column, string][] = [
  ["service", "Service"],
  ["name", "Operation"],
  ["self", "Self time"],
  ["total", "Total"],
  ["average", "Average"],
  ["longest", "Longest"],
  ["spans", "Spans"],
  ["errors", "Errors"],
];

export function SelfTimeTable({ trace, times }: { trace: Trace; times: Float64Array }) {
  const operations = useMemo(() => operationTimes(trace, times), [trace, times]);
  const [by, setBy] = useState<{ column: Column; down: boolean }>({ column: "self", down: true });
  const all = operations.reduce((sum, one) => sum + one.self, 0) || 1;
  const rows = useMemo(() => [...operations].sort((one, other) => compare(one, other, by.column) * (by.down ? -1 : 1)), [operations, by]);
  return (
    <section class="times" aria-label="Self time">
      <table>
        <caption class="unseen">{`Self time of ${trace.spans.length} spans by service and operation`}</caption>
        <thead>
          <tr>
            {COLUMNS.map(([column, title]) => (
              <th
                key={column}
                scope="col"
                class={column === "service" || column === "name" ? "" : "number"}
                aria-sort={by.column !== column ? "none" : by.down ? "descending" : "ascending"}
              >
                <button type="button" class="link" onClick={() => setBy({ column, down: by.column === column ? !by.down : true })}>
                  {title}
                  {by.column === column && (by.down ? " ↓" : " ↑")}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((one) => (
            <tr key={`${one.service}\0${one.name}`}>
              <td><Service name={one.service} /></td>
              <td><a href={hrefWith({ view: null, find: one.name })}>{one.name}</a></td>
              <td class="number share">
                <span class="bar" style={{ width: `${(100 * one.self) / all}%` }} />
                <span>{duration(one.self)} <span class="hint">{percent(one.self / all)}</span></span>
              </td>
              <td class="number">{duration(one.total)}</td>
              <td class="number">{duration(one.total / one.spans)}</td>
              <td class="number">{duration(one.longest)}</td>
              <td class="number">{count(one.spans)}</td>
              <td class="number">{one.errors ? <b class="error-text">{count(one.errors)}</b> : "0"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function compare(one: OperationTimes, other: OperationTimes, column: Column): number {
  if (column === "service" || column === "name") return one[column] < other[column] ? 1 : -1;
  const value = (times: OperationTimes) => (column === "average" ? times.total / times.spans : times[column]);
  return value(one) - value(other);
}
