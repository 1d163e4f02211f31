// Two traces laid over each other: operations on the same path, with the time that each trace spent there.

import type { Flame } from "./flame.ts";

export interface Side {
  spans: number;
  errors: number;
  /** Self time of the operation and of all below it on this path. */
  total: number;
}

export interface DiffRow {
  service: string;
  name: string;
  depth: number;
  before: Side | null;
  after: Side | null;
  /** What the second took longer than the first. */
  longer: number;
}

/** In the order of the tree; of operations beside each other, those that differ most come first. */
export function diffOf(before: Flame, after: Flame): DiffRow[] {
  const rows: DiffRow[] = [];
  addChildren(before, after, 0, rows);
  return rows;
}

function addChildren(before: Flame | null, after: Flame | null, depth: number, rows: DiffRow[]): void {
  const pairs = new Map<string, { before: Flame | null; after: Flame | null }>();
  for (const flame of before?.children ?? []) pairs.set(keyOf(flame), { before: flame, after: null });
  for (const flame of after?.children ?? []) {
    const found = pairs.get(keyOf(flame));
    if (found) found.after = flame;
    else pairs.set(keyOf(flame), { before: null, after: flame });
  }
  const longer = (pair: { before: Flame | null; after: Flame | null }) => (pair.after?.total ?? 0) - (pair.before?.total ?? 0);
  const ordered = [...pairs.values()].sort((one, other) => Math.abs(longer(other)) - Math.abs(longer(one)));
  for (const pair of ordered) {
    const { service, name } = (pair.before ?? pair.after)!;
    rows.push({ service, name, depth, before: side(pair.before), after: side(pair.after), longer: longer(pair) });
    addChildren(pair.before, pair.after, depth + 1, rows);
  }
}

function keyOf(flame: Flame): string {
  return `${flame.service}\0${flame.name}`;
}

/** Spans and errors are those of the operation itself. */
function side(flame: Flame | null): Side | null {
  return flame && { spans: flame.spans, errors: flame.errors, total: flame.total };
}
