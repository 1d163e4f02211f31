// A form that writes TraceQL: one filter of service, operation, status, duration and attributes.

import { useEffect, useState } from "preact/hooks";
import type { TagValue } from "../api/tags.ts";
import { literal, tagNames, tagValues } from "../api/tags.ts";
import type { Span } from "../range/range.ts";
import { useDraft } from "./draft.ts";
import type { Term } from "./query.ts";
import { queryOf, termsOf } from "./query.ts";

interface Props {
  query: string;
  span: Span;
  onQuery: (query: string) => void;
}

const SERVICE = "resource.service.name";
const FIELDS: [string, string][] = [
  [SERVICE, "="],
  ["name", "="],
  ["status", "="],
  ["duration", ">="],
  ["duration", "<="],
];

export function FilterForm({ query, span, onQuery }: Props) {
  const terms = termsOf(query);
  if (!terms) {
    return (
      <p class="filter-form hint">
        The query says more than the form can show.{" "}
        <button type="button" class="link" onClick={() => onQuery("{}")}>Begin with the form</button>
      </p>
    );
  }
  const set = (name: string, operator: string, value: string) => {
    const others = terms.filter((term) => term.name !== name || term.operator !== operator);
    onQuery(queryOf(value ? inOrder([...others, { name, operator, value }]) : others));
  };
  const valueOf = (name: string, operator: string) => {
    const value = terms.find((term) => term.name === name && term.operator === operator)?.value ?? "";
    return value.startsWith('"') ? unquoted(value) : value;
  };
  const service = valueOf(SERVICE, "=");
  const others = terms.filter((term) => !FIELDS.some(([name, operator]) => term.name === name && term.operator === operator));
  return (
    <div class="filter-form" role="group" aria-label="Filter">
      <Choice label="Service" tag={SERVICE} span={span} value={service} onChange={(value) => set(SERVICE, "=", value && JSON.stringify(value))} />
      <Choice
        label="Operation"
        tag="name"
        span={span}
        within={service ? `{ ${SERVICE} = ${JSON.stringify(service)} }` : ""}
        value={valueOf("name", "=")}
        onChange={(value) => set("name", "=", value && JSON.stringify(value))}
      />
      <label>
        <span>Status</span>
        <select value={valueOf("status", "=")} onChange={(event) => set("status", "=", event.currentTarget.value)}>
          <option value="">any</option>
          <option value="error">error</option>
          <option value="ok">ok</option>
          <option value="unset">unset</option>
        </select>
      </label>
      <DurationField label="Longer than" value={valueOf("duration", ">=")} onChange={(value) => set("duration", ">=", value)} />
      <DurationField label="Shorter than" value={valueOf("duration", "<=")} onChange={(value) => set("duration", "<=", value)} />
      <AddTerm span={span} query={query} onAdd={(term) => onQuery(queryOf([...terms, term]))} />
      {others.length > 0 && (
        <ul class="terms" aria-label="Attributes">
          {others.map((term) => (
            <li key={`${term.name}${term.operator}${term.value}`}>
              <code>{`${term.name} ${term.operator} ${term.value}`}</code>
              <button
                type="button"
                aria-label={`Remove ${term.name}`}
                onClick={() => onQuery(queryOf(terms.filter((one) => one !== term)))}
              >
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Choice(props: { label: string; tag: string; span: Span; within?: string; value: string; onChange: (value: string) => void }) {
  const [values, setValues] = useState<TagValue[]>([]);
  const [text, setText] = useDraft(props.value);
  const id = `values-${props.tag}`;
  const load = () => {
    tagValues(props.tag, props.span, props.within ?? "").then(setValues, () => setValues([]));
  };
  return (
    <label>
      <span>{props.label}</span>
      <input
        list={id}
        value={text}
        placeholder="any"
        spellcheck={false}
        autocomplete="off"
        onFocus={load}
        onInput={(event) => setText(event.currentTarget.value)}
        onChange={(event) => props.onChange(event.currentTarget.value.trim())}
      />
      <datalist id={id}>
        {values.map(({ value }) => (
          <option key={value} value={value} />
        ))}
      </datalist>
    </label>
  );
}

function DurationField({ label, value, onChange }: { label: string; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useDraft(value);
  return (
    <label class="narrow">
      <span>{label}</span>
      <input
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        placeholder="100ms"
        pattern="\d+(\.\d+)?(ns|us|µs|ms|s|m|h)"
        title="A number and ns, us, ms, s, m or h"
        spellcheck={false}
        autocomplete="off"
        onChange={(event) => {
          if (event.currentTarget.reportValidity()) onChange(event.currentTarget.value.trim());
        }}
      />
    </label>
  );
}

const OPERATORS = ["=", "!=", "=~", "!~", ">", ">=", "<", "<="];

function AddTerm({ span, query, onAdd }: { span: Span; query: string; onAdd: (term: Term) => void }) {
  const [open, setOpen] = useState(false);
  const [names, setNames] = useState<string[]>([]);
  const [values, setValues] = useState<TagValue[]>([]);
  const [term, setTerm] = useState<Term>({ name: "", operator: "=", value: "" });
  useEffect(() => {
    if (open) tagNames(span).then(setNames, () => setNames([]));
  }, [open]);
  useEffect(() => {
    if (open && names.includes(term.name)) tagValues(term.name, span, query).then(setValues, () => setValues([]));
  }, [open, term.name, names]);
  if (!open) {
    return <button type="button" class="add" onClick={() => setOpen(true)}>+ attribute</button>;
  }
  const submit = (event: Event) => {
    event.preventDefault();
    if (!term.name || !term.value) return;
    const known = values.find((one) => one.value === term.value);
    const number = /^-?\d+(\.\d+)?$|^(true|false)$/.test(term.value);
    const value = known ? literal(known) : number ? term.value : JSON.stringify(term.value);
    onAdd({ ...term, value });
    setTerm({ name: "", operator: "=", value: "" });
    setOpen(false);
  };
  return (
    <form class="add-term" onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
      <input
        aria-label="Attribute"
        list="attribute-names"
        placeholder="span.http.route"
        value={term.name}
        spellcheck={false}
        ref={(element) => { if (element && !term.name && !term.value) element.focus(); }}
        onInput={(event) => setTerm({ ...term, name: event.currentTarget.value })}
      />
      <datalist id="attribute-names">{names.map((name) => <option key={name} value={name} />)}</datalist>
      <select aria-label="Comparison" value={term.operator} onChange={(event) => setTerm({ ...term, operator: event.currentTarget.value })}>
        {OPERATORS.map((operator) => <option key={operator}>{operator}</option>)}
      </select>
      <input
        aria-label="Value"
        list="attribute-values"
        value={term.value}
        spellcheck={false}
        onInput={(event) => setTerm({ ...term, value: event.currentTarget.value })}
      />
      <datalist id="attribute-values">{values.map(({ value }) => <option key={value} value={value} />)}</datalist>
      <button type="submit">Add</button>
    </form>
  );
}

function inOrder(terms: Term[]): Term[] {
  const place = (term: Term) => {
    const found = FIELDS.findIndex(([name, operator]) => term.name === name && term.operator === operator);
    return found < 0 ? FIELDS.length : found;
  };
  return terms.map((term) => term).sort((one, other) => place(one) - place(other));
}

function unquoted(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text.slice(1, -1);
  }
}
