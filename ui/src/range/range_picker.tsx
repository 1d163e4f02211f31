// The range of a page: presets, words, and steps back and forth.

import { useEffect, useRef, useState } from "preact/hooks";
import { go, hrefWith } from "../place.ts";
import type { Range } from "./range.ts";
import { PRESETS, parseWords, rangeParams, rangeWords, spanOf } from "./range.ts";

export function RangePicker({ range }: { range: Range }) {
  const [open, setOpen] = useState(false);
  const [problem, setProblem] = useState("");
  const picker = useRef<HTMLDivElement>(null);
  const words = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (!open) return undefined;
    words.current?.focus();
    const outside = (event: Event) => {
      if (!picker.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const choose = (chosen: Range) => {
    setOpen(false);
    setProblem("");
    go(hrefWith({ ...rangeParams(chosen), cursor: null }));
  };
  const shift = (direction: number) => {
    const { from, to } = spanOf(range);
    const by = ((to - from) / 2) * direction;
    choose({ kind: "fixed", from: from + by, to: to + by });
  };
  const widen = () => {
    const { from, to } = spanOf(range);
    const by = (to - from) / 2;
    choose({ kind: "fixed", from: from - by, to: Math.min(to + by, Date.now()) });
  };
  const submit = (event: Event) => {
    event.preventDefault();
    const parsed = parseWords(words.current!.value);
    if (typeof parsed === "string") setProblem(parsed);
    else choose(parsed);
  };

  return (
    <div class="range" ref={picker} onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
      <button type="button" class="quiet" aria-label="Earlier" title="Earlier" onClick={() => shift(-1)}>‹</button>
      <button type="button" class="range-words" aria-haspopup="dialog" aria-expanded={open} onClick={() => setOpen(!open)}>
        {rangeWords(range)}
      </button>
      <button type="button" class="quiet" aria-label="Wider range" title="Wider" onClick={widen}>⊖</button>
      <button type="button" class="quiet" aria-label="Later" title="Later" onClick={() => shift(1)}>›</button>
      {open && (
        <div class="popover range-choices" role="dialog" aria-label="Range of time">
          <form onSubmit={submit}>
            <input
              ref={words}
              aria-label="Range in words"
              placeholder="15 min, yesterday, 14:00 to 15:30"
              {...(problem ? { "aria-describedby": "range-problem" } : {})}
            />
            {problem && <p id="range-problem" class="error-text" role="alert">{problem}</p>}
          </form>
          <ul>
            {PRESETS.map((preset) => (
              <li key={rangeWords(preset)}>
                <button type="button" onClick={() => choose(preset)}>{rangeWords(preset)}</button>
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}
