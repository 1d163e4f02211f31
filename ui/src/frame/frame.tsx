// What is around every page: navigation, a field for trace ids, whose data, theme, help.

import { useEffect, useRef, useState } from "preact/hooks";
import { useDraft } from "../parts/draft.ts";
import { ExplorePage } from "../pages/explore.tsx";
import { SearchPage } from "../pages/search.tsx";
import { ServicesPage } from "../pages/services.tsx";
import { StorePage } from "../pages/store.tsx";
import { TracePage } from "../pages/trace.tsx";
import type { Page } from "../place.ts";
import { go, href, hrefWith, usePlace } from "../place.ts";
import { useDrop } from "./drop.ts";
import { Help } from "./help.tsx";
import { toggleTheme, useTheme } from "./theme.ts";

const LINKS: [Page, string][] = [
  ["search", "Search"],
  ["explore", "Explore"],
  ["services", "Services"],
  ["store", "Store"],
];

export function Frame() {
  const { page, params } = usePlace();
  const [help, setHelp] = useState(false);
  const drop = useDrop();
  useKeys(() => setHelp(true));
  useEffect(() => {
    if (page !== "trace") document.title = `${LINKS.find(([one]) => one === page)?.[1] ?? "Search"} · mosso`;
  }, [page]);
  return (
    <>
      <a class="skip" href="#main">Skip to content</a>
      <header class="frame">
        <a class="wordmark" href={href("search")} aria-label="mosso, search">
          <Mark />
          mosso
        </a>
        <nav aria-label="Pages">
          {LINKS.map(([name, title]) => (
            <a key={name} href={href(name)} {...(page === name ? { "aria-current": "page" } : {})}>
              {title}
            </a>
          ))}
        </nav>
        <OpenTrace />
        <Tenant tenant={params.get("tenant") ?? ""} />
        <ThemeButton />
        <button type="button" class="quiet" aria-label="Help and keys" title="Help and keys (?)" onClick={() => setHelp(true)}>?</button>
      </header>
      {drop.dragging && <div class="drop-here" aria-hidden="true">Drop OTLP JSON to look at it</div>}
      {drop.problem && (
        <div class="notice error drop-problem" role="alert">
          <strong>The file cannot be shown</strong>
          <p>{drop.problem}</p>
          <button type="button" onClick={drop.dismiss}>Close</button>
        </div>
      )}
      <main id="main" tabIndex={-1} class={`page-${page}`}>
        <Current page={page} params={params} />
      </main>
      {help && <Help onClose={() => setHelp(false)} />}
    </>
  );
}

function Current({ page, params }: { page: Page; params: URLSearchParams }) {
  switch (page) {
    case "trace":
      return <TracePage params={params} />;
    case "explore":
      return <ExplorePage params={params} />;
    case "services":
      return <ServicesPage params={params} />;
    case "store":
      return <StorePage />;
    default:
      return <SearchPage params={params} />;
  }
}

function Mark() {
  return (
    <svg width="18" height="16" viewBox="0 0 18 16" aria-hidden="true">
      <rect x="0" y="1" width="17" height="3.4" rx="1" />
      <rect x="4" y="6.3" width="8" height="3.4" rx="1" opacity=".75" />
      <rect x="8" y="11.6" width="9" height="3.4" rx="1" opacity=".55" />
    </svg>
  );
}

function OpenTrace() {
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const id = input.current!.value.trim().toLowerCase();
    if (!/^[0-9a-f]{1,32}$/.test(id)) {
      input.current!.setCustomValidity("A trace id has 1 to 32 digits from 0 to f");
      input.current!.reportValidity();
      return;
    }
    input.current!.value = "";
    go(href("trace", { id }));
  };
  return (
    <form class="open-trace" role="search" onSubmit={submit}>
      <input
        ref={input}
        aria-label="Open a trace by id"
        placeholder="Trace id"
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => event.currentTarget.setCustomValidity("")}
      />
    </form>
  );
}

/** Whose data is shown, where a store holds that of several. In the address, as all else. */
function Tenant({ tenant }: { tenant: string }) {
  const [open, setOpen] = useState(false);
  const [text, setText] = useDraft(tenant);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (open) input.current?.focus();
  }, [open]);
  if (!open) {
    return (
      <button type="button" class="quiet tenant" title="Tenant (X-Scope-OrgID)" onClick={() => setOpen(true)}>
        {tenant || "tenant"}
      </button>
    );
  }
  const submit = (event: Event) => {
    event.preventDefault();
    setOpen(false);
    go(hrefWith({ tenant: text.trim() }));
  };
  return (
    <form class="tenant" onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && setOpen(false)}>
      <input ref={input} aria-label="Tenant" placeholder="X-Scope-OrgID" value={text} onInput={(event) => setText(event.currentTarget.value)} />
    </form>
  );
}

function ThemeButton() {
  const other = useTheme() === "dark" ? "light" : "dark";
  return (
    <button type="button" class="quiet" aria-label={`Use the ${other} theme`} title={`Use the ${other} theme`} onClick={toggleTheme}>
      <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true">
        <circle cx="7" cy="7" r="6" fill="none" stroke="currentColor" stroke-width="1.4" />
        <path d="M7 1a6 6 0 0 1 0 12z" fill="currentColor" />
      </svg>
    </button>
  );
}

/** What follows `g`. */
const PAGE_KEYS: Partial<Record<Page, string>> = { search: "s", explore: "e", services: "m", store: "o" };

/** Keys of every page: `?` for help, `g` and a letter for a page, `/` for the field that a page is about. */
function useKeys(openHelp: () => void): void {
  useEffect(() => {
    let last = "";
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (target.closest("input, textarea, select, dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
      const page = last === "g" ? LINKS.find(([name]) => PAGE_KEYS[name] === event.key)?.[0] : undefined;
      last = event.key;
      if (event.key === "?") openHelp();
      else if (event.key === "/") document.querySelector<HTMLElement>("[data-main-field], .query-input textarea")?.focus();
      else if (page) go(href(page));
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}
