// The page: holds what is shown, asks the source for it, and hands each part what it draws.

import { Chart } from "./chart.js";
import { byId, whole } from "./dom.js";
import { copyText, showFile } from "./file.js";
import { showHeld, textsOf } from "./held.js";
import { keptSource } from "./kept.js";
import { follow } from "./live.js";
import { pathOf, showCheck, showMachine } from "./machine.js";
import { Pointer } from "./pointer.js";
import { showHead, stateAt, wordsAt } from "./readout.js";
import { placeOf, valuesOf } from "./scale.js";
import { serverSource } from "./source.js";
import { themed } from "./theme.js";
import { laneOf } from "./track.js";
import { showOthers, showWhy } from "./why.js";
import { NOISE, showNoise, showOutcome, WhatIf } from "./whatif.js";

const ROWS = 18;
const REFRESH_MS = 250;
const READING_MS = 700;
const MAP_MS = 3000; // between two maps of a run that goes on

class Page {
  constructor(source) {
    this.source = source;
    this.chart = new Chart(byId("chart"));
    this.view = { from: 0, to: 1 };
    this.zoomed = false;
    this.settings = new Map();
    Object.assign(this, { log: false, others: [], example: null, held: null, report: null, mapAt: 0, meta: null, curve: null, track: null, cursor: null, pinned: null, stretch: null, whatif: null, why: null, map: null, path: null, mapKey: "" });
    this.whatIf = new WhatIf({ onChange: (path, value) => this.tune(path, value), onFocus: (path) => this.focusOn(path), canSimulate: Boolean(source.simulate) });
    this.pointer = new Pointer(byId("chart"), this);
    byId("now").addEventListener("click", () => this.pin(null));
    byId("at-step").addEventListener("change", ({ target }) => this.goTo(target.value));
    byId("hold").addEventListener("click", () => this.hold());
    byId("reset").addEventListener("click", () => this.reset());
    byId("log").addEventListener("click", () => this.toggleLog());
    byId("save").addEventListener("click", () => this.save());
    byId("copy").addEventListener("click", () => this.copy());
    new ResizeObserver(() => this.resized()).observe(byId("chart"));
  }

  // From the source

  async start() {
    await this.refresh();
    document.body.dataset.ready = "true";
    if (this.source.live && this.meta?.follows) this.followRun();
    await this.checkOnce();
  }

  // What a question brings; what goes wrong is said, and the last good picture stays. A question that is answered takes
  // back what was said of one before; of a file that was not saved, only the next attempt does.
  async ask(promise, take, about = "run") {
    try {
      const answer = await promise;
      if (answer === undefined) return; // a newer question took its place
      if (byId("trouble").dataset.about === about) byId("trouble").hidden = true;
      take(answer);
    } catch (error) {
      if (!byId("trouble").hidden && byId("trouble").dataset.about !== about && about === "run") return;
      byId("trouble").textContent = error.message;
      byId("trouble").dataset.about = about;
      byId("trouble").hidden = false;
    }
  }

  async refresh() {
    await this.ask(this.source.meta(), (meta) => this.takeMeta(meta));
    if (!this.meta) return;
    if (this.meta.opening) { // the machine stands there; the curve comes once there is one
      this.meta.opening = false;
      this.draw();
      await this.askCurve();
      return this.refresh();
    }
    if (this.meta.reading) { // the curve grows, and the rest can wait
      await this.askCurve();
      return this.draw();
    }
    await Promise.all([this.askCurve(), this.askWhy(), this.askTrack()]);
    this.draw();
    await Promise.all([this.askHeld(), this.askWhatIf(), this.askMap()]);
    await this.askNoise();
  }

  askNoise() {
    if (!this.meta.points) return null;
    const tried = this.settings.size > 0;
    return this.ask(this.source.noise([...this.settings]), (answer) => showNoise(answer, tried && !this.source.single));
  }

