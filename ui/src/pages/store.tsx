// The state of the store, as an operator asks for it: does it take spans, are they safe, what does it hold, does it keep
// up, is something wrong.

import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "../api/client.ts";
import { isAbort } from "../api/client.ts";
import { asApiError, useLoad } from "../api/load.ts";
import type { Metrics } from "../api/prometheus.ts";
import { fetchConfig, fetchMetrics } from "../api/prometheus.ts";
import { ErrorNotice, Progress } from "../parts/notices.tsx";
import { Answering } from "./store/answering.tsx";
import { Holding } from "./store/holding.tsx";
import { Memory } from "./store/memory.tsx";
import { Taking } from "./store/taking.tsx";
import { Trouble } from "./store/trouble.tsx";

const POLL_MILLIS = 5000;
/** Ten minutes of polls. */
const KEPT_POLLS = 120;

export function StorePage() {
  const { history, error } = useHistory();
  const config = useLoad("config", fetchConfig);
  const newest = history.at(-1);
  return (
    <>
      <h1 class="unseen">State of the store</h1>
      <Progress loading={!newest && !error} what="Loading the state" />
      {error && <ErrorNotice error={error} />}
      {newest && (
        <div class="store">
          <Trouble metrics={newest} />
          <Taking history={history} />
          <Holding metrics={newest} config={config.data ?? ""} />
          <Answering history={history} />
          <Memory metrics={newest} />
        </div>
      )}
      {config.data && (
        <details class="config">
          <summary>Configuration</summary>
          <pre>{config.data.replace(/^GET [^\n]*\n---\n/, "")}</pre>
        </details>
      )}
    </>
  );
}

/** What polls found since the page was opened, oldest first. */
function useHistory(): { history: Metrics[]; error: ApiError | null } {
  const [history, setHistory] = useState<Metrics[]>([]);
  const [error, setError] = useState<ApiError | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const poll = async () => {
      try {
        const metrics = await fetchMetrics(abort.signal);
        setHistory((before) => [...before, metrics].slice(-KEPT_POLLS));
        setError(null);
      } catch (failure) {
        if (!isAbort(failure)) setError(asApiError(failure));
      }
    };
    void poll();
    const timer = setInterval(() => document.visibilityState === "visible" && void poll(), POLL_MILLIS);
    return () => {
      clearInterval(timer);
      abort.abort();
    };
  }, []);
  return { history, error };
}
