"""What these pages show of the demo, from its storage: `xlray demo --storage DIR`, then `python docs/screenshots.py DIR`.

Writes the report of `quickstart` anew, pictures of it (`docs/report-*.webp`) and of the live page's overview
(`docs/overview.webp`), the example report with its tables (`docs/example/`), and executes `notebooks/answer.ipynb` in place.
Needs Chromium, `pip install playwright pillow nbclient ipykernel matplotlib`. What shows a sweep that runs (`live.png`,
`ray-actors.png`, `tensorboard-hparams.png`) is made by `XLRAY_SCREENSHOTS=DIR pytest tests/monitor/test_monitoring.py`.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from xlray.monitor.server import Dashboard, make_server
from xlray.report.report import write_report
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import SweepFolder, find_sweep_folder

DOCS = Path(__file__).parent
NAME = "quickstart"
QUALITY = 82  # of WebP
# Picture to the part of the report that it shows, at a window's width, and the height that it is cut to, if any.
PARTS = {
    "curves": ("#curves .figures", 1_100, None),
    "tasks": ("#tasks .figures", 1_100, None),
    "rungs": ("#rungs .figures", 1_100, None),
    "reliability": ("#reliability .figures", 1_100, None),
    "explore": ("#explore", 1_400, 2_300),
}


def save(png: bytes, name: str, height: int | None = None) -> None:
    """Keep a picture as WebP, cut to a height."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    if height is not None:
        picture = picture.crop((0, 0, picture.width, min(height, picture.height)))
    picture.save(DOCS / f"{name}.webp", quality=QUALITY, method=6)


def pictures(browser: Any, sweep: SweepFolder) -> None:
    """The report and the overview of the live page."""
    report = (sweep / "report/report.html").as_uri()

    def opened(url: str, width: int, height: int) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(url)
        page.wait_for_timeout(1_000)
        return page

    page = opened(report, 1_100, 1_100)
    save(page.screenshot(), "report-top")
    page = opened(report, 380, 800)
    save(page.screenshot(), "report-phone")
    for name, (part, width, height) in PARTS.items():
        page = opened(report, width, 1_100)
        page.add_style_tag(content="nav { position: static !important; }")  # it would lie over what is long
        if name == "explore":  # two trials beside each other
            for place in (0, 1):
                page.locator("#explore-table tbody tr").nth(place).locator("button.pick").nth(place).click()
            page.wait_for_timeout(500)
        save(page.locator(part).first.screenshot(), f"report-{name}", height)
    server = make_server(Dashboard(sweep), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport={"width": 1_100, "height": 420})
    page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
    page.locator("#sweeps tbody tr", has_text="finished").first.wait_for()
    page.evaluate("document.getElementById('storage').textContent = 'runs'")
    save(page.screenshot(), "overview")
    server.shutdown()


def example(sweep: SweepFolder) -> None:
    """The report with its tables as CSV; its links to what is not copied are left out."""
    shutil.rmtree(DOCS / "example", ignore_errors=True)
    (DOCS / "example" / "tables").mkdir(parents=True)
    page = (sweep / "report/report.html").read_text(encoding="utf-8")
    page = re.sub(r', <a href="tables/[^"]*\.(?:md|tex)">[^<]*</a>', "", page)
    page = re.sub(r' <a href="figures/[^"]*">SVG</a>, <a href="figures/[^"]*">PDF</a>', "", page)
    (DOCS / "example" / "report.html").write_text(page, encoding="utf-8")
    for table in sorted((sweep / "report/tables").glob("*.csv")):
        shutil.copy(table, DOCS / "example" / "tables")


def notebook(storage: Path) -> None:
    """Execute the notebook beside the storage, which it knows as `runs`."""
    import nbformat
    from nbclient import NotebookClient

    path = DOCS.parent / "notebooks" / "answer.ipynb"
    found = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "runs").symlink_to(storage)
        os.environ["PYTHONPATH"] = str(DOCS.parent)
        NotebookClient(found, timeout=300, resources={"metadata": {"path": folder}}).execute()
    for cell in found.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):  # notebooks show the HTML; the text has paths of this machine
            if "text/html" in output.get("data", {}):
                output.data.pop("text/plain", None)
    nbformat.write(found, path)


def main(place: str) -> None:
    """All of it, from the storage at a place."""
    from playwright.sync_api import sync_playwright

    sweep = find_sweep_folder(NAME, named_storage(place))
    write_report(sweep)
    example(sweep)
    notebook(Path(place).resolve())
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pictures(browser, sweep)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
