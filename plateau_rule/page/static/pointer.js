// The mouse, a finger and the keys over the chart: cursor, pin, zoom, and dragging through the map of raises.

const DRAG_PX = 5;

export class Pointer {
  constructor(host, page) {
    Object.assign(this, { host, page, down: null });
    host.tabIndex = 0;
    host.setAttribute("role", "slider");
    host.setAttribute("aria-label", "Step of the run");
    host.setAttribute("aria-describedby", "keys");
    host.addEventListener("pointermove", (event) => this.move(event));
    host.addEventListener("pointerdown", (event) => this.press(event));
    host.addEventListener("pointerup", (event) => this.release(event));
    host.addEventListener("pointercancel", () => this.drop());
    host.addEventListener("pointerleave", () => { if (!this.down) page.move(null); });
    host.addEventListener("dblclick", () => page.zoomOut());
    host.addEventListener("keydown", (event) => this.key(event));
  }

  at(event) {
    const { left, top } = this.host.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  move(event) {
    if (!this.page.meta) return;
    const { x, y } = this.at(event);
    const step = this.page.chart.scale.step(x);
    if (this.down?.row !== null && this.down) {
      this.tune(y);
      return;
    }
    if (this.down && Math.abs(x - this.down.x) > DRAG_PX) this.page.choose(this.down.step, step);
    this.page.move(step);
  }

  press(event) {
    if (event.button !== 0 || !this.page.meta) return;
    const { x, y } = this.at(event);
    this.down = { x, step: this.page.chart.scale.step(x), row: this.page.chart.rowAt(y) };
    this.host.setPointerCapture(event.pointerId);
    if (this.down.row !== null) this.tune(y);
  }

  tune(y) {
    const { place, shown } = this.page.chart;
    if (!place.map) return;
    const row = this.page.chart.rowAt(Math.min(place.map.bottom, Math.max(place.map.top, y)));
    if (row !== null) this.page.tune(shown.map.tunable.path, shown.map.rows[row].value);
  }

  release(event) {
    const { down } = this;
    this.down = null;
    if (!down || down.row !== null) return;
    const { x } = this.at(event);
    const step = this.page.chart.scale.step(x);
    if (Math.abs(x - down.x) > DRAG_PX) this.page.zoom(Math.min(step, down.step), Math.max(step, down.step));
    else this.page.pin(step);
  }

  drop() {
    this.down = null;
    this.page.choose(null);
  }

  key(event) {
    const { page } = this;
    if (!page.meta || event.ctrlKey || event.metaKey || event.altKey) return;
    const { from, to } = page.view;
    const here = page.cursor ?? page.pinned ?? page.meta.steps;
    const pixel = Math.max(1, Math.round((to - from) / page.chart.width));
    const by = pixel * (event.shiftKey ? 10 : 1);
    const go = (step) => page.move(Math.min(page.meta.steps, Math.max(0, step)));
    const around = (factor) => page.zoom(here - (here - from) * factor, here + (to - here) * factor);
    const raise = (next) => {
      const steps = page.meta.decisions.map((one) => one.step);
      const step = next ? steps.find((each) => each > here) : steps.findLast((each) => each < here);
      if (step === undefined) return;
      page.move(step);
      page.pin(step);
    };
    const keys = {
      ArrowLeft: () => go(here - by), ArrowRight: () => go(here + by),
      ArrowDown: () => go(here - by), ArrowUp: () => go(here + by),
      PageDown: () => go(here - 50 * pixel), PageUp: () => go(here + 50 * pixel),
      Home: () => go(0), End: () => go(page.meta.steps),
      Enter: () => page.pin(here), " ": () => page.pin(here),
      Escape: () => (page.zoomed ? page.zoomOut() : page.pin(null)),
      "+": () => around(0.5), "=": () => around(0.5), "-": () => around(2), "−": () => around(2),
      l: () => page.toggleLog(), n: () => raise(true), p: () => raise(false),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
}
