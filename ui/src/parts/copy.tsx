// A button that copies a text, and says that it did.

import { useState } from "preact/hooks";
import { CopyIcon, DoneIcon } from "./icons.tsx";

const THANKS_MILLIS = 1200;

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [copied, setCopied] = useState(false);
  const onClick = async () => {
    await copy(text);
    setCopied(true);
    setTimeout(() => setCopied(false), THANKS_MILLIS);
  };
  return (
    <button type="button" class="copy" aria-label={`Copy ${what}`} title={`Copy ${what}`} onClick={onClick}>
      {copied ? <DoneIcon /> : <CopyIcon />}
      {copied && <span class="unseen" role="status">Copied</span>}
    </button>
  );
}

async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // without TLS there is no clipboard API, but there is this
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
