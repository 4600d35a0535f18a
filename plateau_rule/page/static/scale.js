// Steps to pixels, round numbers for an axis, and paths of values that hold until the next one.

export class Scale {
  constructor(from, to, left, width) {
    Object.assign(this, { from, to: Math.max(to, from + 1), left, width });
  }

  x(step) {
    return this.left + ((step - this.from) / (this.to - this.from)) * this.width;
  }

  // The same, kept inside the axis.
  within(step) {
    return Math.min(this.left + this.width, Math.max(this.left, this.x(step)));
  }

  step(x) {
    const step = this.from + ((x - this.left) / this.width) * (this.to - this.from);
    return Math.round(Math.min(this.to, Math.max(this.from, step)));
  }
}

// Round numbers between two values, about as many as asked; whole ones where steps are counted.
export function ticks(low, high, count, whole = false) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  let by = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough) ?? 10 * power;
  if (whole) by = Math.max(1, Math.ceil(by));
  const found = [];
  for (let value = Math.ceil(low / by) * by; value <= high + by * 1e-9 && found.length < 50; value += by) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

// The same on a logarithmic axis: 1, 2 and 5 of each power of ten, or more where these are too few.
export function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of [1, 2, 5]) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length < 3 ? ticks(low, high, 4) : found;
}

// A line that keeps its height until the next point.
export function stepped(points, scale, end) {
  let d = "";
  points.forEach(([step, y], index) => {
    const x = scale.within(step).toFixed(1);
    const next = scale.within(points[index + 1]?.[0] ?? Math.max(end, step)).toFixed(1);
    d += `${index ? "L" : "M"}${x} ${y.toFixed(1)}H${next}`;
  });
  return d;
}

export function shadeOf(hardness) {
  return `color-mix(in oklab, var(--lane-hard) ${Math.round(100 * hardness)}%, var(--lane-easy))`;
}

// A slider's places 0 to 1000 for a value, logarithmic where that is how people think of it.
export function placeOf(tunable, value) {
  const { min, max, log } = tunable;
  const share = log ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min);
  return Math.round(1000 * Math.min(1, Math.max(0, share)));
}

export function valueAt(tunable, place) {
  const { min, max, log, whole } = tunable;
  const share = place / 1000;
  const value = log ? min * (max / min) ** share : min + (max - min) * share;
  const kept = Number(value.toPrecision(2));
  const round = whole ? Math.max(Math.ceil(min), Math.round(kept)) : kept;
  return Math.min(max, Math.max(min, round));
}

// Values of a slider for the rows of the map, from the largest; the file's own is one of them.
export function valuesOf(tunable, count) {
  const found = new Set([tunable.value]);
  for (let i = 0; i < count; i++) found.add(valueAt(tunable, (1000 * i) / (count - 1)));
  const sorted = [...found].sort((a, b) => b - a);
  while (sorted.length > count) {
    const worst = sorted
      .map((value, index) => [index === 0 || index === sorted.length - 1 || value === tunable.value ? Infinity
        : placeOf(tunable, sorted[index - 1]) - placeOf(tunable, sorted[index + 1]), index])
      .reduce((best, each) => (each[0] < best[0] ? each : best))[1];
    sorted.splice(worst, 1);
  }
  return sorted;
}
