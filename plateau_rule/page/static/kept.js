// What a report holds: every answer was worked out before, so a value or a step snaps to the nearest one that was.

import { columnsOf } from "./source.js";

export function nearestIn(rows, wanted, of) {
  return rows.reduce((best, row) => (Math.abs(of(row) - wanted) < Math.abs(of(best) - wanted) ? row : best));
}

function bytesOf(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return bytes.buffer;
}

// Columns that are in view, several joined where there are more than the chart is wide.
export function columnsIn(curve, from, to, width) {
  let start = 0;
  while (start + 1 < curve.count && curve.step[start + 1] <= from) start++;
  let stop = start;
  while (stop < curve.count && curve.step[stop] < to) stop++;
  const by = Math.max(1, Math.ceil((stop - start) / width));
  const count = Math.ceil((stop - start) / by);
  const found = { count, step: new Float64Array(count), min: new Float32Array(count), max: new Float32Array(count), mean: new Float32Array(count) };
  for (let i = 0; i < count; i++) {
    const [first, last] = [start + i * by, Math.min(stop, start + (i + 1) * by)];
    const finite = (row) => [...row.subarray(first, last)].filter((value) => !Number.isNaN(value));
    const mean = finite(curve.mean);
    found.step[i] = curve.step[first];
    found.min[i] = Math.min(...finite(curve.min));
    found.max[i] = Math.max(...finite(curve.max));
    found.mean[i] = mean.length ? mean.reduce((sum, value) => sum + value, 0) / mean.length : NaN;
  }
  return found;
}

export function keptSource(data) {
  const curve = columnsOf(bytesOf(data.curve));
  const others = data.others.map((other) => columnsOf(bytesOf(other)));
  const rowOf = (path, value) => nearestIn(data.grids[path], value, (row) => row.value);
  const tried = async ([[path, value]]) => {
    const row = rowOf(path, value);
    const lines = data.meta.text.split("\n");
    for (const [place, text] of row.lines ?? []) lines[place] = text;
    return { ...row, text: lines.join("\n") };
  };
  return {
    live: false,
    single: true,
    nearest: (path, value) => rowOf(path, value).value,
    meta: async () => data.meta,
    curve: async (from, to, width) => columnsIn(curve, from, to, width),
    others: async (count, from, to, width) => others.map((other) => columnsIn(other, from, to, width)),
    why: async (step) => nearestIn(data.whys, step, (why) => why.step),
    track: async () => data.track,
    noise: async () => data.noise,
    check: async () => data.check,
    grid: async (path, values) => ({ rows: [...new Set(values.map((value) => rowOf(path, value)))] }),
    whatif: tried,
    held: tried,
  };
}
