// Numbers, times and names as people read them.

const UNITS: [number, string][] = [
  [86_400e9, "d"],
  [3600e9, "h"],
  [60e9, "m"],
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
];

/** Nanoseconds in the largest unit that fits, in three digits: `1.22 s`, `14.7 ms`, `2m 5s`. */
export function duration(nanos: number): string {
  if (nanos <= 0 || !Number.isFinite(nanos)) return "0";
  if (nanos >= 60e9) return longDuration(nanos);
  for (const [size, unit] of UNITS) {
    if (nanos >= size) return `${threeDigits(nanos / size)} ${unit}`;
  }
  return `${Math.round(nanos)} ns`;
}

/** Nanoseconds as TraceQL writes them. */
export function traceqlDuration(nanos: number): string {
  if (nanos >= 1e9) return `${trim(nanos / 1e9, 3)}s`;
  if (nanos >= 1e6) return `${trim(nanos / 1e6, 3)}ms`;
  if (nanos >= 1e3) return `${trim(nanos / 1e3, 3)}us`;
  return `${Math.max(0, Math.round(nanos))}ns`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A number with few digits: `0.052`, `14.7`, `1.25 k`. */
export function short(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${threeDigits(value / 1e9)} G`;
  if (size >= 1e6) return `${threeDigits(value / 1e6)} M`;
  if (size >= 1e4) return `${threeDigits(value / 1e3)} k`;
  return threeDigits(value);
}

export function bytes(value: number): string {
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]] as const) {
    if (value >= size) return `${threeDigits(value / size)} ${unit}`;
  }
  return `${Math.round(value)} B`;
}

export function percent(part: number): string {
  if (part === 0) return "0 %";
  return part < 0.001 ? "< 0.1 %" : `${trim(part * 100, part < 0.1 ? 1 : 0)} %`;
}

export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

const CLOCK = new Intl.DateTimeFormat("sv-SE", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit" });

/** Local time, with the day when it is not today's: `14:02:36`, `2026-11-28 14:02:36`. */
export function clock(millis: number, now = Date.now()): string {
  const time = CLOCK.format(millis);
  const day = DAY.format(millis);
  return day === DAY.format(now) ? time : `${day} ${time}`;
}

/** Local time in full, to the millisecond. */
export function fullTime(millis: number): string {
  return `${DAY.format(millis)} ${CLOCK.format(millis)}.${String(Math.floor(millis) % 1000).padStart(3, "0")}`;
}

export function ago(millis: number, now = Date.now()): string {
  const seconds = Math.round((now - millis) / 1000);
  if (seconds < 5) return "now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 129_600 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86_400)} d ago`;
}

function longDuration(nanos: number): string {
  const first = UNITS.findIndex(([size]) => nanos >= size);
  const [size, unit] = UNITS[first]!;
  const [nextSize, nextUnit] = UNITS[first + 1]!;
  const whole = Math.floor(nanos / size);
  const rest = Math.floor((nanos % size) / nextSize);
  return rest ? `${whole}${unit} ${rest}${nextUnit}` : `${whole}${unit}`;
}

function threeDigits(value: number): string {
  const size = Math.abs(value);
  return trim(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
}

function trim(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
