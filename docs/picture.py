"""Take docs/page.png anew, in Chromium: `python docs/picture.py`; with a folder, dark and a phone's width into it too.

`make test-page` installs what it needs. The browser is PLATEAU_BROWSER, or `chromium`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parent
EXAMPLE = ["sizes.toml", "losses.csv"]
COLOURS = 256
WIDE, PHONE = (1280, 800), (390, 844)
VIEWS = [("page", *WIDE, "light"), ("dark", *WIDE, "dark"), ("phone", *PHONE, "light"), ("phone-dark", *PHONE, "dark")]
STEP = "530"  # of which it is asked why


def take(url: str, folder: Path | None) -> None:
    """The page with a step asked, and another threshold tried."""
    with sync_playwright() as driver:
        chromium = os.environ.get("PLATEAU_BROWSER") or shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, width, height, scheme in VIEWS:
            if folder is None and name != "page":
                continue
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(url)
            page.wait_for_selector("body[data-checked]")
            page.locator("#setting-0").fill("0.1")
            page.wait_for_selector("#outcome td.changed")
            page.locator("#at-step").fill(STEP)
            page.locator("#at-step").press("Enter")
            page.locator("#at-step").blur()
            page.wait_for_selector("#now:visible")
            page.locator("#noise h2").filter(has_text="as tried").wait_for()
            page.wait_for_timeout(300)  # for what fades
            path = (folder or DOCS) / f"{name}.png"
            page.screenshot(path=path, full_page=name.startswith("phone"))
            picture = Image.open(path).convert("RGB")
            picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
        browser.close()


def main() -> None:
    """Serve the example, and take its picture."""
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    command = [sys.executable, "-P", "-m", "plateau_rule", "page", *EXAMPLE, "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=DOCS / "examples")
    assert server.stdout is not None
    try:
        take(server.stdout.readline().strip(), folder)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