  async checkOnce() {
    if (this.report || this.meta?.reading) return;
    await this.askCheck();
    document.body.dataset.checked = "true";
  }

  askCheck() {
    return this.ask(this.source.check(), (report) => {
      Object.assign(this, { report, example: null });
      this.showCheck();
    });
  }

  showCheck() {
    showCheck(this.report, this.example, (example) => this.showExample(example));
  }

  takeMeta(meta) {
    meta.hardness = Object.fromEntries(meta.states.map((state) => [state.name, state.hardness]));
    meta.until = meta.steps || 10;
    this.meta = meta;
    if (!this.zoomed) this.view = { from: 0, to: Math.max(meta.steps, 10) };
    else this.view.to = Math.min(this.view.to, Math.max(meta.steps, this.view.from + 10));
    if (this.pinned !== null && this.pinned > meta.steps) this.pinned = null;
    this.path ??= meta.tunables[0]?.path ?? null;
    showHead(meta);
    this.showPlace();
    this.showTried();
    byId("cut").hidden = meta.cut === null;
    if (meta.cut !== null) byId("cut").textContent = `cut back to step ${whole(meta.cut + meta.first)}`;
    this.showLive();
  }

  showLive(gone = false) {
    const chip = byId("live");
    const quiet = this.meta?.quiet;
    chip.hidden = !this.meta?.live && !gone;
    chip.className = gone ? "chip gone" : quiet ? "chip" : "chip on";
    chip.textContent = gone ? "connection lost" : quiet ? "no new loss for a minute" : "live";
  }

  askCurve() {
    const { from, to } = this.view;
    const width = Math.round(this.chart.width);
    const asked = [this.ask(this.source.curve(from, to, width), (curve) => { this.curve = curve; })];
    const count = this.meta.others.length;
    if (count) asked.push(this.ask(this.source.others(count, from, to, width), (others) => { this.others = others; }));
    return Promise.all(asked);
  }

  askTrack() {
    const { from, to } = this.view;
    return this.ask(this.source.track(from, to, Math.round(this.chart.width)), (track) => { this.track = laneOf(track); });
  }

  askWhy() {
    return this.ask(this.source.why(this.pinned ?? this.meta.steps), (answer) => {
      this.why = answer;
      showWhy(answer, { first: this.meta.first, pinned: this.pinned, onPin: (step) => this.pin(step) });
      this.showOthers();
    });
  }

  async askWhatIf() {
    if (!this.settings.size) {
      this.takeWhatIf(null);
      return;
    }
    await this.ask(this.source.whatif([...this.settings]), (answer) => this.takeWhatIf(answer));
  }

  // What is held is asked again where the run has grown.
  askHeld() {
    const { held } = this;
    return held && this.ask(this.source.held([...held.settings]), (answer) => { if (!answer.error) held.answer = answer; });
  }

  takeWhatIf(answer) {
    if (!this.settings.size) answer = null;
    if (answer?.error) {
      showOutcome(this.meta, answer);
      return; // the last good picture stays
    }
    this.whatif = answer;
    this.showTried();
    this.draw();
  }

  // The settings that are tried, when they enter each state, and the file's text with them.
  showTried() {
    const { meta, held, whatif, settings } = this;
    showOutcome(meta, whatif, held?.answer);
    const { base, tried, title } = textsOf(meta, held, whatif);
    showFile(title, base, tried);
    this.whatIf.show(meta, settings, this.path);
    showHeld(meta, held, settings, () => this.hold(false));
    this.showSave();
  }

  showSave() {
    byId("save").hidden = !this.meta.edit || !this.settings.size;
    byId("save").textContent = `save into ${this.meta.edit}`;
  }

