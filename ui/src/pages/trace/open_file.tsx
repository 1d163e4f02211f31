// The trace page without a trace: a place to give it a file.

import { useState } from "preact/hooks";
import { openFile } from "../../frame/drop.ts";

export function OpenFile() {
  const [problem, setProblem] = useState("");
  return (
    <div class="notice">
      <strong>Open a trace</strong>
      <p>Type its id at the top right, or look at a file of OTLP JSON: drop it on this page, or choose it. It stays in your browser.</p>
      <p>
        <input
          type="file"
          aria-label="File of OTLP JSON"
          accept=".json,.jsonl,application/json"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            setProblem("");
            if (file) openFile(file).catch((failure: Error) => setProblem(`${file.name}: ${failure.message}`));
          }}
        />
      </p>
      {problem && <p class="error-text" role="alert">{problem}</p>}
    </div>
  );
}
