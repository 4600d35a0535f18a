// What if: a slider and a number for each setting, and when each state would have been entered.

import { byId, html, plain, signed, whole } from "./dom.js";
import { placeOf, valueAt } from "./scale.js";

const SHOWN = 3;
export const NOISE = "noise"; // the path of what is no number of the file

export class WhatIf {
  // onChange(path, value): a setting was turned; onFocus(path): the map is to show this one.
  constructor({ onChange, onFocus, canSimulate }) {
    Object.assign(this, { onChange, onFocus, canSimulate, noise: null, rows: new Map(), all: false, known: "" });
  }

  show(meta, settings, chosen) {
    this.noise = this.canSimulate && meta.simulated !== null ? meta.simulated : null;
    const known = JSON.stringify([meta.tunables, this.all, this.noise !== null]);
    if (known !== this.known) {
      this.known = known;
      this.build(meta.tunables);
    }
    for (const [path, row] of this.rows) {
      const value = path === NOISE ? this.noise : settings.get(path) ?? row.tunable.value;
      row.root.classList.toggle("changed", settings.has(path));
      row.root.classList.toggle("chosen", path === chosen);
      if (document.activeElement !== row.slider) row.slider.value = placeOf(row.tunable, value);
      if (document.activeElement !== row.number || !row.typing) row.number.value = plain(value);
      row.slider.setAttribute("aria-valuetext", plain(value));
    }
    byId("reset").hidden = settings.size === 0;
  }

  build(tunables) {
    this.rows.clear();
    const shown = this.all ? tunables : tunables.slice(0, SHOWN);
    const rows = shown.map((tunable, index) => this.row(tunable, index));
    const more = tunables.length > SHOWN
      ? html("button", { class: "link", type: "button", "aria-expanded": String(this.all), onclick: () => { this.all = !this.all; this.build(tunables); this.onFocus(null); } },
        this.all ? "fewer settings" : `${tunables.length - SHOWN} more`)
      : null;
    if (this.noise !== null) rows.push(this.row({ path: NOISE, name: "noise", guard: "of simulated losses", value: this.noise, min: 0.001, max: 0.5, log: true, whole: false }, shown.length));
    byId("tunables").replaceChildren(...(rows.length ? rows : [html("p", { class: "soft" }, "No guard of this curriculum has a number to turn.")]), ...(more ? [more] : []));
  }

  row(tunable, index) {
    const { path, name, guard } = tunable;
    const said = `${name}, ${guard}`;
    const slider = html("input", { type: "range", min: 0, max: 1000, step: 1, "aria-label": said });
    const number = html("input", { type: "number", id: `setting-${index}`, step: "any", inputmode: "decimal", "aria-label": `${said}, as a number` });
    const row = { tunable, slider, number, typing: false };
    const turn = (value) => this.onChange(path, value);
    if (path !== NOISE) for (const input of [slider, number]) input.addEventListener("focus", () => this.onFocus(path));
    slider.addEventListener("input", () => turn(valueAt(tunable, Number(slider.value))));
    slider.addEventListener("keydown", (event) => {
      if (event.key !== "Home") return;
      event.preventDefault();
      slider.value = placeOf(tunable, tunable.value);
      turn(tunable.value);
    });
    number.addEventListener("input", () => {
      row.typing = true;
      const value = Number(number.value);
      if (number.value.trim() !== "" && Number.isFinite(value)) turn(value);
    });
    number.addEventListener("change", () => { row.typing = false; });
    row.root = html("div", { class: "tunable" },
      html("label", { for: `setting-${index}` }, name, html("small", {}, guard)), slider, number);
    this.rows.set(path, row);
    return row.root;
  }
}

// What the noise of the losses does to a setting: too early how often, and after how many losses.
export function showNoise(answer, tried) {
  const short = (text) => text.replace(/^guard "(.*)"$/, "$1");
  byId("noise").replaceChildren(...(answer.lines.length
    ? [html("h2", {}, tried ? "In this noise, as tried" : "In this noise"), ...answer.lines.map(({ guard, text, remedy, warns }) =>
      html("p", {}, html("span", { class: warns ? "broken" : "ok", role: "img", "aria-label": warns ? "beware" : "fine" }, warns ? "! " : "✓ "), html("b", {}, short(guard)), `: ${text} `,
        remedy ? html("span", { class: "soft" }, remedy) : null))]
    : []));
}

// When each state is entered: by the file, by A where a setting is held, and by what is tried.
export function showOutcome(meta, whatif, held = null) {
  const first = meta.first;
  if (whatif?.error) {
    byId("outcome").replaceChildren(html("p", { class: "fault" }, whatif.error));
    return;
  }
  const never = meta.live ? "not yet" : "never";
  const runs = [meta.decisions, ...(held ? [held.decisions] : []), ...(whatif ? [whatif.decisions] : [])];
  const rows = entriesOf(runs);
  if (!rows.length) {
    byId("outcome").replaceChildren(html("p", {}, `No transition ${meta.live ? "yet" : "in this run"}.`));
    return;
  }
  const words = (step) => (step === null ? never : whole(step + first));
  // B is held against A, and A, or what is tried alone, against the file.
  const cell = (steps, index) => {
    const [step, before] = [steps[index], steps[index - 1]];
    if (index === 0 || step === before) return html("td", {}, words(step));
    return html("td", { class: "changed" }, words(step), step === null || before === null ? "" : ` ${signed(step - before)}`);
  };
  const names = ["the file", ...(held ? ["A"] : []), ...(whatif ? [held ? "B" : "what if"] : [])];
  const head = html("tr", {}, ...["to", ...names].map((name) => html("th", { scope: "col" }, name)));
  const body = rows.slice(0, 8).map(({ to, steps }) => html("tr", {}, html("td", {}, to), ...steps.map((_, index) => cell(steps, index))));
  const left = rows.length > 8 ? html("p", {}, `and ${rows.length - 8} more`) : null;
  const parts = [held, whatif].filter((one) => one && one.parts !== null);
  const note = parts.length ? html("p", {}, "Hatched: from the first raise that differs, these losses are of another run.") : null;
  const alike = held && whatif && rows.every(({ steps }) => steps.at(-1) === steps.at(-2));
  const same = alike ? "A and B bring the same transitions, at the same steps." : (held || whatif) && !parts.length ? "The same transitions, at the same steps." : null;
  byId("outcome").replaceChildren(...[html("table", {}, html("thead", {}, head), html("tbody", {}, ...body)), left, note, same && html("p", {}, same)].filter(Boolean));
}

// One row for each entering of a state, the n-th time in one run beside the n-th in the others.
function entriesOf(runs) {
  const rows = new Map();
  for (const [which, decisions] of runs.entries()) {
    const times = new Map();
    for (const { to, step } of decisions) {
      const time = (times.get(to) ?? 0) + 1;
      times.set(to, time);
      const key = `${time} ${to}`;
      const row = rows.get(key) ?? { to: time > 1 ? `${to}, again` : to, steps: runs.map(() => null) };
      row.steps[which] = step;
      rows.set(key, row);
    }
  }
  return [...rows.values()];
}