  async askMap() {
    const tunable = this.meta.tunables.find((each) => each.path === this.path);
    if (!tunable) return;
    const others = [...this.settings].filter(([path]) => path !== this.path);
    const key = JSON.stringify([this.path, others, this.meta.gen, this.meta.points]);
    if (key === this.mapKey) return;
    const asked = JSON.stringify([this.path, others, this.meta.gen]);
    if (this.meta.live && asked === this.mapAsked && Date.now() - this.mapAt < MAP_MS) return; // it is many runs' work
    Object.assign(this, { mapAt: Date.now(), mapAsked: asked });
    const values = valuesOf(tunable, ROWS);
    await this.ask(this.source.grid(this.path, values, others), ({ rows }) => {
      this.mapKey = key;
      this.map = { tunable, name: tunable.name, file: tunable.value, rows, text: `the same losses under other values of ${tunable.name}` };
      this.showOthers();
      this.draw();
      document.body.dataset.map = this.path;
    });
  }

  // What is shown

  draw() {
    if (!this.meta) return;
    const { from, to } = this.view;
    const share = Math.min(1, (to - from) / Math.max(1, this.meta.steps));
    const each = this.curve?.count ? Math.round((this.meta.points * share) / this.curve.count) : 1;
    this.chart.draw({ ...this.shown(), each });
    this.showReadout();
  }

  shown() {
    const { meta, curve, track, view, whatif, cursor, pinned, others, example, log } = this;
    return { meta, curve, track, view, whatif, held: this.held?.answer, cursor, others, example, log, pinned, chosen: this.stretch, map: this.map && meta.points > 0 && this.drawnMap() };
  }

  point() {
    this.chart.point({ cursor: this.cursor, pinned: this.pinned, chosen: this.stretch });
    this.showReadout();
  }

  // The map with the value that is tried in the row nearest to it.
  drawnMap() {
    const { tunable } = this.map;
    const value = this.settings.get(tunable.path) ?? tunable.value;
    const nearest = (wanted) => {
      const far = this.map.rows.map((row) => Math.abs(placeOf(tunable, row.value) - placeOf(tunable, wanted)));
      return far.indexOf(Math.min(...far));
    };
    const chosen = nearest(value);
    const held = this.held ? nearest(this.held.settings.get(tunable.path) ?? tunable.value) : null;
    const exact = this.whatif && this.settings.has(tunable.path);
    const rows = this.map.rows.map((row, index) => (index === chosen && exact ? { value, stays: this.whatif.stays } : row));
    return { ...this.map, rows, chosen, held };
  }

  showReadout() {
    const step = this.cursor ?? this.pinned ?? Math.max(0, this.meta.steps - 1);
    const words = wordsAt(this.meta, this.curve, step);
    byId("readout").textContent = words;
    const chart = byId("chart");
    chart.setAttribute("aria-valuemin", this.meta.first);
    chart.setAttribute("aria-valuemax", this.meta.steps + this.meta.first);
    chart.setAttribute("aria-valuenow", step + this.meta.first);
    chart.setAttribute("aria-valuetext", words);
  }

  showPlace() {
    const step = this.pinned ?? this.meta.steps;
    showMachine(this.meta, this.example ? pathOf(this.example) : { step, state: this.pinned === null ? this.meta.plan.state : stateAt(this.meta, step) });
  }

  showOthers() {
    const step = this.pinned ?? this.meta.steps;
    const state = stateAt(this.meta, step);
    showOthers({
      map: this.map, step, hardness: this.meta.hardness, hardnessHere: this.meta.hardness[state] ?? 0, first: this.meta.first,
      onValue: (value) => this.tune(this.map.tunable.path, value),
    });
  }

  // What a user does

  move(step) {
    this.cursor = step;
    this.point();
  }

  // A step that was typed, as the log counts them; nothing typed is now.
  goTo(typed) {
    const step = Math.round(Number(typed)) - this.meta.first;
    if (typed.trim() === "" || !Number.isFinite(step)) return this.pin(null);
    if (step < this.view.from || step > this.view.to) this.zoomOut();
    return this.pin(Math.max(0, step));
  }

