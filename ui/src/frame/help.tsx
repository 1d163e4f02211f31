// Keys, and a few queries to begin with.

import { useEffect, useRef } from "preact/hooks";
import { href } from "../place.ts";

const KEYS: [string, string][] = [
  ["/", "to the query, or to find within a trace"],
  ["g s, g e, g m, g o", "to search, to explore, to the map of services, to the store"],
  ["Enter", "run the query; Shift Enter begins a line"],
  ["Ctrl Space", "names and values that may follow"],
  ["↑ ↓", "to the span above, below"],
  ["← →", "close or open what is below a span"],
  ["n, N", "to the next, the previous span found"],
  ["Esc", "close details, selection, lists"],
];

const QUERIES: [string, string][] = [
  ["{ status = error }", "spans that failed"],
  ["{ duration > 1s && kind = server }", "slow requests"],
  ["{ kind = server } >> { status = error }", "requests below which something failed"],
  ["{ trace:duration > 2s } | count() > 20", "long traces of many spans"],
];

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={onClose} onClick={(event) => {
      const link = (event.target as Element).closest("a");
      if (event.target === dialog.current || link) dialog.current?.close();
    }}>
      <h2 id="help-title">Keys</h2>
      <dl>
        {KEYS.map(([key, meaning]) => (
          <div key={key}>
            <dt><kbd>{key}</kbd></dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <h2>To begin with</h2>
      <ul>
        {QUERIES.map(([query, meaning]) => (
          <li key={query}>
            <a href={href("search", { q: query })}><code>{query}</code></a> {meaning}
          </li>
        ))}
      </ul>
      <p>
        A file of OTLP JSON can be dropped anywhere, or <a href={href("trace")}>chosen</a>; it stays in your browser.{" "}
        <a href="licences.txt" target="_blank">Licences</a> of what this page is made with.
      </p>
      <form method="dialog"><button type="submit">Close</button></form>
    </dialog>
  );
}
