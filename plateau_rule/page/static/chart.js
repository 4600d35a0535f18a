// The run on one axis of steps: lanes of states, the loss, the guard, the knobs, the rate, and the map of raises.

import { meanNear, rangeOf } from "./curve.js";
import { short, svg, whole } from "./dom.js";
import { logTicks, Scale, shadeOf, stepped, ticks } from "./scale.js";

const LEFT = 70;
const RIGHT = 8;
const MOST_MARKS = 12;
const MOST_KNOBS = 3;
const MOST_METRICS = 2;

// What stands where, from the top; the loss takes what is left.
function lanes(height, shown) {
  const above = [shown.held, shown.whatif, shown.example].filter(Boolean).length;
  const fixed = { state: 18, above: 18 * above, guard: shown.guard ? 54 : 0, metrics: 40 * shown.metrics };
  const knob = shown.knobs > 1 ? 30 : 40;
  const rest = { rate: 40, map: shown.map ? 90 : 0, axis: 20 };
  const gaps = 4 + 3 * above + (shown.guard ? 12 : 0) + shown.metrics * 10 + shown.knobs * 10 + 10 + (shown.map ? 20 : 0) + 4;
  const taken = fixed.state + fixed.above + fixed.guard + fixed.metrics + shown.knobs * knob + rest.rate + rest.map + rest.axis + gaps;
  let y = 0;
  const at = (size, gap) => {
    const lane = { top: y, height: size, bottom: y + size };
    y += size + gap;
    return lane;
  };
  return {
    state: at(fixed.state, 4),
    held: shown.held ? at(18, 3) : null,
    whatif: shown.whatif ? at(18, 3) : null,
    example: shown.example ? at(18, 3) : null,
    loss: at(Math.max(60, height - taken), shown.guard ? 12 : 0),
    guard: shown.guard ? at(fixed.guard, 10) : at(0, 10),
    metrics: Array.from({ length: shown.metrics }, () => at(40, 10)),
    knobs: Array.from({ length: shown.knobs }, () => at(knob, 10)),
    rate: at(rest.rate, shown.map ? 20 : 4),
    map: shown.map ? at(rest.map, 4) : null,
    axis: at(rest.axis, 0),
  };
}

export class Chart {
  constructor(host) {
    this.host = host;
    this.svg = svg("svg", { "aria-hidden": "true" });
    this.above = svg("g", {});
    this.scale = new Scale(0, 1, LEFT, 600);
    host.append(this.svg);
  }

  get width() {
    return Math.max(120, this.host.clientWidth - LEFT - RIGHT);
  }

  // Everything that does not follow the pointer.
  draw(shown) {
    const { meta, curve, track, view, whatif, held, map, example } = shown;
    const height = this.host.clientHeight;
    const scale = new Scale(view.from, view.to, LEFT, this.width);
    const knobs = meta.knobs.slice(0, MOST_KNOBS);
    const metrics = meta.metrics.slice(0, MOST_METRICS);
    const place = lanes(height, {
      whatif: Boolean(whatif), held: Boolean(held), example: Boolean(example), guard: Boolean(track), metrics: metrics.length, knobs: knobs.length, map: Boolean(map),
    });
    Object.assign(this, { shown, scale, place });
    const marks = meta.decisions.filter((one) => one.step > view.from && one.step < view.to);
    const parts = [
      pattern(),
      ...this.axis(meta),
      ...this.states(meta.stays, place.state, "state"),
      ...(held ? this.states(held.stays, place.held, "A") : []),
      ...(whatif ? this.states(whatif.stays, place.whatif, held ? "B" : "what if") : []),
      ...(example ? this.states(example.stays, place.example, "example") : []),
      ...this.loss(curve, marks, partsOf([held, whatif])),
      ...(track ? this.guard(track) : []),
      ...metrics.flatMap((metric, index) => this.metric(metric, place.metrics[index])),
      ...knobs.flatMap((knob, index) => this.knob(knob, place.knobs[index])),
      ...this.rate(meta),
      ...(map ? this.map(map) : []),
      ...this.raises(marks, curve),
      ...(held ? this.tried(held, "held", 38) : []),
      ...(whatif ? this.tried(whatif, "tried", 23) : []),
      ...(example ? this.example(example) : []),
    ];
    this.above = svg("g", {});
    this.svg.replaceChildren(...parts, this.above);
    this.point(shown);
  }

