// A search as it goes on: a small page first, so that something is there at once, then larger ones.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../../api/client.ts";
import { isAbort } from "../../api/client.ts";
import { asApiError } from "../../api/load.ts";
import type { FoundTrace } from "../../api/search.ts";
import { searchPage } from "../../api/search.ts";
import type { Range, Span } from "../../range/range.ts";
import { spanOf } from "../../range/range.ts";

const FIRST_PAGES = [20, 180];
const LATER_PAGE = 500;

export interface Search {
  traces: FoundTrace[];
  next: string | null;
  loading: boolean;
  error: ApiError | null;
  /** The range as it was when the search began: pages share it. */
  span: Span;
  more: () => void;
}

type State = Omit<Search, "more">;

export function useSearch(query: string, range: Range, key: string): Search {
  const [state, setState] = useState<State>(() => began(range));
  const abort = useRef(new AbortController());

  const load = async (before: State, sizes: number[], signal: AbortSignal) => {
    let current = before;
    try {
      for (const size of sizes) {
        setState((current = { ...current, loading: true }));
        const page = await searchPage(query, current.span, size, current.next, signal);
        const ends = page.next === null || size === sizes.at(-1);
        current = { ...current, traces: [...current.traces, ...page.traces], next: page.next, loading: !ends };
        if (signal.aborted) return;
        setState(current);
        if (page.next === null) return;
      }
    } catch (failure) {
      if (!signal.aborted && !isAbort(failure)) setState({ ...current, loading: false, error: asApiError(failure) });
    }
  };
  useEffect(() => {
    abort.current = new AbortController();
    void load(began(range), FIRST_PAGES, abort.current.signal);
    return () => abort.current.abort();
  }, [key]);
  return { ...state, more: () => void load(state, [LATER_PAGE], abort.current.signal) };
}

function began(range: Range): State {
  return { traces: [], next: null, loading: true, error: null, span: spanOf(range) };
}
