// Why: how near each transition is, guard by guard; in a run that is over, how it got here.

import { byId, html, listed, short, svg, whole } from "./dom.js";

const SIGNS = { true: ["✓", "holds", "ok"], false: ["○", "does not hold", "open"], null: ["?", "not known yet", "open"] };
const WIDE = Math.asinh(48);
const MOST_UNIT = 16; // letters that have room beside a number
const JOINED = { any: "one of these", all: "all of these", not: "not this" };

// A meter's place from −1 to 1: the threshold stands at one place on every meter, whatever it is.
export function placeOn({ holds: [from, to], unit }, value) {
  const edge = to ?? from ?? 0;
  const percent = unit.startsWith("%");
  const zero = percent ? 0 : edge;
  const size = (percent ? Math.abs(edge) : 0.05 * Math.abs(edge)) || 1;
  return Math.min(1, Math.max(-1, Math.asinh((1.6 * (value - zero)) / size) / WIDE));
}

export function sign(verdict) {
  const [glyph, words, kind] = SIGNS[String(verdict)];
  return html("span", { class: kind, role: "img", "aria-label": words, title: words }, glyph);
}

function meterOf(reading) {
  const { value, low, high, holds: [from, to], seen, needs, verdict } = reading;
  const part = (share) => `${(100 * Math.min(1, Math.max(0, share))).toFixed(2)}%`;
  const bar = (kind, start, end, y, height) =>
    svg("rect", { class: kind, x: part(start), y, width: part(Math.max(0, end - start)), height, rx: 2 });
  const draw = (...children) => svg("svg", { class: "meter", "aria-hidden": "true" }, bar("track", 0, 1, 4, 8), ...children);
  if (verdict === null && needs && seen < needs && value === null) return draw(bar("gathered", 0, seen / needs, 4, 8));
  if (reading.kind === "clock") return verdict ? null : draw(bar("gathered", 0, needs ? seen / needs : 0, 4, 8));
  if (value === null) return null;
  const at = (number) => 0.02 + (0.96 * (placeOn(reading, number) + 1)) / 2;
  const edges = [from, to].filter((edge) => edge !== null);
  return draw(
    bar("region", from === null ? 0 : at(from), to === null ? 1 : at(to), 4, 8),
    ...edges.map((edge) => svg("line", { class: "edge", x1: part(at(edge)), x2: part(at(edge)), y1: 1, y2: 15 })),
    low === null || high === null ? null : svg("line", { class: "value-interval", x1: part(at(low)), x2: part(at(high)), y1: 8, y2: 8 }),
    svg("circle", { class: "value-dot", cx: part(at(value)), cy: 8, r: 4.5 }),
  );
}

// The number beside the title; its unit stands there where it is short, and in the sentence below otherwise.
function valueOf(reading) {
  const { value, low, high, kind, seen, needs, unit } = reading;
  if (kind === "clock") {
    const what = unit.length > MOST_UNIT ? "" : ` ${unit}`;
    return seen < needs ? `${whole(seen)} of ${whole(needs)}${what}` : `${whole(seen)}${what}, ${whole(needs)} needed`;
  }
  if (value === null) return needs && seen < needs ? `${whole(seen)} of ${whole(needs)}` : "";
  const sign = unit.startsWith("%") ? " %" : "";
  return low === null || high === null ? short(value) + sign : `${short(low)} to ${short(high)}${sign}`;
}

function readingOf(reading) {
  const { title, kind, unit } = reading;
  if (reading.parts.length) {
    const own = title && title !== kind;
    return html("div", { class: "reading" }, sign(reading.verdict), html("span", { class: "title" }, own ? title : JOINED[kind] ?? kind),
      html("span", { class: "value" }, own ? JOINED[kind] ?? "" : ""),
      html("div", { class: "parts" }, ...reading.parts.map(readingOf)));
  }
  const says = kind === "clock" ? (unit.length > MOST_UNIT ? unit : "") : reading.text;
  return html("div", { class: "reading" }, sign(reading.verdict), html("span", { class: "title" }, title),
    html("span", { class: "value" }, valueOf(reading)), meterOf(reading), says ? html("span", { class: "says" }, says) : null);
}

const leaves = (reading) => (reading.parts.length ? reading.parts.flatMap(leaves) : [reading]);

