// The curriculum's file, with the number that is tried beside the one that stands there.

import { byId, html } from "./dom.js";

const LINE_PX = 11.5 * 1.55;
const NUMBER = /[\w.+-]/;

// What differs between two spellings of a line, widened to whole numbers.
export function changeOf(old, now) {
  let from = 0;
  while (from < old.length && from < now.length && old[from] === now[from]) from++;
  let end = 0;
  while (end < old.length - from && end < now.length - from && old.at(-1 - end) === now.at(-1 - end)) end++;
  while (from > 0 && NUMBER.test(old[from - 1])) from--;
  while (end > 0 && NUMBER.test(old.at(-end))) end--;
  return { before: old.slice(0, from), old: old.slice(from, old.length - end), now: now.slice(from, now.length - end), after: old.slice(old.length - end) };
}

export function showFile(name, text, tried) {
  byId("file-title").textContent = name;
  const lines = text.split("\n");
  const other = tried?.split("\n") ?? lines;
  const box = byId("file");
  let changed = null;
  const shown = lines.flatMap((line, index) => {
    if (other.length !== lines.length || other[index] === line) return [line, "\n"];
    const { before, old, now, after } = changeOf(line, other[index]);
    const row = html("span", { class: "changed" }, before, html("del", {}, old), html("ins", {}, now), after);
    changed ??= row;
    return [row, "\n"];
  });
  const known = box.dataset.text === text;
  const scrolled = box.scrollTop;
  box.replaceChildren(...shown);
  box.dataset.text = text;
  if (!known) box.scrollTop = LINE_PX * Math.max(0, lines.findIndex((line) => line.startsWith("[guard") || line.startsWith("[[transition")));
  else box.scrollTop = scrolled;
  if (!changed) return;
  box.scrollTop = Math.max(0, changed.offsetTop - box.offsetTop - 24);
  const spot = changed.querySelector("ins");
  box.scrollLeft = Math.max(0, spot.offsetLeft - box.offsetLeft + spot.offsetWidth + 24 - box.clientWidth);
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
