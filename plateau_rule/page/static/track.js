// The guard's lane: its values on the same scale as its meter.

import { short } from "./dom.js";
import { placeOn } from "./why.js";

export function laneOf(track) {
  if (!track) return null;
  const at = (value) => (value === null ? null : placeOn(track, value));
  const [from, to] = track.holds;
  const percent = track.unit.startsWith("%") ? " %" : "";
  const edges = from !== null && to !== null && from === -to ? `±${short(to)}` : short(to ?? from);
  return {
    name: track.title.replace(/ \(.*\)$/, ""),
    holds: from === null && to === null ? "" : edges + percent,
    region: [at(from), at(to)],
    points: track.points.map(([step, value, low, high]) => [step, at(value), at(low), at(high)]),
    looks: track.looks.map(([step, value, held]) => [step, at(value), held]),
  };
}
