// What a page says when it has nothing to show: an error, nothing found, or that it waits.

import type { ComponentChildren } from "preact";
import type { ApiError } from "../api/client.ts";

export function ErrorNotice({ error }: { error: ApiError }) {
  return (
    <div class="notice error" role="alert" id="query-error">
      <strong>{title(error)}</strong>
      <p>{error.text}</p>
      {error.status === 401 && error.message.includes("org id") && (
        <p>This store keeps the data of several tenants apart: name one at the top right.</p>
      )}
    </div>
  );
}

function title(error: ApiError): string {
  const { position } = error;
  if (position) return `Line ${position.line}, column ${position.column}`;
  if (error.status === 0) return "No answer";
  return error.status === 404 ? "Not found" : `The server answered ${error.status}`;
}

export function Notice({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="notice">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

/** A thin line that moves while something loads, and is said once. */
export function Progress({ loading, what }: { loading: boolean; what: string }) {
  return (
    <div class={`progress${loading ? " on" : ""}`} role="status">
      {loading && <span class="unseen">{what}</span>}
    </div>
  );
}
