// Light or dark: as the system says until a person chooses; and the colours that canvases need as values.

import { useEffect, useState } from "preact/hooks";

export type Theme = "light" | "dark";

const KEY = "mosso.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

export function theme(): Theme {
  const chosen = stored();
  return chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
}

export function applyTheme(): void {
  document.documentElement.dataset["theme"] = theme();
  for (const listener of [...listeners]) listener();
}

export function toggleTheme(): void {
  try {
    localStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
  } catch {
    // without storage the system's theme stays
  }
  applyTheme();
}

export function useTheme(): Theme {
  const [current, setCurrent] = useState(theme);
  useEffect(() => {
    const update = () => setCurrent(theme());
    listeners.add(update);
    return () => void listeners.delete(update);
  }, []);
  return current;
}

system.addEventListener("change", applyTheme);

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** The value of a colour of style/base.css. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

const HUES = [195, 255, 310, 150, 60, 345, 225, 110, 280, 30, 175, 325];

/** A service has the same colour on every page. Errors are red, so services are not. */
export function serviceColor(service: string, current: Theme): string {
  let hash = 2166136261;
  for (let at = 0; at < service.length; at++) hash = Math.imul(hash ^ service.charCodeAt(at), 16777619);
  const number = (hash >>> 8) % (HUES.length * 2);
  const pale = number >= HUES.length;
  const lightness = current === "dark" ? (pale ? 0.78 : 0.68) : pale ? 0.68 : 0.56;
  return `oklch(${lightness} ${pale ? 0.075 : 0.125} ${HUES[number % HUES.length]})`;
}