  // What follows the pointer: the cursor, the pinned step, the stretch that is being chosen.
  point({ cursor, pinned, chosen }) {
    const bottom = this.place?.axis.top ?? 0;
    const line = (step, kind) => {
      const x = this.scale.x(step);
      return step === null || step === undefined || x < LEFT - 1 || x > LEFT + this.width + 1
        ? null
        : svg("line", { class: kind, x1: x, x2: x, y1: 0, y2: bottom });
    };
    const [from, to] = chosen ? chosen.map((step) => this.scale.x(step)) : [];
    const stretch = chosen && svg("rect", { class: "zoom", x: Math.min(from, to), y: 0, width: Math.abs(to - from), height: bottom });
    this.above.replaceChildren(...[stretch, line(pinned, "pin"), line(cursor, "cursor")].filter(Boolean));
  }

  axis(meta) {
    const { top } = this.place.axis;
    return ticks(this.scale.from + meta.first, this.scale.to + meta.first, Math.max(2, Math.floor(this.width / 90)), true).map((value) =>
      svg("text", { class: "axis", x: Math.min(this.scale.x(value - meta.first), LEFT + this.width + RIGHT - 3.4 * whole(value).length), y: top + 14 }, whole(value)));
  }

  states(stays, lane, label) {
    const parts = [svg("text", { class: { state: "label", example: "example" }[label] ?? "label tried", x: LEFT - 6, y: lane.top + 13 }, label)];
    for (const stay of stays) {
      const from = this.scale.within(stay.from);
      const to = this.scale.within(stay.to ?? this.shown.meta.until);
      if (to <= from) continue;
      const width = Math.max(0.5, to - from - (stays.length > 60 ? 0 : 1));
      const shade = shadeOf(this.shown.meta.hardness[stay.state] ?? 0);
      parts.push(svg("rect", { x: from, y: lane.top, width, height: lane.height, rx: width > 6 ? 2 : 0, style: null, fill: shade },
        svg("title", {}, `${stay.state} from step ${whole(stay.from + this.shown.meta.first)}`)));
      if (width > 7 * stay.state.length + 6) {
        parts.push(svg("text", { class: "state", x: from + width / 2, y: lane.top + 13 }, stay.state));
      }
    }
    return parts;
  }

