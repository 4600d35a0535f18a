// What a curve of columns says at a step, and over the steps in view.

export function meanNear(curve, step) {
  let [low, high] = [0, curve.count - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (curve.step[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return curve.mean[low];
}

// The lowest and the highest loss to draw: the first steep fall of a run does not press the rest flat.
export function rangeOf(curves, scale) {
  const means = [];
  let low = Infinity;
  for (const curve of curves) {
    for (let i = 0; i < curve.count; i++) {
      if (curve.step[i] < scale.from || curve.step[i] > scale.to || !Number.isFinite(curve.mean[i])) continue;
      means.push(curve.max[i]);
      if (curve.min[i] < low) low = curve.min[i];
    }
  }
  if (!means.length) return [0, 1];
  means.sort((a, b) => a - b);
  const high = means.length < 20 ? means.at(-1) : means[Math.floor(0.985 * (means.length - 1))];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.05 || 1;
  return [low > 0 ? Math.max(low - room, low * 0.9) : low - room, high + room * 2];
}
