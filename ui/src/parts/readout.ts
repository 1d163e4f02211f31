// What a plot says beside the pointer: the time, and the value of each line there.

import type uPlot from "uplot";
import { clock } from "../format.ts";

const DISTANCE = 12;

export function readout(labels: string[], text: (value: number) => string): uPlot.Plugin {
  const box = document.createElement("div");
  box.className = "readout";
  box.hidden = true;
  return {
    hooks: {
      init: (plot) => void plot.over.append(box),
      setCursor: (plot) => {
        const { idx, left = -1 } = plot.cursor;
        box.hidden = idx === null || idx === undefined || left < 0;
        if (box.hidden) return;
        const values = labels.map((label, place) => {
          const value = plot.data[place + 1]![idx!];
          return `${label} ${value === null || value === undefined ? "–" : text(value)}`;
        });
        box.textContent = [clock(plot.data[0]![idx!]! * 1000), ...values].join("\n");
        const right = left > plot.over.clientWidth / 2;
        box.style.left = right ? "" : `${left + DISTANCE}px`;
        box.style.right = right ? `${plot.over.clientWidth - left + DISTANCE}px` : "";
      },
    },
  };
}