  loss(curve, marks, differs) {
    const lane = this.place.loss;
    const middle = (lane.top + lane.bottom) / 2;
    const parts = [svg("text", { class: "label", x: LEFT - 6, y: lane.top + 9 }, this.shown.log ? "log loss" : "loss")];
    if (!curve || !curve.count) {
      return [...parts, svg("text", { class: "waiting", x: LEFT + this.width / 2, y: middle }, this.shown.meta.reading ? "Reading the log …" : "No loss yet. The curve appears with the first ones.")];
    }
    const [least, most] = rangeOf([curve, ...this.shown.others], this.scale);
    const isLog = this.shown.log && least > 0;
    const of = isLog ? (value) => Math.log(Math.max(value, 1e-300)) : (value) => value;
    const [low, high] = [of(least), of(most)];
    const y = (value) => lane.bottom - ((Math.min(Math.max(of(value), low - (high - low)), high + 9 * (high - low)) - low) / (high - low)) * (lane.height - 4) - 2;
    this.lossY = y;
    for (const value of isLog ? logTicks(least, most) : ticks(low, high, 5)) {
      const at = y(value);
      if (at < lane.top + 16) continue;
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: LEFT + this.width, y1: at, y2: at }));
      parts.push(svg("text", { class: "ruler", x: LEFT - 6, y: at + 4 }, short(value)));
    }
    if (differs !== null) {
      const from = this.scale.within(differs);
      parts.push(svg("rect", { x: from, y: lane.top, width: Math.max(0, LEFT + this.width - from), height: lane.height, fill: "url(#hatch)" }));
    }
    const clip = svg("clipPath", { id: "clip" }, svg("rect", { x: LEFT, y: lane.top, width: this.width, height: lane.height }));
    const shaded = [];
    const mean = [];
    const lost = [];
    let pen = "M";
    for (let i = 0; i < curve.count; i++) {
      const x = this.scale.x(curve.step[i]);
      if (Number.isNaN(curve.mean[i]) || !Number.isFinite(curve.mean[i])) {
        lost.push(svg("text", { class: "lost", x: x - 4, y: lane.bottom - 2 }, "×"));
        pen = "M";
        continue;
      }
      shaded.push([x, y(curve.max[i]), y(curve.min[i])]);
      mean.push(`${pen}${x.toFixed(1)} ${y(curve.mean[i]).toFixed(1)}`);
      pen = "L";
    }
    const outline = [...shaded.map(([x, up]) => [x, up]), ...shaded.toReversed().map(([x, , down]) => [x, down])];
    parts.push(clip, svg("g", { "clip-path": "url(#clip)" },
      svg("path", { class: "shade", d: outline.length ? `M${outline.map(([x, v]) => `${x.toFixed(1)} ${v.toFixed(1)}`).join("L")}Z` : "" }),
      ...this.shown.others.map((other) => this.other(other, y)),
      svg("path", { class: "mean", d: mean.join("") }), ...lost.slice(0, 200)));
    this.shown.meta.others.forEach((name, index) => {
      parts.push(svg("text", { class: "note", x: LEFT + this.width, y: lane.top + 24 + 14 * index }, `- - ${fits(name, 40)}`));
    });
    if (lost.length) parts.push(svg("text", { class: "lost", x: LEFT + 4, y: lane.bottom - 12 }, "× not a finite number"));
    const each = this.shown.each ?? 1;
    if (each > 1) parts.push(svg("text", { class: "note", x: LEFT + this.width, y: lane.bottom - 3 }, `shade: lowest to highest of ${whole(each)} losses`));
    return parts;
  }

  // Another run's losses, their mean alone.
  other(curve, y) {
    let d = "";
    for (let i = 0; i < curve.count; i++) {
      if (Number.isFinite(curve.mean[i])) d += `${d ? "L" : "M"}${this.scale.x(curve.step[i]).toFixed(1)} ${y(curve.mean[i]).toFixed(1)}`;
    }
    return svg("path", { class: "other", d });
  }

  metric({ name, points }, lane) {
    const inside = points.filter(([step]) => step >= this.scale.from && step <= this.scale.to);
    const values = inside.map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value) => lane.bottom - 4 - (high > low ? (value - low) / (high - low) : 0.5) * (lane.height - 8);
    const d = inside.map(([step, value], index) => `${index ? "L" : "M"}${this.scale.x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    return [
      svg("text", { class: "label", x: LEFT - 6, y: lane.top + 16 }, fits(name, 11)),
      svg("text", { class: "ruler", x: LEFT - 6, y: lane.top + 30 }, values.length ? `${short(low)}–${short(high)}` : ""),
      svg("line", { class: "grid", x1: LEFT, x2: LEFT + this.width, y1: lane.bottom, y2: lane.bottom }),
      svg("path", { class: "metric", d }),
      ...(inside.length <= 80 ? inside.map(([step, value]) => svg("circle", { class: "metric-dot", cx: this.scale.x(step), cy: y(value), r: 2.2 })) : []),
    ];
  }

  // Where a finding of `check` shows itself, in a run that it describes.
  example({ step, shows }) {
    const lane = this.place.loss;
    const x = this.scale.within(step);
    const right = x > LEFT + this.width / 2;
    return [
      svg("line", { class: "example-line", x1: x, x2: x, y1: this.place.example.top, y2: lane.bottom }),
      svg("text", { class: "shows", x: right ? x - 6 : x + 6, y: lane.bottom - 20, "text-anchor": right ? "end" : "start" }, `✕ ${fits(shows, 70)}`),
    ];
  }

  guard(track) {
    const lane = this.place.guard;
    const right = LEFT + this.width;
    const y = (u) => lane.bottom - Math.min(1, Math.max(0, (u + 1) / 2)) * lane.height;
    const [from, to] = track.region;
    const [upper, lower] = [y(to ?? 1), y(from ?? -1)];
    const parts = [
      svg("text", { class: "label", x: LEFT - 6, y: lane.top + 12 }, track.name),
      svg("text", { class: "holds", x: LEFT - 6, y: lane.top + 25 }, track.holds),
      svg("rect", { class: "lane-back", x: LEFT, y: lane.top, width: this.width, height: lane.height }),
      svg("rect", { class: "region", x: LEFT, y: upper, width: this.width, height: Math.max(0, lower - upper) }),
      ...[from, to].filter((edge) => edge !== null).map((edge) => svg("line", { class: "region-edge", x1: LEFT, x2: right, y1: y(edge), y2: y(edge) })),
    ];
    const inside = track.points.filter(([step]) => step >= this.scale.from - 1 && step <= this.scale.to + 1);
    for (const [step, , low, high] of inside) {
      if (low !== null && high !== null && high > low) {
        const x = this.scale.within(step);
        parts.push(svg("line", { class: "shade-line", stroke: "var(--shade)", "stroke-width": Math.max(1, this.width / 300), x1: x, x2: x, y1: y(high), y2: y(low) }));
      }
    }
    let d = "";
    let pen = "M";
    for (const [step, value] of inside) {
      if (value === null) { pen = "M"; continue; }
      d += `${pen}${this.scale.x(step).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    }
    parts.push(svg("path", { class: "guard", d }));
    const looks = track.looks.filter(([step]) => step >= this.scale.from && step <= this.scale.to);
    if (looks.length <= 80) {
      for (const [step, value, held] of looks) {
        if (value !== null) parts.push(svg("circle", { class: held ? "look held" : "look", cx: this.scale.x(step), cy: y(value), r: 3 }));
      }
    }
    return parts;
  }

  knob(knob, lane) {
    const y = (height) => lane.bottom - 4 - height * (lane.height - 10);
    const parts = [
      svg("text", { class: "label", x: LEFT - 6, y: lane.top + lane.height / 2 + 4 }, fits(knob.name, 11)),
      svg("line", { class: "grid", x1: LEFT, x2: LEFT + this.width, y1: lane.bottom, y2: lane.bottom }),
      svg("path", { class: "knob", d: stepped(knob.treads.map(([step, , height]) => [step, y(height)]), this.scale, this.shown.meta.until) }),
    ];
    let free = -Infinity;
    for (const [index, [step, value, height]] of knob.treads.entries()) {
      const x = this.scale.within(step);
      const next = this.scale.within(knob.treads[index + 1]?.[0] ?? this.shown.meta.until);
      const text = short(value, 4);
      if (x < free || next - x < 6.5 * text.length || next <= LEFT) continue;
      const below = height > 0.75;
      parts.push(svg("text", { x: x + 4, y: y(height) + (below ? 12 : -3) }, text));
      free = x + 6.5 * text.length + 8;
    }
    return parts;
  }

  rate(meta) {
    const lane = this.place.rate;
    const inside = meta.rate.filter(([step], index) =>
      step <= this.scale.to && (meta.rate[index + 1]?.[0] ?? Infinity) >= this.scale.from);
    const highest = Math.max(...inside.map(([, rate]) => rate), 1e-300);
    const y = (rate) => lane.bottom - 3 - (rate / highest) * (lane.height - 8);
    const d = inside.map(([step, rate], index) => `${index ? "L" : "M"}${this.scale.within(step).toFixed(1)} ${y(rate).toFixed(1)}`).join("");
    return [
      svg("text", { class: "label", x: LEFT - 6, y: lane.top + lane.height / 2 }, "rate"),
      svg("text", { class: "ruler", x: LEFT - 6, y: lane.top + lane.height / 2 + 13 }, inside.length ? `≤ ${short(highest, 2)}` : ""),
      svg("line", { class: "grid", x1: LEFT, x2: LEFT + this.width, y1: lane.bottom, y2: lane.bottom }),
      svg("path", { class: "rate", d }),
    ];
  }

  map({ name, rows, chosen, held, text }) {
    const lane = this.place.map;
    const size = lane.height / rows.length;
    const parts = [
      svg("text", { class: "label", x: LEFT - 6, y: lane.top - 6 }, fits(name, 11)),
      svg("text", { x: LEFT, y: lane.top - 6 }, text),
    ];
    rows.forEach((row, index) => {
      const y = lane.top + index * size;
      for (const stay of row.stays) {
        const from = this.scale.within(stay.from);
        const to = this.scale.within(stay.to ?? this.shown.meta.until);
        if (to > from) parts.push(svg("rect", { x: from, y, width: to - from, height: size - 0.5, fill: shadeOf(this.shown.meta.hardness[stay.state] ?? 0) }));
      }
    });
    const at = (index, kind) => svg("text", { class: kind, x: LEFT - 6, y: lane.top + index * size + size / 2 + 4 }, short(rows[index].value));
    if (rows.length) {
      const near = (index) => chosen !== null && chosen >= 0 && Math.abs(index - chosen) * size < 12;
      for (const index of new Set([0, rows.length - 1])) if (!near(index)) parts.push(at(index, "ruler"));
      if (held !== null && held !== chosen) {
        parts.push(svg("rect", { class: "held-row", x: LEFT - 0.5, y: lane.top + held * size, width: this.width + 1, height: size - 0.5, rx: 2 }));
      }
      if (chosen !== null && chosen >= 0) {
        parts.push(at(chosen, "ruler tried"));
        parts.push(svg("rect", { class: "tried-row", x: LEFT - 0.5, y: lane.top + chosen * size, width: this.width + 1, height: size - 0.5, rx: 2 }));
      }
    }
    return parts;
  }

  raises(marks, curve) {
    if (marks.length > MOST_MARKS) return [];
    const lane = this.place.loss;
    let free = -Infinity;
    return marks.flatMap((one) => {
      const x = this.scale.x(one.step);
      const at = curve?.count && this.lossY ? Math.max(lane.top + 20, this.lossY(meanNear(curve, one.step - 1))) : lane.bottom - 8;
      const text = whole(one.step + this.shown.meta.first);
      const parts = [svg("line", { class: "raise-line", x1: x, x2: x, y1: lane.top, y2: this.place.rate.bottom })];
      if (one.raises.length) parts.push(svg("path", { class: "raise-mark", d: `M${x} ${at - 5}l5 9h-10z` }));
      else parts.push(svg("path", { class: "raise-mark", d: `M${x} ${at + 5}l5 -9h-10z` }));
      const right = x + 5 + 7 * text.length > LEFT + this.width;
      const begin = right ? x - 5 - 7 * text.length : x;
      if (begin > free) {
        parts.push(svg("text", { class: "raise", x: right ? x - 5 : x + 5, y: lane.top + 9, "text-anchor": right ? "end" : "start" }, text));
        free = begin + 7 * text.length + 8;
      }
      return parts;
    });
  }

  // The raises of a setting that is tried: B has open diamonds, A, which is held against it, squares.
  tried(answer, kind, below) {
    const lane = this.place.loss;
    const marks = answer.decisions.filter((one) => one.moved && one.step > this.scale.from && one.step < this.scale.to);
    if (marks.length > MOST_MARKS) return [];
    const [name, shape] = kind === "held" ? ["A ", "h4v8h-8v-8z"] : [this.shown.held ? "B " : "", "l5 6l-5 6l-5 -6z"];
    let free = -Infinity;
    return marks.flatMap((one) => {
      const x = this.scale.x(one.step);
      const text = name + whole(one.step + this.shown.meta.first);
      const right = x + 9 + 7 * text.length > LEFT + this.width;
      const begin = right ? x - 8 - 7 * text.length : x;
      const parts = [
        svg("line", { class: `${kind}-line`, x1: x, x2: x, y1: lane.top, y2: this.place.rate.bottom }),
        svg("path", { class: `${kind}-mark`, d: `M${x} ${lane.top - 4}${shape}` }),
      ];
      if (begin > free) {
        parts.push(svg("text", { class: "tried", x: right ? x - 8 : x + 8, y: lane.top + below, "text-anchor": right ? "end" : "start" }, text));
        free = begin + 7 * text.length + 12;
      }
      return parts;
    });
  }

  // Which row of the map is under a height, or null.
  rowAt(y) {
    const { place, shown } = this;
    if (!place?.map || !shown.map.rows.length || y < place.map.top || y > place.map.bottom) return null;
    const row = Math.floor(((y - place.map.top) / place.map.height) * shown.map.rows.length);
    return Math.min(shown.map.rows.length - 1, Math.max(0, row));
  }
}

function pattern() {
  return svg("defs", {}, svg("pattern", { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("line", { class: "hatch", x1: 0, x2: 0, y1: 0, y2: 7 })));
}

// From where on the losses are of another run than one of those that are tried.
function partsOf(tried) {
  const steps = tried.map((one) => one?.parts).filter((step) => step !== null && step !== undefined);
  return steps.length ? Math.min(...steps) : null;
}

function fits(name, most) {
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}
