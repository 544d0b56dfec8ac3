"""The report in a real browser: nothing leaves the page, it can be explored, and it fits a phone and a wide screen."""

import csv

import pytest
from synthetic import make_study

from xlray.analysis import Sampling
from xlray.analysis.results import PHASES, STEPS
from xlray.report import report
from xlray.storage import parquet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("browser") / "study", num_chains=2, seeds=3, num_explore=4)
    phases = parquet.read_table(folder / "results" / "phases.parquet", PHASES)["phase"].to_pylist()
    trained = [phase for phase in dict.fromkeys(phases) if not phase.startswith("retrieval")][:40]
    rows = [
        {**dict.fromkeys(STEPS.names), "phase": phase, "kind": phase.split("-")[0], "task": "", "step": step}
        | {"examples": 64 * step, "loss": 3 / step, "learning_rate": 1e-5, "grad_norm": 2.0}
        for phase in trained
        for step in range(1, 60)
    ]
    parquet.write_table(folder / "results" / "steps.parquet", parquet.to_table(rows, STEPS))
    report.write_report(folder, Sampling(num_draws=50))
    return folder / "report" / "report.html"


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
    assert page.locator(".answer > p").is_visible()


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


CHART = "echarts.getInstanceByDom(document.getElementById('explore-{}'))"


def shown(page):
    """The trials of the table under "Explore", in its order."""
    return page.locator("#explore-table tbody tr").evaluate_all("rows => rows.map(row => row.dataset.trial)")


def column(page, heading):
    """The texts of a column of that table."""
    head = page.locator("#explore-table th", has_text=heading).first
    place = head.evaluate("cell => cell.cellIndex")
    return page.locator("#explore-table tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{place}].innerText)"
    )


def hover(page, name, chosen):
    """Move the mouse to the highest of the points that a condition chooses, where nothing lies above it; returns it."""
    page.locator(f"#explore-{name}").scroll_into_view_if_needed()
    found = page.evaluate(
        f"""() => {{
            const chart = {CHART.format(name)}, all = chart.getOption().series;
            const points = all.flatMap((one, n) => one.type === "scatter" ? one.data.map((point) => [n, point]) : []);
            const [n, point] = points.filter(([, it]) => {chosen}).sort((a, b) => b[1].value[1] - a[1].value[1])[0];
            return [point, chart.convertToPixel({{seriesIndex: n}}, point.value)];
        }}"""
    )
    box = page.locator(f"#explore-{name}").bounding_box()
    page.mouse.move(box["x"] + found[1][0], box["y"] + found[1][1])
    return found[0]


def test_hovering_shows_a_trial_with_its_scores(page):
    datum = hover(page, "curves", "it.trial !== undefined")
    tip = page.locator("#explore-curves .tip")
    tip.wait_for()
    trial = page.evaluate(
        f"JSON.parse(document.getElementById('explore-data').textContent).trials.id[{datum['trial']}]"
    )
    text = tip.inner_text()
    assert trial in text and f"{datum['value'][1]:.2f}" in text and "udpos" in text and "seed" in text


def test_hovering_shows_the_interval_of_a_mean(page):
    mean = hover(page, "sizes", "it.mean && it.mean[4] !== null")["mean"]
    tip = page.locator("#explore-sizes .tip")
    tip.wait_for()
    assert f"{mean[3]:.2f} ({mean[4]:.2f} to {mean[5]:.2f} at 95 %)" in tip.inner_text()


def test_cells_statuses_and_words_filter_all_at_once_and_a_link_keeps_it(page, study):
    everything = page.locator("#explore-count").inner_text()
    page.locator(".chip[data-kind=cell][data-name='0']").click()
    page.locator(".chip[data-kind=status][data-name=stopped]").click()
    assert "0" not in column(page, "Cell") and "stopped" not in column(page, "Status")
    drawn = f"{CHART.format('curves')}.getOption().series.flatMap((s) => s.data).filter((d) => d.coords).length"
    number = page.evaluate(drawn)
    words = page.locator("#explore-words")
    words.fill("3-en")
    page.wait_for_function(f"{drawn} < {number}")
    assert {cell.strip()[-4:] for cell in column(page, "Cell")} == {"3-en"}
    kept, link = page.locator("#explore-count").inner_text(), page.url
    assert kept != everything and "#" in link
    page.goto("about:blank")
    page.goto(link)
    assert page.locator("#explore-count").inner_text() == kept and words.input_value() == "3-en"
    page.locator("#explore-reset").click()
    assert page.locator("#explore-count").inner_text() == everything


def test_another_score_and_rung_are_drawn_and_listed(page):
    before = column(page, "Finnish")
    page.locator("#explore-score").select_option("udpos")
    page.locator("#explore-rung").select_option("0")
    page.locator("#explore-axis").select_option("linear")
    assert "udpos" in page.locator("#explore-curves-title").inner_text() and column(page, "Finnish") != before
    places = page.evaluate(f"{CHART.format('curves')}.getOption().xAxis[0].axisLabel.customValues")
    assert places == [16_384, 65_536, 262_144]
    assert page.locator("#explore-curves").get_attribute("aria-label").count("udpos at 16,384 examples")


