// A request as state of a component: loading, an answer, or an error; the newest request wins.

import { useEffect, useState } from "preact/hooks";
import { ApiError, isAbort } from "./client.ts";

export interface Loaded<T> {
  /** The newest answer; that of the request before while the next one runs. */
  data: T | null;
  error: ApiError | null;
  loading: boolean;
}

/** Runs `load` whenever `key` changes; not at all while it is `null`. */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<Loaded<T>>({ data: null, error: null, loading: key !== null });
  useEffect(() => {
    if (key === null) {
      setState({ data: null, error: null, loading: false });
      return undefined;
    }
    const abort = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    load(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setState({ data, error: null, loading: false });
      },
      (failure: unknown) => {
        if (!abort.signal.aborted && !isAbort(failure)) setState({ data: null, error: asApiError(failure), loading: false });
      },
    );
    return () => abort.abort();
  }, [key]);
  return state;
}

export function asApiError(failure: unknown): ApiError {
  return failure instanceof ApiError ? failure : new ApiError(0, String(failure instanceof Error ? failure.message : failure));
}
