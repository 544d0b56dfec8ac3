"""The report in a real browser: nothing leaves the page, tables sort and filter, it fits a phone and a wide screen."""

import shutil

import pytest
from synthetic import make_study

from xlray.analysis import Sampling
from xlray.report import report

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("browser") / "study", num_chains=2, seeds=3, num_explore=4)
    report.write_report(folder, Sampling(num_draws=50))
    return folder / "report" / "report.html"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[380, 1600])
def page(browser, study, request):
    """The page, with what it said on the console and asked for kept beside it."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.said, page.requested = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda asked: page.requested.append(asked.url))
    page.goto(study.as_uri())
    yield page
    page.close()


def test_no_error_no_request_and_no_sideways_scrolling(page, study):
    assert page.said == [] and page.requested == [study.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("p.answer").is_visible()


def test_every_figure_has_a_text_alternative_and_a_size(page):
    figures = page.locator("svg[role=img]")
    assert figures.count() >= 6
    for place in range(figures.count()):
        title = page.locator(f"#{figures.nth(place).get_attribute('aria-labelledby')}")
        assert len(title.text_content()) > 40
        box = figures.nth(place).bounding_box()
        assert box["width"] > 300 and box["height"] > 100


def test_tables_sort_in_both_directions(page):
    head = page.locator("#table-leaderboard th", has_text="fi_accuracy")
    column = head.evaluate("cell => cell.cellIndex")
    read = f"rows => rows.map(row => row.cells[{column}].dataset.sort).filter(Boolean).map(Number)"
    orders = []
    for _ in range(2):
        head.locator("button").click()
        orders.append(page.locator("#table-leaderboard tbody tr").evaluate_all(read))
    assert orders[0] == sorted(orders[0], reverse=True) and orders[1] == sorted(orders[1])
    assert head.get_attribute("aria-sort") == "ascending"


def test_a_filter_leaves_the_rows_with_all_its_words(page):
    rows = page.locator("#table-leaderboard tbody tr")
    page.locator("#filter-leaderboard").fill("explore stopped")
    visible = rows.locator("visible=true")
    texts = visible.all_text_contents()
    assert 0 < len(texts) < rows.count() and all("explore" in text and "stopped" in text for text in texts)
    page.locator("#filter-leaderboard").fill("")
    assert rows.locator("visible=true").count() == rows.count()