def test_a_range_of_an_axis_is_what_the_table_shows_and_its_csv_holds(page, tmp_path):
    page.locator("#explore-parallel").scroll_into_view_if_needed()
    everything = len(shown(page))
    place = page.evaluate(
        f"""() => {{
            const chart = {CHART.format("parallel")}, model = chart.getModel(), axes = chart.getOption().parallelAxis;
            const n = axes.findIndex((axis) => axis.name === 'udpos'), line = model.getComponent('parallel').coordinateSystem;
            const layout = line.getAxisLayout('dim' + n), rect = line.getRect();
            return [layout.position[0], rect.y, rect.height];
        }}"""
    )
    page.locator("#explore-parallel").evaluate("(box, x) => { box.parentElement.scrollLeft = x - 150; }", place[0])
    box = page.locator("#explore-parallel").bounding_box()
    x, y = box["x"] + place[0], box["y"] + place[1]
    page.mouse.move(x, y + 2)
    page.mouse.down()
    page.mouse.move(x, y + place[2] * 0.3, steps=4)
    page.mouse.up()
    page.locator("#explore-ranges .chip").wait_for()
    low, high = (float(end) for end in page.locator("#explore-ranges .chip").inner_text()[7:-2].split(" to "))
    values = [float(text) for text in column(page, "udpos")]
    assert 0 < len(values) < everything and all(low - 0.01 <= value <= high + 0.01 for value in values)
    with page.expect_download() as download:
        page.locator("#explore-csv").click()
    download.value.save_as(tmp_path / "trials.csv")
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [row["trial_id"] for row in rows] == shown(page)
    assert [float(row["udpos"]) for row in rows] == values and rows[0]["tasks"]
    page.locator("#explore-ranges .chip").click()
    assert len(shown(page)) == everything


def test_a_range_can_be_kept_from_the_keyboard(page):
    page.locator("#explore summary").click()
    page.locator("#explore-by").select_option("num_tasks")
    page.locator("#explore-low").fill("6")
    page.locator("#explore-high").fill("9")
    page.locator("#explore-high").press("Enter")
    assert set(column(page, "Tasks")) == {"6", "9"}


def test_two_trials_are_compared(page):
    rows = page.locator("#explore-table tbody tr")
    for place, letter in ((0, "A"), (1, "B")):
        rows.nth(place).get_by_role("button", name=letter, exact=False).filter(has_text=letter).click()
    one, two = shown(page)[:2]
    assert f"trial={one}" in page.url and f"with={two}" in page.url
    text = page.locator("#explore-compare").inner_text()
    assert "What differs" in text and "only in A" in text and one in text and two in text
    cells = page.locator("#explore-compare tr", has_text="Finnish accuracy").locator("td").all_inner_texts()
    assert float(cells[3].replace("\u2212", "-")) == pytest.approx(float(cells[2]) - float(cells[1]), abs=0.006)
    label = page.locator("#explore-pair").get_attribute("aria-label")
    assert f"A {one}" in label and f"B {two}" in label and cells[1] in label
    page.locator("#explore-two").fill(shown(page)[3])
    page.locator("#explore-two").press("Enter")
    assert f"with={shown(page)[3]}" in page.url


def test_training_curves_are_drawn_by_kind_of_phase_with_their_numbers(page):
    page.locator("#explore-phases").select_option("target")
    page.locator("#explore-metric").select_option("grad_norm")
    assert "gradient norm" in page.locator("#explore-training-title").inner_text()
    page.locator("#explore-metric").select_option("loss")
    page.locator("#explore-training").scroll_into_view_if_needed()
    series = f"{CHART.format('training')}.getOption().series"
    first = page.evaluate(f"{series}[0].data[0].value")
    assert page.evaluate(f"{series}[0].data.length") == 40 and first[1] == pytest.approx(3 / (first[0] / 64), rel=0.001)
    x, y = page.evaluate(f"{CHART.format('training')}.convertToPixel({{seriesIndex: 0}}, {first})")
    box = page.locator("#explore-training").bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.locator("#explore-training .tip").wait_for()
    assert f"At {first[0]:,} examples" in page.locator("#explore-training .tip").inner_text()
    lines = page.evaluate(f"{series}.length")
    page.locator(".chip[data-kind=cell][data-name='0']").click()
    assert page.evaluate(f"{series}.length") < lines
    assert page.locator("#explore-training").get_attribute("aria-label").startswith("loss of ")


def test_every_chart_says_in_words_what_it_shows(page):
    for name in ("curves", "sizes", "parallel"):
        chart = page.locator(f"#explore-{name}")
        assert chart.get_attribute("role") == "img" and "mean" in chart.get_attribute("aria-label")


def test_all_of_it_leaves_no_error_asks_for_nothing_and_scrolls_sideways_nowhere(page, study):
    for name in ("curves", "sizes"):
        hover(page, name, "it.trial !== undefined")
    page.locator("#explore-table .pick").nth(0).click()
    page.locator("#explore-table .pick").nth(3).click()
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    assert page.said == [] and page.requested == [study.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_dark_screen_gets_dark_pages_and_charts_and_light_cards_for_figures(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = f"{CHART.format('curves')}.getOption().textStyle.color"
    light = page.evaluate(f"[{ground}, {ink}]")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{ink} !== '{light[1]}'")
    assert light[0] == "rgb(255, 255, 255)" and page.evaluate(ground) == "rgb(20, 23, 28)"
    card = page.locator("main figure > svg").first.evaluate("card => getComputedStyle(card).backgroundColor")
    assert card == "rgb(255, 255, 255)"


def test_without_scripts_the_page_is_the_static_one(browser, study):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(study.as_uri())
    assert not page.locator("#explore").is_visible() and not page.locator("nav a[data-explore]").is_visible()
    assert page.locator(".answer > p").is_visible() and page.locator("#table-leaderboard").is_visible()
    page.context.close()
