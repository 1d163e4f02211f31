// Where the person is: the page and its parameters, all of it in the address, so that every state is a link.
//
// Every page is one path segment below `ui/`. Relative addresses therefore mean the same on all of them, whatever
// prefix a proxy or `http_api_prefix` puts in front.

import { useEffect, useState } from "preact/hooks";

export const PAGES = ["search", "trace", "explore", "services", "store"] as const;
export type Page = (typeof PAGES)[number];

export interface Place {
  page: Page;
  params: URLSearchParams;
}

export type Params = Record<string, string | number | undefined | null>;

/** The folder of the pages, with a slash at its end. */
export const ROOT = new URL(".", location.href);
// a name and a password in the address are the browser's to send: a request with them in its own is refused
ROOT.username = ROOT.password = "";

/** What stays when the page changes: the range that is looked at, and whose data. */
const KEPT = ["range", "from", "to", "tenant"];

const listeners = new Set<() => void>();

export function place(): Place {
  const name = location.pathname.slice(ROOT.pathname.length);
  const page = PAGES.find((known) => known === name) ?? "search";
  return { page, params: new URLSearchParams(location.search) };
}

export function usePlace(): Place {
  const [current, setCurrent] = useState(place);
  useEffect(() => {
    const update = () => setCurrent(place());
    listeners.add(update);
    addEventListener("popstate", update);
    return () => {
      listeners.delete(update);
      removeEventListener("popstate", update);
    };
  }, []);
  return current;
}

/** The address of a page with `params` beside those that are kept. */
export function href(page: Page, params: Params = {}): string {
  const kept = new URLSearchParams(location.search);
  const all = new URLSearchParams();
  for (const name of KEPT) {
    const value = kept.get(name);
    if (value !== null) all.set(name, value);
  }
  assign(all, params);
  return address(page, all);
}

/** The address of this page with some parameters changed; `undefined`, `null` and `""` take one away. */
export function hrefWith(params: Params): string {
  const { page, params: all } = place();
  assign(all, params);
  return address(page, all);
}

export function go(url: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  for (const listener of [...listeners]) listener();
}

/** Takes clicks on links to our own pages, except those that ask for a new window or a download. */
export function followLinks(): void {
  document.addEventListener("click", (event) => {
    const link = (event.target as Element).closest?.("a[href]") as HTMLAnchorElement | null;
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.download) return;
    const url = new URL(link.href);
    const ours = url.origin === ROOT.origin && url.pathname.startsWith(ROOT.pathname);
    if (!ours || !PAGES.some((page) => url.pathname === ROOT.pathname + page)) return;
    event.preventDefault();
    go(url.href);
    scrollTo(0, 0);
  });
}

function address(page: Page, params: URLSearchParams): string {
  const text = params.toString();
  return `${ROOT.pathname}${page}${text ? `?${text}` : ""}`;
}

function assign(all: URLSearchParams, params: Params): void {
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined || value === null || value === "") all.delete(name);
    else all.set(name, String(value));
  }
}
