// An editor of one query: coloured, completed by names and values of the data, with the error where the parser met it.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../api/client.ts";
import { literal, tagNames, tagValues } from "../api/tags.ts";
import type { Span } from "../range/range.ts";
import { STAGES, expected, tokens } from "./query.ts";

const SHOWN_CHOICES = 50;

interface Props {
  value: string;
  span: Span;
  error: ApiError | null;
  onInput: (query: string) => void;
  onRun: () => void;
}

interface Completion {
  from: number;
  to: number;
  choices: string[];
  active: number;
}

export function QueryInput({ value, span, error, onInput, onRun }: Props) {
  const input = useRef<HTMLTextAreaElement>(null);
  const caret = useRef<HTMLSpanElement>(null);
  const [completion, setCompletion] = useState<Completion | null>(null);
  const asked = useRef(0);

  const complete = async () => {
    const question = ++asked.current;
    const { selectionStart, value: text } = input.current!;
    const found = await choicesAt(text.slice(0, selectionStart), span).catch(() => null);
    if (question !== asked.current) return;
    if (!found || !found.choices.length) setCompletion(null);
    else setCompletion({ from: selectionStart - found.typed.length, to: selectionStart, choices: found.choices, active: 0 });
  };
  const accept = (choice: string) => {
    if (!completion) return;
    const text = value.slice(0, completion.from) + choice + value.slice(completion.to);
    const end = completion.from + choice.length;
    onInput(text);
    close();
    requestAnimationFrame(() => input.current?.setSelectionRange(end, end));
    input.current?.focus();
  };
  const close = () => {
    asked.current += 1;
    setCompletion(null);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (completion && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const step = event.key === "ArrowDown" ? 1 : -1;
      const { length } = completion.choices;
      setCompletion({ ...completion, active: (completion.active + step + length) % length });
    } else if (completion && (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey))) {
      accept(completion.choices[completion.active]!);
    } else if (completion && event.key === "Escape") {
      close();
    } else if (event.key === "Enter" && !event.shiftKey) {
      close();
      onRun();
    } else if (event.key === " " && event.ctrlKey) {
      void complete();
    } else return;
    event.preventDefault();
  };

  useEffect(() => {
    const area = input.current!;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }, [value]);

  return (
    <div class="query-input">
      <pre class="query-colours" aria-hidden="true">
        <Coloured query={value} error={error} caret={completion?.from ?? 0} caretRef={caret} />
      </pre>
      <textarea
        ref={input}
        rows={1}
        spellcheck={false}
        autocapitalize="off"
        autocomplete="off"
        aria-label="TraceQL query"
        aria-haspopup="listbox"
        aria-controls="query-choices"
        aria-autocomplete="list"
        aria-invalid={error !== null}
        {...(completion ? { "aria-activedescendant": `query-choice-${completion.active}` } : {})}
        {...(error ? { "aria-describedby": "query-error" } : {})}
        value={value}
        placeholder='{ resource.service.name = "checkout" && duration > 200ms }'
        onInput={(event) => {
          onInput(event.currentTarget.value);
          void complete();
        }}
        onKeyDown={onKeyDown}
        onBlur={close}
      />
      {completion && (
        <ul
          id="query-choices"
          class="choices"
          role="listbox"
          aria-label="Completions"
          style={{ left: `${caret.current?.offsetLeft ?? 0}px`, top: `${(caret.current?.offsetTop ?? 0) + 24}px` }}
        >
          {completion.choices.map((choice, place) => (
            <li
              key={choice}
              id={`query-choice-${place}`}
              role="option"
              aria-selected={place === completion.active}
              ref={(element) => {
                if (place === completion.active) element?.scrollIntoView({ block: "nearest" });
              }}
              onMouseDown={(event) => {
                event.preventDefault();
                accept(choice);
              }}
            >
              {choice}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Coloured(props: { query: string; error: ApiError | null; caret: number; caretRef: preact.Ref<HTMLSpanElement> }) {
  const wrong = errorPlace(props.query, props.error);
  let at = 0;
  const parts = tokens(props.query).map((token) => {
    const start = at;
    at += token.text.length;
    const marked = wrong !== null && wrong >= start && wrong < at;
    const before = props.caret >= start && props.caret < at;
    return (
      <>
        {before && <span ref={props.caretRef} />}
        <span class={`q-${token.kind}${marked ? " q-wrong" : ""}`}>{token.text}</span>
      </>
    );
  });
  return (
    <>
      {parts}
      {props.caret >= at && <span ref={props.caretRef} />}
      {wrong !== null && wrong >= at && <span class="q-wrong"> </span>}
      {"\n"}
    </>
  );
}

/** The place in the text that line and column of an error mean. */
function errorPlace(query: string, error: ApiError | null): number | null {
  const position = error?.position;
  if (!position) return null;
  const lines = query.split("\n").slice(0, position.line - 1);
  return lines.reduce((sum, line) => sum + line.length + 1, 0) + position.column - 1;
}

async function choicesAt(before: string, span: Span): Promise<{ typed: string; choices: string[] } | null> {
  const next = expected(before);
  if (!next) return null;
  const { typed } = next;
  if (next.kind === "stage") return { typed, choices: matching(STAGES, typed) };
  if (next.kind === "name") return { typed, choices: matching(await tagNames(span), typed) };
  const values = (await tagValues(next.name, span, next.filter)).map(literal);
  return { typed, choices: matching(values, typed.replace(/^"/, "")) };
}

/** Those that begin so first, then those that contain it; none when all is written. */
function matching(all: string[], typed: string): string[] {
  const wanted = typed.toLowerCase();
  const plain = (choice: string) => choice.toLowerCase().replace(/^"/, "");
  const begins = all.filter((choice) => plain(choice).startsWith(wanted));
  const contains = all.filter((choice) => !plain(choice).startsWith(wanted) && plain(choice).includes(wanted));
  const found = [...begins, ...contains].slice(0, SHOWN_CHOICES);
  return found.length === 1 && found[0] === typed ? [] : found;
}
