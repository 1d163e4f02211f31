// What the trace is, in a line, and what one can do with it.

import { useState } from "preact/hooks";
import { useLoad } from "../../api/load.ts";
import { searchPage } from "../../api/search.ts";
import { count, duration, fullTime, plural } from "../../format.ts";
import { CopyButton } from "../../parts/copy.tsx";
import { Service } from "../../parts/service.tsx";
import { go, href, hrefWith } from "../../place.ts";
import type { Params } from "../../place.ts";
import { download, otlpJson } from "../../trace/download.ts";
import type { Trace } from "../../trace/model.ts";
import type { View } from "../trace.tsx";

const VIEWS: [View, string][] = [
  ["timeline", "Timeline"],
  ["flame", "Flame graph"],
  ["times", "Self time"],
  ["diff", "Beside another"],
];
const SHOWN_SERVICES = 8;

interface Props {
  trace: Trace;
  /** As the API answered; `null` for a file. */
  otlp: unknown;
  view: View;
  find: string;
  found: number;
  near: Params;
  onStep: (direction: number) => void;
}

export function TraceHead({ trace, otlp, view, find, found, near, onStep }: Props) {
  const root = trace.spans[0]!;
  const start = Number(trace.startNanos / 1_000_000n);
  const others = `{ resource.service.name = ${JSON.stringify(root.resource.service)} && name = ${JSON.stringify(root.name)} }`;
  return (
    <header class="trace-head">
      <div class="trace-title">
        <h1>
          <Service name={root.resource.service} /> {root.name}
        </h1>
        <code class="trace-id">{trace.id}</code>
        <CopyButton text={trace.id} what="trace id" />
        {otlp !== null && <LinkedFrom trace={trace} near={near} />}
        <span class="trace-actions">
          <a href={href("search", { ...near, q: others })}>Others like this</a>
          {otlp !== null && (
            <button type="button" class="link" onClick={() => download(`${trace.id}.json`, otlpJson(otlp))}>
              Download JSON
            </button>
          )}
        </span>
      </div>
      <dl class="facts">
        <Fact name="Started">{fullTime(start)}</Fact>
        <Fact name="Duration">{duration(trace.duration)}</Fact>
        <Fact name="Spans">{count(trace.spans.length)}</Fact>
        <Fact name="Levels">{trace.depth}</Fact>
        <Fact name="Errors">{trace.errors ? <b class="error-text">{count(trace.errors)}</b> : "0"}</Fact>
        <Fact name={plural(trace.services.length, "service")}>
          {trace.services.slice(0, SHOWN_SERVICES).map((one) => <Service key={one.name} name={one.name} errors={one.errors} />)}
          {trace.services.length > SHOWN_SERVICES && <span class="hint">+{trace.services.length - SHOWN_SERVICES}</span>}
        </Fact>
      </dl>
      <div class="trace-tools">
        <nav class="tabs" aria-label="Views">
          {VIEWS.map(([name, title]) => (
            <a key={name} {...(view === name ? { "aria-current": "true" } : {})} href={hrefWith({ view: name === "timeline" ? null : name })}>
              {title}
            </a>
          ))}
        </nav>
        <form
          class="find"
          onSubmit={(event) => {
            event.preventDefault();
            onStep(1);
          }}
        >
          <input
            data-main-field
            aria-label="Find in this trace"
            placeholder="Find: name, service, attribute, error"
            value={find}
            spellcheck={false}
            onInput={(event) => go(hrefWith({ find: event.currentTarget.value }), "replace")}
          />
          {find.trim() && (
            <>
              <output>{plural(found, "span")}</output>
              <button type="button" class="quiet" aria-label="Previous" onClick={() => onStep(-1)}>↑</button>
              <button type="submit" class="quiet" aria-label="Next">↓</button>
            </>
          )}
        </form>
      </div>
    </header>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const DAY_MILLIS = 86_400_000;
const MOST_LINKED = 20;

/** Traces with a link to this one: what came of it. */
function LinkedFrom({ trace, near }: { trace: Trace; near: Params }) {
  const [open, setOpen] = useState(false);
  const query = `{ link:traceID = "${trace.id}" }`;
  const start = Number(trace.startNanos / 1_000_000n);
  const span = { from: start - 3_600_000, to: start + DAY_MILLIS };
  const linked = useLoad(trace.id, async (signal) => searchPage(query, span, MOST_LINKED, null, signal));
  const traces = (linked.data?.traces ?? []).filter((one) => one.id !== trace.id);
  if (!traces.length) return null;
  return (
    <span class="linked" onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
      <button type="button" class="link" aria-expanded={open} onClick={() => setOpen(!open)}>
        Linked from {plural(traces.length, "trace")}
      </button>
      {open && (
        <ul class="popover">
          {traces.map((one) => (
            <li key={one.id}>
              <a href={href("trace", { ...near, id: one.id, span: one.span })}>
                <Service name={one.service} /> {one.name}
              </a>{" "}
              <span class="hint">{duration(one.duration)}</span>
            </li>
          ))}
        </ul>
      )}
    </span>
  );
}
