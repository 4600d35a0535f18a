// Two settings held against each other: A was tried and is kept, B is what the sliders say now.

import { byId, html, plain } from "./dom.js";

// What a setting changes, in words: "window 200, threshold 0.01".
export function inWords(meta, settings) {
  const named = (path) => meta.tunables.find((each) => each.path === path)?.name ?? path;
  return [...settings].map(([path, value]) => `${named(path)} ${plain(value)}`).join(", ") || "the file";
}

export function showHeld(meta, held, settings, onDrop) {
  byId("hold").hidden = held !== null || settings.size === 0;
  const row = (name, kind, words, button) => html("p", { class: kind }, html("b", {}, name), ` ${words} `, button);
  byId("held").replaceChildren(...(held
    ? [
      row("A", "held-a", inWords(meta, held.settings), html("button", { class: "link", type: "button", onclick: onDrop, "aria-label": "let A go" }, "let go")),
      row("B", "held-b", inWords(meta, settings), null),
    ]
    : []));
}

// The texts to lay over each other: the file and what is tried, or A and B where two are tried.
export function textsOf(meta, held, whatif) {
  const other = held?.answer.text;
  if (!other) return { base: meta.text, tried: whatif?.text ?? null, title: meta.file };
  if (!whatif?.text) return { base: meta.text, tried: other, title: `${meta.file}, and A` };
  return { base: other, tried: whatif.text, title: `${meta.file}: A, and B` };
}
