// This trace beside another: where the other took longer, what only one of them did.

import { useMemo } from "preact/hooks";
import { useLoad } from "../../api/load.ts";
import { traceById } from "../../api/trace.ts";
import { count, duration } from "../../format.ts";
import { useDraft } from "../../parts/draft.ts";
import { ErrorNotice, Progress } from "../../parts/notices.tsx";
import { Service } from "../../parts/service.tsx";
import { go, href, hrefWith } from "../../place.ts";
import type { DiffRow, Side } from "../../trace/diff.ts";
import { diffOf } from "../../trace/diff.ts";
import { flameOf } from "../../trace/flame.ts";
import type { Trace } from "../../trace/model.ts";

const SHOWN = 500;
const INDENT = 14;

export function DiffView({ trace, other, tenant }: { trace: Trace; other: string; tenant: string }) {
  const loaded = useLoad(other ? `${other} ${tenant}` : null, (signal) => traceById(other, signal));
  const otherTrace = loaded.data?.trace ?? null;
  const rows = useMemo(() => (otherTrace ? diffOf(flameOf(trace), flameOf(otherTrace)) : []), [trace, otherTrace]);
  return (
    <section class="diff" aria-label="Difference">
      <OtherField other={other} />
      <Progress loading={loaded.loading} what="Loading the other trace" />
      {loaded.error && <ErrorNotice error={loaded.error} />}
      {otherTrace && <DiffTable trace={trace} other={otherTrace} rows={rows} />}
    </section>
  );
}

function OtherField({ other }: { other: string }) {
  const [text, setText] = useDraft(other);
  return (
    <form
      class="compare-selection"
      onSubmit={(event) => {
        event.preventDefault();
        go(hrefWith({ with: text.trim().toLowerCase() }));
      }}
    >
      <label>
        <span>Beside trace</span>
        <input
          aria-label="Id of the other trace"
          value={text}
          pattern="[0-9a-fA-F]{1,32}"
          title="1 to 32 digits from 0 to f"
          spellcheck={false}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Compare</button>
      <span class="hint">Time is that of an operation and all below it; work at the same time adds up.</span>
    </form>
  );
}

function DiffTable({ trace, other, rows }: { trace: Trace; other: Trace; rows: DiffRow[] }) {
  const most = rows.reduce((largest, row) => Math.max(largest, Math.abs(row.longer)), 1);
  return (
    <>
      <table>
        <thead>
          <tr>
            <th scope="col">Service and operation</th>
            <th scope="col" class="number">This, {duration(trace.duration)}</th>
            <th scope="col" class="number">
              <a href={href("trace", { id: other.id })}>Other</a>, {duration(other.duration)}
            </th>
            <th scope="col" class="number">Difference</th>
            <th scope="col">Quicker or longer</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, SHOWN).map((row, place) => (
            <tr key={place}>
              <td style={{ paddingLeft: `${10 + row.depth * INDENT}px` }}>
                <Service name={row.service} /> {row.name}
                {!row.after && <span class="tag">only in this</span>}
                {!row.before && <span class="tag warning">only in the other</span>}
              </td>
              <SideCell side={row.before} />
              <SideCell side={row.after} />
              <td class="number">{signed(row.longer)}</td>
              <td class="diverging">
                <i
                  class={row.longer < 0 ? "quicker" : "longer"}
                  style={{ width: `${(50 * Math.abs(row.longer)) / most}%`, ...(row.longer < 0 ? { right: "50%" } : { left: "50%" }) }}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > SHOWN && <p class="hint">{count(SHOWN)} of {count(rows.length)} operations.</p>}
    </>
  );
}

function SideCell({ side }: { side: Side | null }) {
  if (!side) return <td class="number hint">–</td>;
  return (
    <td class="number">
      {side.errors > 0 && <span class="tag error">{count(side.errors)} failed</span>} {duration(side.total)}{" "}
      <span class="hint">{count(side.spans)} ×</span>
    </td>
  );
}

function signed(nanos: number): string {
  if (nanos === 0) return "0";
  return nanos < 0 ? `−${duration(-nanos)}` : `+${duration(nanos)}`;
}
