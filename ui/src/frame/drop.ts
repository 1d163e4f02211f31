// Files of OTLP JSON, dropped anywhere on the page or chosen. They stay in the browser: nothing is sent.

import { useEffect, useState } from "preact/hooks";
import { go, href } from "../place.ts";
import type { Trace } from "../trace/model.ts";
import { readText } from "../trace/read.ts";

let traces: Trace[] = [];

export function droppedTraces(): Trace[] {
  return traces;
}

/** Shows the traces of a file; throws what is wrong with it. */
export async function openFile(file: File): Promise<void> {
  traces = readText(await file.text());
  go(href("trace", { file: 0 }));
}

/** Takes drops on the whole page; the text says what is wrong with the last file. */
export function useDrop(): { dragging: boolean; problem: string; dismiss: () => void } {
  const [dragging, setDragging] = useState(false);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDragging(true);
    };
    const leave = (event: DragEvent) => {
      if (!event.relatedTarget) setDragging(false);
    };
    const drop = (event: DragEvent) => {
      const file = event.dataTransfer?.files[0];
      setDragging(false);
      if (!file) return;
      event.preventDefault();
      setProblem("");
      openFile(file).catch((failure: Error) => setProblem(`${file.name}: ${failure.message}`));
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
  return { dragging, problem, dismiss: () => setProblem("") };
}
