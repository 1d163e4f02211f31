// All about one span, with ways to copy it and to find others like it.

import { count, duration, fullTime, percent, traceqlDuration } from "../../format.ts";
import { CopyButton } from "../../parts/copy.tsx";
import { FindIcon } from "../../parts/icons.tsx";
import { Service } from "../../parts/service.tsx";
import { href } from "../../place.ts";
import type { Params } from "../../place.ts";
import { quoted } from "../../api/tags.ts";
import type { KeyValue, Span, Trace } from "../../trace/model.ts";
import { beyondParent, children, valueLiteral, valueText } from "../../trace/model.ts";

interface Props {
  trace: Trace;
  place: number;
  selfTime: number;
  near: Params;
  onClose: () => void;
  onSelect: (place: number) => void;
}

export function Details({ trace, place, selfTime, near, onClose, onSelect }: Props) {
  const span = trace.spans[place]!;
  const length = span.end - span.start;
  const same = `resource.service.name = ${JSON.stringify(span.resource.service)} && name = ${JSON.stringify(span.name)}`;
  const search = (query: string) => href("search", { ...near, q: query });
  const below = [...children(trace.spans, place)].length;
  return (
    <aside class="details" aria-label="Span">
      <header>
        <h2>{span.name}</h2>
        <button type="button" class="quiet" aria-label="Close details" onClick={onClose}>×</button>
      </header>
      <p class="details-line">
        <Service name={span.resource.service} />
        {span.kind && <span class="tag">{span.kind}</span>}
        {span.error && <span class="tag error">error</span>}
      </p>
      {span.statusMessage && <p class="error-text">{span.statusMessage}</p>}
      <p class="details-links">
        <a href={search(`{ ${same} }`)}>Find others like this</a>
        <a href={search(`{ ${same} && duration >= ${traceqlDuration(length)} }`)}>as slow</a>
        {span.error && <a href={search(`{ ${same} && status = error }`)}>that failed</a>}
        <a href={href("explore", { ...near, q: `{ ${same} }` })}>Explore</a>
      </p>
      <dl class="details-facts">
        <dt>Starts</dt>
        <dd title={fullTime(Number(trace.startNanos / 1_000_000n) + span.start / 1e6)}>+{duration(span.start)}</dd>
        <dt>Duration</dt>
        <dd>{duration(length)}</dd>
        <dt>Self time</dt>
        <dd>
          {duration(selfTime)} <span class="hint">{length ? percent(selfTime / length) : ""}</span>
        </dd>
        <dt>Children</dt>
        <dd>
          {count(below)} {below > 0 && <span class="hint">{count(span.subtreeEnd - place - 1)} below</span>}
        </dd>
        {span.parent >= 0 && (
          <>
            <dt>Parent</dt>
            <dd><button type="button" class="link" onClick={() => onSelect(span.parent)}>{trace.spans[span.parent]!.name}</button></dd>
          </>
        )}
        {span.parent < 0 && span.parentId && (
          <>
            <dt>Parent</dt>
            <dd><span class="tag warning" title={span.parentId}>not in this trace</span></dd>
          </>
        )}
        <Beyond trace={trace} span={span} />
        <dt>Span id</dt>
        <dd><code>{span.id}</code> <CopyButton text={span.id} what="span id" /></dd>
        {span.scope.name && (
          <>
            <dt>Scope</dt>
            <dd>{span.scope.name} <span class="hint">{span.scope.version}</span></dd>
          </>
        )}
      </dl>
      <Attributes title="Attributes" scope="span" attributes={span.attributes} search={search} />
      {span.events.length > 0 && (
        <section>
          <h3>Events <span class="hint">{span.events.length}</span></h3>
          {span.events.map((event, number) => (
            <details key={number} open={span.events.length <= 3}>
              <summary>
                {event.name || "event"} <span class="hint">{signed(event.at - span.start)}</span>
              </summary>
              <Pairs scope="event" attributes={event.attributes} search={search} />
            </details>
          ))}
        </section>
      )}
      {span.links.length > 0 && (
        <section>
          <h3>Links <span class="hint">{span.links.length}</span></h3>
          {span.links.map((link, number) => (
            <div key={number}>
              <a href={href("trace", { id: link.traceId, span: link.spanId })}>
                <code>{link.traceId === trace.id ? "this trace" : link.traceId}</code>
              </a>
              <Pairs scope="link" attributes={link.attributes} search={search} />
            </div>
          ))}
        </section>
      )}
      <Attributes title="Resource" scope="resource" attributes={span.resource.attributes} search={search} />
    </aside>
  );
}

function Beyond({ trace, span }: { trace: Trace; span: Span }) {
  const beyond = beyondParent(trace, span);
  if (!beyond) return null;
  return (
    <>
      <dt>Beyond parent</dt>
      <dd>
        {beyond.before > 0 && <span class="tag warning">begins {duration(beyond.before)} before it</span>}{" "}
        {beyond.after > 0 && <span class="tag">ends {duration(beyond.after)} after it</span>}
      </dd>
    </>
  );
}

interface AttributesProps {
  scope: string;
  attributes: KeyValue[];
  search: (query: string) => string;
}

function Attributes({ title, ...rest }: AttributesProps & { title: string }) {
  if (!rest.attributes.length) return null;
  return (
    <section>
      <h3>
        {title} <span class="hint">{rest.attributes.length}</span>
      </h3>
      <Pairs {...rest} />
    </section>
  );
}

function Pairs({ scope, attributes, search }: AttributesProps) {
  if (!attributes.length) return null;
  return (
    <table class="pairs">
      <tbody>
        {attributes.map(({ key, value }, number) => {
          const literal = valueLiteral(value);
          return (
            <tr key={number}>
              <th scope="row">{key}</th>
              <td>
                <span class="value">{valueText(value)}</span>
                <span class="pair-actions">
                  <CopyButton text={valueText(value)} what={key} />
                  {literal !== null && (
                    <a href={search(`{ ${scope}.${quoted(key)} = ${literal} }`)} aria-label={`Find spans with this ${key}`} title="Find spans with this value">
                      <FindIcon />
                    </a>
                  )}
                </span>
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function signed(nanos: number): string {
  return nanos < 0 ? `−${duration(-nanos)}` : `+${duration(nanos)}`;
}
