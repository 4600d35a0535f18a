// Where the page's data comes from: the server, or what a report holds. Both answer the same five questions.

export function columnsOf(buffer) {
  const count = buffer.byteLength / 20;
  const at = (row) => new Float32Array(buffer, 8 * count + 4 * count * row, count);
  return { count, step: new Float64Array(buffer, 0, count), min: at(0), max: at(1), mean: at(2) };
}

// One request at a time for each question; while one runs, only the newest of those that came since waits.
function newestOnly(ask) {
  let running = null;
  let waiting = null;
  const next = () => {
    running = null;
    if (waiting) {
      const { words, resolve } = waiting;
      waiting = null;
      resolve(start(words));
    }
  };
  const start = (words) => {
    running = ask(...words);
    running.then(next, next);
    return running;
  };
  return (...words) => {
    if (!running) return start(words);
    waiting?.resolve(undefined);
    return new Promise((resolve) => (waiting = { words, resolve }));
  };
}

class Gone extends Error {}

async function fetched(path, values, method = "GET") {
  const asked = new URLSearchParams(values);
  let answer;
  try {
    answer = await fetch(`${path}?${asked}`, { method, cache: "no-store" });
  } catch {
    throw new Gone("the server does not answer: it was stopped, or the connection is gone");
  }
  if (!answer.ok) throw new Error((await answer.text()) || `${answer.status}`);
  return answer;
}

export function serverSource() {
  const json = async (path, values) => (await fetched(path, values)).json();
  return {
    live: true,
    meta: newestOnly(() => json("meta")),
    curve: newestOnly(async (from, to, width) =>
      columnsOf(await (await fetched("curve", { from, to, width })).arrayBuffer())),
    others: newestOnly((count, from, to, width) => Promise.all(Array.from({ length: count }, async (_, place) =>
      columnsOf(await (await fetched("curve", { from, to, width, run: place + 1 })).arrayBuffer())))),
    why: newestOnly((step) => json("why", { step })),
    whatif: newestOnly((set) => json("whatif", { set: JSON.stringify(set) })),
    held: newestOnly((set) => json("whatif", { set: JSON.stringify(set) })),
    grid: newestOnly((path, values, set) =>
      json("grid", { path, values: JSON.stringify(values), set: JSON.stringify(set) })),
    track: newestOnly((from, to, width) => json("track", { from, to, width })),
    noise: newestOnly((set) => json("noise", { set: JSON.stringify(set) })),
    save: async (set) => (await fetched("save", { set: JSON.stringify(set) }, "POST")).json(),
    simulate: newestOnly((noise) => json("simulate", { permille: Math.round(1000 * noise) })),
    check: newestOnly(() => json("check")),
  };
}
