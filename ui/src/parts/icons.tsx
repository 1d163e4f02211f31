// Signs that fonts may lack.

export function CopyIcon() {
  return (
    <svg width="12" height="12" viewBox="0 0 12 12" fill="none" stroke="currentColor" aria-hidden="true">
      <rect x="1" y="3.5" width="7" height="7.5" rx="1" />
      <path d="M4 3.5V2a1 1 0 0 1 1-1h5a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1H8" />
    </svg>
  );
}

export function DoneIcon() {
  return (
    <svg width="12" height="12" viewBox="0 0 12 12" fill="none" stroke="currentColor" stroke-width="1.6" aria-hidden="true">
      <path d="M2 6.5 5 9.5 10.5 2.5" />
    </svg>
  );
}

export function FindIcon() {
  return (
    <svg width="12" height="12" viewBox="0 0 12 12" fill="none" stroke="currentColor" stroke-width="1.3" aria-hidden="true">
      <circle cx="5" cy="5" r="3.6" />
      <path d="m7.8 7.8 3.4 3.4" />
    </svg>
  );
}
