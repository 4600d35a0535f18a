"""How long the page makes a user wait, in a real browser: `python benchmarks/page.py [PART ...] [--json FILE]`.

Parts: `sliders` (every shipped curriculum over 20,000 losses), `long` (a run of 1,000,000), `live` (100,000 losses that
come while a page is open), `tabs` (ten at once), `huge` (a log of 2 GiB, written into a temporary folder; not among
those that are measured unless named). Chromium is PLATEAU_BROWSER, or `chromium`; `make test-page` installs what is
needed. Waits are wall-clock, until the frame is drawn; beside them stand the server's processor time, the load of
the machine, and its cores, since whatever else runs makes all of it slower.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep, time
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks._serving import LongRun, ServerProcess
from plateau_rule.controller.language.reading import shipped

ROOT = Path(__file__).resolve().parent.parent
LOSSES, EPOCHS = 20_000, 50
MOVES, SLIDERS = 15, 3
PLACES = [80, 910, 200, 640, 330, 770, 450, 560, 260, 840, 140, 700, 390, 520, 610]  # of 1000, on a slider
GIB = 1 << 30
Figures = dict[str, Any]

# Turn a slider, and wait for the frame that shows what came of it.
TURN = """([index, place]) => new Promise((done) => {
  const slider = document.querySelectorAll("#tunables input[type=range]")[index];
  const outcome = document.getElementById("outcome");
  slider.focus();
  slider.value = place;
  const began = performance.now();
  const seen = new MutationObserver(() => {
    seen.disconnect();
    requestAnimationFrame(() => done([performance.now() - began, Boolean(outcome.querySelector(".fault"))]));
  });
  seen.observe(outcome, { childList: true });
  slider.dispatchEvent(new Event("input"));
})"""
# Note when the machine is drawn.
DRAWN = """new MutationObserver((_, seen) => {
  if (!document.querySelector("#machine svg")) return;
  seen.disconnect();
  requestAnimationFrame(() => { window.drawn = (performance.timeOrigin + performance.now()) / 1000; });
}).observe(document, { childList: true, subtree: true })"""
# Wait for the frame that shows the curve of the whole run; both times in seconds since 1970.
WHOLE = """(words) => new Promise((done) => {
  const now = () => (performance.timeOrigin + performance.now()) / 1000;
  const paint = () => performance.getEntriesByName("first-contentful-paint")[0];
  const finish = () => requestAnimationFrame(() => done([(performance.timeOrigin + paint().startTime) / 1000, now()]));
  const said = document.getElementById("subline");
  const whole = () => said.textContent.includes(words) && document.querySelector("#chart .mean");
  if (whole()) { finish(); return; }
  const seen = new MutationObserver(() => { if (whole()) { seen.disconnect(); finish(); } });
  seen.observe(document.querySelector("#chart svg"), { childList: true });
})"""


def losses_of(count: int, seed: int = 0) -> list[float]:
    """A noisy loss that falls to its floor in an eighth of the run."""
    noise = np.random.default_rng(seed).standard_normal(count)
    found: list[float] = ((1 + 2 * np.exp(-np.arange(count) / (count / 8))) * (1 + 0.02 * noise)).round(5).tolist()
    return found


def write_log(path: Path) -> None:
    """Losses, and with each epoch's last one the metrics that a shipped curriculum asks for."""
    per_epoch = LOSSES // EPOCHS
    with path.open("w") as file:
        for step, loss in enumerate(losses_of(LOSSES)):
            row = {"step": step, "epoch": step // per_epoch, "loss": loss}
            if step % per_epoch == per_epoch - 1:
                row |= {"val_loss": round(1.1 * loss, 5), "reward": step / LOSSES}
            file.write(json.dumps(row) + "\n")


@contextmanager
def opened(browser: Any, server: ServerProcess, ready: str = "ready") -> Iterator[Any]:
    """The page of a server, in a window of its own, once it is ready."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(server.url)
    page.wait_for_selector(f"body[data-{ready}]")
    yield page
    context.close()


def turned(page: Any, server: ServerProcess) -> Figures:
    """The waits after moves of the first sliders, one upon the other, as somebody drags."""
    sliders = min(SLIDERS, page.locator("#tunables input[type=range]").count())
    before, waits, refused = server.processor_s(), list[float](), 0
    for index in range(sliders):
        for place in PLACES[:MOVES]:
            ms, fault = page.evaluate(TURN, [index, place])
            refused += fault
            waits += [] if fault else [ms]
    if not waits:
        return {"sliders": 0}
    server_ms = 1000 * (server.processor_s() - before) / (sliders * MOVES)
    worst = sorted(waits)[int(0.95 * len(waits))]
    return {"sliders": sliders, "median_ms": median(waits), "p95_ms": worst, "server_ms": server_ms, "refused": refused}


def sliders(browser: Any, folder: Path) -> Figures:
    """Every shipped curriculum over 20,000 losses: from a move of a slider to the raises that it brings."""
    log, found = folder / "log.jsonl", {}
    write_log(log)
    for name in shipped():
        words = [name, str(log), "--epochs", str(EPOCHS), "--steps-per-epoch", str(LOSSES // EPOCHS)]
        with ServerProcess(words) as server, opened(browser, server, "checked") as page:
            found[name] = turned(page, server)
        row = found[name]
        said = "{median_ms:6.1f} ms, 95 of 100 within {p95_ms:6.1f} ms, server {server_ms:5.1f} ms"
        print(f"{name:24}" + (said if row["sliders"] else "nothing to turn").format(**row), flush=True)
    return found


def long(browser: Any, folder: Path) -> Figures:
    """A run of 1,000,000 losses: first paint, the whole curve, the first raise after a slider."""
    count = 1_000_000
    run = LongRun(folder / "long", 1000, count // 1000)
    run.write(losses_of(count))
    run.close()
    found: dict[str, list[float]] = {}
    for _ in range(3):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(DRAWN)
        with ServerProcess([str(run.folder)]) as server:
            page.goto(server.url, wait_until="commit")
            page.wait_for_selector("#chart svg")
            painted, whole = page.evaluate(WHOLE, f"step {count:,}")
            figures = {"first_paint_s": painted - server.began, "whole_curve_s": whole - server.began}
            figures["machine_s"] = page.evaluate("() => window.drawn") - server.began
            figures |= {"server_s": server.processor_s(), "memory_mib": server.memory_mib("VmHWM")}
            page.wait_for_selector("body[data-checked]")
            figures |= {f"slider_{name}": value for name, value in turned(page, server).items()}
        context.close()
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    medians = {name: median(values) for name, values in found.items()}
    print("1,000,000 losses: first paint {first_paint_s:.2f} s, machine {machine_s:.2f} s, "
          "whole curve {whole_curve_s:.2f} s after the start, "
          "server {server_s:.2f} s of processor time, {memory_mib:.0f} MiB; slider {slider_median_ms:.0f} ms, "
          "95 of 100 within {slider_p95_ms:.0f} ms".format(**medians))  # fmt: skip
    return medians


def live(browser: Any, folder: Path) -> Figures:
    """The server's memory while 100,000 losses come, and a page follows them."""
    total, piece = 100_000, 250
    run, losses = LongRun(folder / "live", 100, 1000), losses_of(total)
    run.write(losses[:piece])
    memory = {}
    with ServerProcess([str(run.folder)]) as server, opened(browser, server) as page:
        before = server.processor_s()
        while run.step < total:
            run.write(losses[run.step : run.step + piece])
            sleep(0.1)
            if run.step % 20_000 == 0:
                memory[run.step] = server.memory_mib()
        page.locator("#subline").filter(has_text=f"step {total:,}").wait_for()
        memory[total], spent = server.memory_mib(), server.processor_s() - before
    run.close()
    print(f"{total:,} losses, {piece} at a time: MiB after so many", memory, f"server {spent:.1f} s of processor time")
    return {"memory_mib": memory, "server_s": spent}


def tabs(browser: Any, folder: Path, count: int = 10) -> Figures:
    """Ten tabs follow one run: from a row to the last of them that shows it."""
    run, losses = LongRun(folder / "tabs", 100, 1000), losses_of(20_000)
    run.write(losses[:5000])
    waits = []
    with ServerProcess([str(run.folder)]) as server:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        pages = [context.new_page() for _ in range(count)]
        for page in pages:
            page.goto(server.url)
            page.wait_for_selector("body[data-checked]")
        for _ in range(5):
            run.write(losses[run.step : run.step + 500])
            began = perf_counter()
            for page in pages:
                page.locator("#subline").filter(has_text=f"step {run.step:,} of").wait_for()
            waits.append(perf_counter() - began)
        memory = server.memory_mib("VmHWM")
        context.close()
    run.close()
    print(
        f"{count} tabs: the last one shows a row {median(waits):.2f} s after it is written, at most {max(waits):.2f} s"
    )
    return {"tabs": count, "median_s": median(waits), "most_s": max(waits), "memory_mib": memory}


def huge(browser: Any, folder: Path) -> Figures:
    """A log of 2 GiB: the most memory of the server when it is read, asked, and asked about noise."""
    run, losses = LongRun(folder / "huge", 20_000, 1000), losses_of(100_000)
    while run.write(losses) < 2 * GIB:
        pass
    run.close()
    with ServerProcess([str(run.folder)]) as server:
        while json.loads(server.ask("meta"))["points"] < run.step:
            sleep(0.5)
        found = {"rows": run.step, "read_s": time() - server.began, "server_s": server.processor_s()}
        for question in ("curve", "track"):
            server.ask(question, **{"from": 0, "to": run.step, "width": 640})
        server.ask("why", step=run.step // 2)
        path = json.dumps(["guard", "flat", "plateau", "window"], separators=(",", ":"))
        server.ask("whatif", set=json.dumps([[path, 1000]]))
        found["memory_mib"] = server.memory_mib("VmHWM")
        server.ask("noise", set="[]")
        found["memory_with_noise_mib"] = server.memory_mib("VmHWM")
        with opened(browser, server, "checked"):
            found["memory_with_a_page_mib"] = server.memory_mib("VmHWM")
    print("2 GiB, {rows:,} rows: read in {read_s:.1f} s; at most {memory_mib:.0f} MiB, with the noise panel "
          "{memory_with_noise_mib:.0f} MiB, with a page {memory_with_a_page_mib:.0f} MiB".format(**found))  # fmt: skip
    return found


PARTS: dict[str, Callable[[Any, Path], Figures]] = {
    "sliders": sliders, "long": long, "live": live, "tabs": tabs, "huge": huge,
}  # fmt: skip


def main() -> None:
    """Measure the parts that are named, print them, and write the figures beside those of other parts."""
    from playwright.sync_api import sync_playwright

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all but huge")
    options.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "results" / "page.json")
    given = options.parse_args()
    if unknown := [part for part in given.parts if part not in PARTS]:
        options.error(f"{unknown[0]}: expected some of {', '.join(PARTS)}")
    figures = json.loads(given.json.read_text()) if given.json.exists() else {}
    path = os.environ.get("PLATEAU_BROWSER") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for part in given.parts or [name for name in PARTS if name != "huge"]:
            before = os.getloadavg()[0]
            with TemporaryDirectory() as folder:
                found = PARTS[part](browser, Path(folder))
            load = {"before": before, "after": os.getloadavg()[0]}
            print(f"{part}: load {load['before']:.1f} before, {load['after']:.1f} after, {os.cpu_count()} cores")
            figures[part] = {**found, "load": load, "cores": os.cpu_count()}
        browser.close()
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"figures in {given.json}")


if __name__ == "__main__":
    main()