  pin(step) {
    this.pinned = step === null ? null : Math.min(step, this.meta.steps);
    byId("at-step").value = this.pinned === null ? "" : this.pinned + this.meta.first;
    this.point();
    this.showPlace();
    this.showOthers();
    return this.askWhy();
  }

  choose(from, to) {
    this.stretch = from === null ? null : [from, to];
    this.point();
  }

  async zoom(from, to) {
    this.stretch = null;
    const last = Math.max(this.meta.steps, 10);
    const span = Math.max(10, Math.round(to - from));
    const start = Math.round(Math.min(Math.max(0, from), Math.max(0, last - span)));
    this.view = { from: start, to: Math.min(last, start + span) };
    this.zoomed = this.view.from > 0 || this.view.to < last;
    this.draw();
    await Promise.all([this.askCurve(), this.askTrack()]);
    this.draw();
  }

  zoomOut() {
    return this.zoom(0, Math.max(this.meta.steps, 10));
  }

  async tune(path, value) {
    if (path === NOISE) {
      await this.ask(this.source.simulate(value), () => {});
      return this.refresh();
    }
    const tunable = this.meta.tunables.find((each) => each.path === path);
    if (!tunable) return;
    value = this.source.nearest?.(path, value) ?? value;
    if (this.source.single) this.settings.clear();
    if (value === tunable.value) this.settings.delete(path);
    else this.settings.set(path, value);
    this.path = path;
    this.whatIf.show(this.meta, this.settings, this.path);
    await Promise.all([this.askWhatIf(), this.askMap()]);
    return this.askNoise();
  }

  async focusOn(path) {
    if (path === null) {
      this.whatIf.show(this.meta, this.settings, this.path);
      return;
    }
    if (path === this.path) return;
    this.path = path;
    this.whatIf.show(this.meta, this.settings, this.path);
    await this.askMap();
  }

  // Keep what is tried as A, to be held against what is tried next; or let it go.
  hold(keep = true) {
    this.held = keep && this.whatif ? { settings: new Map(this.settings), answer: this.whatif } : null;
    this.showTried();
    this.draw();
  }

  async reset() {
    this.settings.clear();
    if (byId("trouble").dataset.about === "file") byId("trouble").hidden = true;
    this.takeWhatIf(null);
    await this.askMap();
    return this.askNoise();
  }

  async save() {
    let saved = false;
    await this.ask(this.source.save([...this.settings]), () => { saved = true; }, "file");
    if (!saved) return;
    this.settings.clear();
    Object.assign(this, { whatif: null, held: null, mapKey: "" });
    await this.refresh();
    await this.askCheck();
  }

  async copy() {
    const done = await copyText(this.whatif?.text ?? this.meta.text);
    byId("copy").textContent = done ? "copied" : "select the text and copy it";
    setTimeout(() => { byId("copy").textContent = "copy"; }, 2000);
  }

  toggleLog() {
    this.log = !this.log;
    byId("log").setAttribute("aria-pressed", String(this.log));
    this.draw();
  }

  // The run in which a finding of `check` shows itself, as a lane of its own and on the machine; again takes it away.
  showExample(example) {
    this.example = this.example === example ? null : example;
    this.showCheck();
    this.showPlace();
    this.draw();
  }

  resized() {
    if (!this.meta) return;
    this.draw();
    if (this.curve && Math.abs(this.chart.width - this.curve.count) > 40) this.askCurve().then(() => this.draw());
  }

  // A run that goes on

  followRun() {
    let due = null;
    follow((event) => {
      if (event.cut !== undefined) this.mapKey = "";
      this.showLive();
      due ??= setTimeout(async () => {
        due = null;
        await this.refresh();
        await this.checkOnce();
      }, event.more ? READING_MS : REFRESH_MS);
    }, () => this.showLive(true));
  }
}

themed();
new Page(byId("data") ? keptSource(JSON.parse(byId("data").textContent)) : serverSource()).start();
