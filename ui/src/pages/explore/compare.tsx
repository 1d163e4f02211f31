// What is different about some of the spans: for each attribute, how the values of these differ from those of the others.

import { useLoad } from "../../api/load.ts";
import { atOnce } from "../../api/metrics.ts";
import type { Series } from "../../api/metrics.ts";
import { clock, count, percent } from "../../format.ts";
import { useDraft } from "../../parts/draft.ts";
import { ErrorNotice, Notice, Progress } from "../../parts/notices.tsx";
import { narrowed } from "../../parts/query.ts";
import { go, href, hrefWith } from "../../place.ts";
import type { Asked } from "../explore.tsx";

const DEFAULT = "status = error";
const TOP_VALUES = 10;
const SHOWN_VALUES = 5;
const SHOWN_ATTRIBUTES = 24;

export interface ComparedValue {
  value: string;
  literal: string | null;
  /** Shares of all spans of either side. */
  selection: number;
  baseline: number;
}

export interface ComparedAttribute {
  name: string;
  values: ComparedValue[];
  /** The largest difference of shares. */
  difference: number;
}

export function Compare({ asked, params }: { asked: Asked; params: URLSearchParams }) {
  const selection = params.get("sel") ?? DEFAULT;
  const from = Number(params.get("selfrom"));
  const to = Number(params.get("selto"));
  const [text, setText] = useDraft(selection);
  const bounds = from > 0 && to > from ? `, ${from}000000, ${to}000000` : "";
  const loaded = useLoad(`${asked.key}\n${selection}\n${bounds}`, (signal) =>
    atOnce(`${asked.query} | compare({ ${selection} }, ${TOP_VALUES}${bounds})`, asked.span, signal).then(compared),
  );
  const result = loaded.data;
  return (
    <section class="compare" aria-label="What is different">
      <form
        class="compare-selection"
        onSubmit={(event) => {
          event.preventDefault();
          go(hrefWith({ sel: text.trim() || null }));
        }}
      >
        <label>
          <span>Spans with</span>
          <input aria-label="Selection" value={text} spellcheck={false} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
        {bounds && (
          <span class="tag">
            {clock(from)} – {clock(to)}{" "}
            <button type="button" class="link" onClick={() => go(hrefWith({ selfrom: null, selto: null }))}>all times</button>
          </span>
        )}
        <button type="submit">Compare</button>
        {result && (
          <span class="hint">
            {count(result.selected)} of these, {count(result.others)} others
          </span>
        )}
      </form>
      <Progress loading={loaded.loading} what="Comparing" />
      {loaded.error && <ErrorNotice error={loaded.error} />}
      {result && result.selected === 0 && <Notice title="No span is selected"><p>Drag over the durations above, or write another condition.</p></Notice>}
      {result && result.selected > 0 && (
        <>
          <p class="hint legend-compare"><i class="these" /> these <i class="others" /> the others; most different first</p>
          <div class="differences">
            {result.attributes.filter(isDifferent).slice(0, SHOWN_ATTRIBUTES).map((attribute) => <Attribute key={attribute.name} asked={asked} attribute={attribute} />)}
          </div>
        </>
      )}
    </section>
  );
}

function Attribute({ asked, attribute }: { asked: Asked; attribute: ComparedAttribute }) {
  return (
    <table>
      <caption>{attribute.name}</caption>
      <tbody>
        {attribute.values.slice(0, SHOWN_VALUES).map((value) => (
          <tr key={value.value}>
            <th scope="row" title={value.value}>
              {value.literal === null ? (
                <span class="hint">{value.value || "(empty)"}</span>
              ) : (
                <a href={href("explore", { q: narrowed(asked.query, [{ name: attribute.name, operator: "=", value: value.literal }]) })}>{value.value || "(empty)"}</a>
              )}
            </th>
            <td>
              <i class="these" style={{ width: `${100 * value.selection}%` }} />
              <i class="others" style={{ width: `${100 * value.baseline}%` }} />
            </td>
            <td class="number">{percent(value.selection)}</td>
            <td class="number hint">{percent(value.baseline)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Less than this is chance, or nothing that a person looks for. */
const LEAST_DIFFERENCE = 0.02;

function isDifferent(attribute: ComparedAttribute): boolean {
  return attribute.difference >= LEAST_DIFFERENCE;
}

interface Comparison {
  selected: number;
  others: number;
  attributes: ComparedAttribute[];
}

/** Attributes that say nothing about a cause: ids are always different. */
const NAMELESS = new Set(["resource.service.instance.id"]);

export function compared(series: Series[]): Comparison {
  const totals = { selection: 0, baseline: 0 };
  const counts = new Map<string, Map<string, { literal: string | null; selection: number; baseline: number }>>();
  for (const one of series) {
    const meta = one.labels.get("__meta_type") ?? "";
    const name = [...one.labels.keys()].find((key) => !key.startsWith("__"));
    if (name === undefined) continue;
    // every span has a name, so the largest total is the number of spans
    if (meta === "selection_total") totals.selection = Math.max(totals.selection, one.value);
    if (meta === "baseline_total") totals.baseline = Math.max(totals.baseline, one.value);
    if (meta !== "selection" && meta !== "baseline") continue;
    const values = counts.get(name) ?? new Map();
    counts.set(name, values);
    const value = one.labels.get(name)!;
    const found = values.get(value) ?? { literal: one.literals.get(name) ?? null, selection: 0, baseline: 0 };
    found[meta] += one.value;
    values.set(value, found);
  }
  const share = (part: number, all: number) => (all ? Math.min(1, part / all) : 0);
  const attributes = [...counts].filter(([name]) => !NAMELESS.has(name)).map(([name, values]): ComparedAttribute => {
    const shares = [...values].map(([value, { literal, selection, baseline }]) => ({
      value,
      literal,
      selection: share(selection, totals.selection),
      baseline: share(baseline, totals.baseline),
    }));
    const difference = (one: ComparedValue) => Math.abs(one.selection - one.baseline);
    shares.sort((one, other) => difference(other) - difference(one));
    return { name, values: shares, difference: shares.length ? difference(shares[0]!) : 0 };
  });
  attributes.sort((one, other) => other.difference - one.difference);
  return { selected: totals.selection, others: totals.baseline, attributes };
}
