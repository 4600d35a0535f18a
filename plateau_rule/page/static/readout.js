// What holds at one step, from what the page knows already.

import { byId, knobsInWords, short, whole } from "./dom.js";

// The last of some [step, …] that begins at a step or before it.
export function lastBefore(points, step) {
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (points[middle][0] <= step) low = middle;
    else high = middle - 1;
  }
  return points[low] ?? null;
}

export function stateAt(meta, step) {
  return meta.stays.findLast((stay) => stay.from <= step)?.state ?? meta.plan.state;
}

export function knobsAt(meta, step) {
  return Object.fromEntries(meta.knobs.map((knob) => [knob.name, lastBefore(knob.treads, step)?.[1] ?? null]));
}

function columnAt(curve, step) {
  if (!curve?.count || step < curve.step[0]) return -1;
  let [low, high] = [0, curve.count - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (curve.step[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function wordsAt(meta, curve, step) {
  const column = columnAt(curve, step);
  const words = [`step ${whole(step + meta.first)}`];
  if (meta.per) words.push(`epoch ${whole(Math.floor(step / meta.per))}`);
  words.push(stateAt(meta, step));
  if (column >= 0) {
    const [low, high, mean] = [curve.min[column], curve.max[column], curve.mean[column]];
    words.push(Number.isNaN(mean) ? "loss not finite" : low === high ? `loss ${short(mean, 4)}` : `loss ${short(low, 4)} to ${short(high, 4)}`);
  }
  words.push(...knobsInWords(knobsAt(meta, step)).slice(0, 3));
  const rate = lastBefore(meta.rate, step)?.[1];
  if (rate !== undefined) words.push(`rate ${short(rate)}`);
  return words.join(" · ");
}

// The sentence at the top: where the run is.
export function showHead(meta) {
  const { plan, first, stays } = meta;
  const since = stays.at(-1)?.from ?? 0;
  byId("headline").textContent = !meta.points && meta.reading ? "Reading the run" : !meta.points ? `${plan.state}, before the first loss` : since ? `${plan.state} since step ${whole(since + first)}` : `${plan.state} from the start`;
  const words = [`step ${whole(meta.steps)}${meta.total ? ` of ${whole(meta.total)}` : ""}`];
  if (meta.per) words.push(`epoch ${whole(plan.epoch)}`);
  words.push(...knobsInWords(plan.knobs).slice(0, 4), `rate ${short(plan.lr)}`);
  if (plan.stop) words.push(plan.stop);
  else if (meta.ended) words.push(meta.ended);
  byId("subline").textContent = words.join(" · ");
  byId("origin").textContent = meta.origin;
  byId("origin").title = meta.notes.join("\n");
  document.title = `${plan.state} · ${meta.origin} · plateau`;
}
