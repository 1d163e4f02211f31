// Requests to mosso's HTTP API, relative to the page, so that prefixes, proxies and their logins keep working.

import { ROOT, place } from "../place.ts";
import type { Params } from "../place.ts";

/** An answer that is not 200, in the server's own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }

  /** Where in the query the parser stopped: line and column, both from 1. */
  get position(): { line: number; column: number } | null {
    const match = /parse error at line (\d+), col (\d+)/.exec(this.message);
    return match ? { line: Number(match[1]), column: Number(match[2]) } : null;
  }

  /** The message without what `position` says. */
  get text(): string {
    return this.message.replace(/^invalid TraceQL query: /, "").replace(/^parse error at line \d+, col \d+: /, "");
  }
}

export interface Call {
  signal?: AbortSignal;
  accept?: string;
}

export async function get(path: string, params: Params = {}, call: Call = {}): Promise<Response> {
  const url = new URL(`../${path}`, ROOT);
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
  }
  return request(url, call);
}

export async function getJson<T>(path: string, params: Params = {}, call: Call = {}): Promise<T> {
  return (await (await get(path, params, call)).json()) as T;
}

/** What the page itself is served with: see `api/src/ui.rs`. */
export async function getBeside(path: string, call: Call = {}): Promise<Response> {
  return request(new URL(path, ROOT), call);
}

async function request(url: URL, call: Call): Promise<Response> {
  const headers: Record<string, string> = { Accept: call.accept ?? "application/json" };
  const tenant = place().params.get("tenant");
  if (tenant) headers["X-Scope-OrgID"] = tenant;
  let response: Response;
  try {
    response = await fetch(url, { headers, ...(call.signal ? { signal: call.signal } : {}) });
  } catch (failure) {
    if (isAbort(failure)) throw failure;
    throw new ApiError(0, `mosso cannot be reached at ${url.origin}: is it running?`);
  }
  if (!response.ok) throw new ApiError(response.status, (await response.text()).trim() || `HTTP ${response.status}`);
  return response;
}

export function isAbort(failure: unknown): boolean {
  return failure instanceof DOMException && failure.name === "AbortError";
}
