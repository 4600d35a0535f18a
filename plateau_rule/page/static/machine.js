// The machine: its states as boxes, lit where the run is, or along a run that `plateau check` shows; and what it says.

import { byId, fitted, html, svg, whole } from "./dom.js";

const BOX = 158;
const HIGH = 46;
const GAP = 42;
const EDGE = 6;

// A run that a finding of `check` describes, as a way through the machine to where it shows itself.
export function pathOf({ stays, step }) {
  const decisions = stays.slice(1).map((stay, index) => ({ step: stay.from, from: stays[index].state, to: stay.state }));
  return { step, state: stays.at(-1).state, stays, decisions, example: true };
}

export function showMachine(meta, where) {
  const host = byId("machine");
  const { states, arrows, first } = meta;
  const { stays, decisions } = where.example ? where : meta;
  const lanes = lanesOf(arrows);
  const left = EDGE + 14 * lanes.back;
  const entered = new Map();
  for (const stay of stays) if (stay.from <= where.step && !entered.has(stay.state)) entered.set(stay.state, stay.from);
  const top = (index) => EDGE + index * (HIGH + GAP);
  const parts = [svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto" },
    svg("path", { class: "tip", d: "M0 0L10 5L0 10z" })))];
  for (const [index, state] of states.entries()) {
    const here = state.name === where.state;
    const kind = here ? "here" : entered.has(state.name) ? "been" : "to-come";
    parts.push(svg("g", { class: `state ${kind}`, "data-state": state.name },
      svg("rect", { class: "box", x: left, y: top(index), width: BOX, height: HIGH, rx: 7 }),
      state.final ? svg("rect", { x: left + 3, y: top(index) + 3, width: BOX - 6, height: HIGH - 6, rx: 5, fill: "none", stroke: "var(--faint)" }) : null,
      svg("text", { class: "name", x: left + 12, y: top(index) + 20 }, fitted(state.name, 17)),
      svg("text", { x: left + 12, y: top(index) + 36 }, fitted(state.says, 24)),
      svg("title", {}, [state.name, ...state.lines].join("\n"))));
  }
  const straight = new Map();
  for (const arrow of arrows) if (arrow.to === arrow.from + 1) straight.set(arrow.from, [...(straight.get(arrow.from) ?? []), arrow]);
  for (const [from, ways] of straight) {
    const taken = decisions.filter((one) => one.step <= where.step && one.from === states[from].name && one.to === states[from + 1].name);
    const y = top(from) + HIGH;
    parts.push(svg("path", { class: taken.length ? "arrow taken" : "arrow", d: `M${left + 22} ${y}V${y + GAP - 1}`, "marker-end": "url(#tip)" }));
    const says = ways.map((way) => (way.named ? way.title : way.says)).join(", or ");
    const lines = [svg("text", { class: "says", x: left + 32, y: y + (taken.length ? 16 : 25) }, fitted(says, 21), svg("title", {}, ways.map((way) => `${way.title}: ${way.says}`).join("\n")))];
    if (taken.length) lines.push(svg("text", { class: "when", x: left + 32, y: y + 31 }, `at step ${taken.slice(-2).map((one) => whole(one.step + first)).join(", ")}`));
    parts.push(...lines);
  }
  for (const { arrow, lane } of lanes.placed) parts.push(...curved(arrow, lane, left, top, decisions, states, where.step));
  const right = left + BOX + 14 * lanes.on + EDGE;
  const height = top(states.length) - GAP + EDGE;
  const lit = states.findIndex((state) => state.name === where.state);
  const label = where.example ? `it shows itself in ${where.state}` : `the run is in ${where.state}`;
  host.replaceChildren(svg("svg", { class: where.example ? "example-run" : null, width: right, height, viewBox: `0 0 ${right} ${height}`, role: "img",
    "aria-label": `${states.length} states; ${label}` }, ...parts));
  byId("machine-title").textContent = where.example ? "Machine, in that run" : "Machine";
  const scrolled = `${where.state} ${host.clientHeight}`;
  if (host.dataset.scrolled !== scrolled) {
    host.dataset.scrolled = scrolled;
    if (top(lit) + HIGH > host.scrollTop + host.clientHeight || top(lit) < host.scrollTop) host.scrollTop = Math.max(0, top(lit) - host.clientHeight / 2);
  }
}

// Arrows that do not lead to the next state run beside the boxes: on the right where they lead on, on the left back.
function lanesOf(arrows) {
  const taken = { on: [], back: [] };
  const placed = [];
  const rest = arrows.filter((arrow) => arrow.to !== arrow.from + 1).sort((a, b) => Math.abs(a.to - a.from) - Math.abs(b.to - b.from));
  for (const arrow of rest.slice(0, 40)) {
    const side = arrow.to < arrow.from ? taken.back : taken.on;
    const [low, high] = [Math.min(arrow.from, arrow.to), Math.max(arrow.from, arrow.to)];
    let lane = side.findIndex((used) => used.every(([from, to]) => high < from || to < low));
    if (lane < 0) lane = side.push([]) - 1;
    if (lane > 3) lane = 3;
    side[lane].push([low, high]);
    placed.push({ arrow, lane });
  }
  return { placed, on: Math.min(4, taken.on.length), back: Math.min(4, taken.back.length) };
}

function curved(arrow, lane, left, top, decisions, states, step) {
  const back = arrow.to < arrow.from;
  const edge = back ? left : left + BOX;
  const x = edge + (back ? -1 : 1) * (8 + 14 * lane);
  const self = arrow.to === arrow.from;
  const start = top(arrow.from) + HIGH / 2 + (self ? -10 : back ? -7 : 7);
  const end = top(arrow.to) + HIGH / 2 + (self ? 10 : back ? 7 : -7);
  const taken = decisions.some((one) => one.step <= step && one.from === states[arrow.from].name && one.to === states[arrow.to].name);
  const d = `M${edge} ${start}H${x}V${end}H${edge + (back ? -2 : 2)}`;
  return [svg("path", { class: `arrow${taken ? " taken" : ""}${arrow.regress ? " down" : ""}`, d, "marker-end": "url(#tip)" },
    svg("title", {}, `${states[arrow.from].name} → ${states[arrow.to].name}: ${arrow.says}`))];
}

export function showCheck(report, shown, onExample) {
  const signs = { broken: ["✕", "broken", "broken"], open: ["?", "open", "open"], proved: ["✓", "holds", "ok"], note: ["·", "note", "open"] };
  byId("check-list").replaceChildren(...report.lines.map(({ kind, text, code, example }) => {
    const [glyph, words, style] = signs[kind];
    return html("li", {}, html("span", { class: style, role: "img", "aria-label": words }, glyph),
      example
        ? html("button", { type: "button", title: `${code}: shown on the machine and the curve`, "aria-pressed": String(example === shown), onclick: () => onExample(example) }, text)
        : html("span", { title: code ?? null }, text));
  }));
}
