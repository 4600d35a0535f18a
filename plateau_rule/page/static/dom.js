// Elements, and numbers as people read them. Text goes in as text nodes only: no string is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export function html(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function whole(value) {
  return grouped.format(value).replace("-", "−");
}

// Three or four digits that say something; the minus is a minus.
export function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "NaN";
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return whole(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) {
    const [head, power] = value.toExponential(digits - 2).split("e");
    return `${head}e${power.replace("+", "")}`.replaceAll("-", "−");
  }
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size || 1)));
  return Number(value.toFixed(Math.min(places, 8))).toLocaleString("en-US", { maximumFractionDigits: 8 }).replace("-", "−");
}

// What a number field holds: no grouping, the digits that were meant.
export function plain(value) {
  return String(Number(Number(value).toPrecision(6)));
}

export function signed(value) {
  return value > 0 ? `+${whole(value)}` : whole(value);
}

export function knobsInWords(knobs) {
  return Object.entries(knobs).map(([name, value]) => `${name} ${short(value, 4)}`);
}

// "a", "a and b", "a, b and c"
export function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

// A text that has room for so many letters; the whole of it stands in a title beside it.
export function fitted(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
