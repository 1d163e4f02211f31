// What a person types, kept from being overwritten by a page that draws itself anew meanwhile.

import { useEffect, useState } from "preact/hooks";

/** A text that begins as `value`, and again whenever that changes. */
export function useDraft(value: string): [string, (text: string) => void] {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return [text, setText];
}
