// A question, its figures, and what else belongs to it.

import type { ComponentChildren } from "preact";

export function Card(props: { title: string; children: ComponentChildren; wide?: boolean }) {
  return (
    <section class={`card${props.wide ? " wide" : ""}`} aria-label={props.title}>
      <h2>{props.title}</h2>
      {props.children}
    </section>
  );
}

export function Figures({ children }: { children: ComponentChildren }) {
  return <dl class="figures">{children}</dl>;
}

export function Figure({ name, value, note }: { name: string; value: string; note?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} {note && <span class="hint">{note}</span>}
      </dd>
    </div>
  );
}