// What to call a guard in a sentence: its name, or those of what it is made of.
function nameOf({ title, kind, parts }) {
  if (!parts.length || title !== kind) return title.replace(/ \(.*\)$/, "");
  return `${kind === "not" ? "not " : ""}${parts.map(nameOf).join(kind === "any" ? " or " : " and ")}`;
}

// One sentence: where the run is, and what keeps it there.
function verdictOf(answer, first) {
  const { state, ways, next_look: look, decision } = answer;
  const bold = (text) => html("b", {}, text);
  if (decision) return html("p", { class: "verdict" }, "From ", bold(decision.from), " to ", bold(decision.to), ` at this step, by ${decision.transition}.`);
  if (!ways.length) return html("p", { class: "verdict" }, "In ", bold(state), ". No transition leaves it.");
  const way = ways[0];
  const held = way.parts.filter((part) => part.verdict !== true);
  const later = look === null ? "" : ` The next look is at step ${whole(look + first)}.`;
  if (!held.length && way.sustain > 1 && way.sustained < way.sustain) {
    return html("p", { class: "verdict" }, "In ", bold(state), `. Its guards hold, for ${way.sustained} of ${way.sustain} looks in a row.${later}`);
  }
  if (!held.length) return html("p", { class: "verdict" }, "In ", bold(state), `. Its guards hold.${later}`);
  const names = listed(held.map(nameOf));
  return html("p", { class: "verdict" }, "In ", bold(state), ", held by ", bold(names), `.${ways.length > 1 ? ` ${ways.length} ways lead out.` : ""}`);
}

function wayOf(way, several) {
  const often = way.sustain > 1 ? ` · ${way.sustained} of ${way.sustain} looks` : "";
  const most = way.at_most === null ? "" : ` · taken ${way.taken} of ${way.at_most}`;
  const when = { step: "", epoch: " · asked when an epoch closes", eval: " · asked at an evaluation" }[way.at];
  const head = several || often || most ? html("h2", {}, `to ${way.to}, ${way.transition}${when}${often}${most}`) : null;
  return html("div", { class: "way" }, head, ...way.parts.map(readingOf));
}

export function showWhy(answer, { first, pinned, onPin }) {
  const title = answer.decision || !answer.ways.length ? "Why at step " : "Why not at step ";
  byId("why-title").textContent = pinned === null ? "Why" : title + whole(answer.step + first);
  byId("now").hidden = pinned === null;
  const certain = answer.certain > 1
    ? [html("p", { class: "soft" }, `Whatever the losses are, nothing changes before step ${whole(answer.step + answer.certain + first)}.`)]
    : [];
  const list = answer.history ? historyOf(answer.history, first, onPin) : null;
  byId("why").replaceChildren(verdictOf(answer, first), ...answer.ways.map((way) => wayOf(way, answer.ways.length > 1)), ...certain, ...(list ? [list] : []));
}

// How a finished run got here: each transition with the guards that brought it.
function historyOf(decisions, first, onPin) {
  return html("ul", { class: "history" }, ...decisions.map((one) =>
    html("li", {}, html("button", { type: "button", onclick: () => onPin(one.step) },
      html("b", {}, `${one.from} → ${one.to}`), " ", html("span", { class: "at" }, `at step ${whole(one.step + first)}`),
      html("span", { class: "says" }, one.ways.flatMap((way) => way.parts).flatMap(leaves).map((part) => (part.text.startsWith(`${nameOf(part)}:`) ? part.text : `${nameOf(part)}: ${part.text}`)).join("; "))))));
}

// The same data as the map of raises, at the pinned step: which values would have left this state by now.
export function showOthers({ map, step, hardnessHere, hardness, first, onValue }) {
  const before = map?.rows
    .map((row) => ({ value: row.value, stay: row.stays.find((stay) => hardness[stay.state] > hardnessHere) }))
    .filter(({ value, stay }) => value !== map.file && stay && stay.from <= step) ?? [];
  const near = before.sort((a, b) => Math.abs(Math.log((a.value + 1e-12) / (map.file + 1e-12))) - Math.abs(Math.log((b.value + 1e-12) / (map.file + 1e-12)))).slice(0, 4);
  byId("others").replaceChildren(...(near.length
    ? [html("h2", {}, `Raised by here under another ${map.name}`),
      html("div", { class: "options" }, ...near.map(({ value, stay }) =>
        html("button", { class: "option", type: "button", onclick: () => onValue(value) },
          html("b", {}, short(value)), ` at ${whole(stay.from + first)}`)))]
    : []));
}
