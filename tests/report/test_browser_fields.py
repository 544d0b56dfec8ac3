"""Fields that a sweep varies and searches, in a real browser: each on its own scale, and the score over two of them."""

import played
import pytest
from played import RATE

from xlray.analysis import Sampling
from xlray.report.report import write_report

pytestmark = pytest.mark.slow
CHART = "echarts.getInstanceByDom(document.getElementById('explore-{}')).getOption()"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    plan = played.plan_of(played.SEARCHED, played.World())
    folder = played.play(tmp_path_factory.mktemp("fields"), plan)[0]
    write_report(folder, Sampling(num_draws=50))
    return folder / "report" / "report.html"


@pytest.fixture(params=[380, 1600])
def page(browser, written, request):
    page = browser.new_page(viewport={"width": request.param, "height": 900}, color_scheme="dark")
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(written.as_uri())
    yield page
    assert page.said == [] and page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.close()


def test_a_searched_field_has_an_axis_of_its_own_scale_and_a_choice_has_steps(page):
    axes = page.evaluate(f"{CHART.format('parallel')}.parallelAxis.map((axis) => [axis.id, axis.type])")
    assert dict(axes)[RATE] == "log" and dict(axes)["intermediate.mixing"] == dict(axes)["dropout"] == "category"
    page.locator("#explore summary").click()
    page.locator("#explore-by").select_option(RATE)
    page.locator("#explore-low").fill("1e-5")
    page.locator("#explore-high").fill("1e-4")
    page.locator("#explore-high").press("Enter")
    rates = [float(text) for text in page.locator("#explore-table tbody tr td:nth-child(6)").all_inner_texts()]
    assert rates and all(1e-5 <= rate <= 1e-4 for rate in rates)
    assert "e-5 to " in page.locator("#explore-ranges .chip").inner_text()


def test_the_score_over_two_fields_is_the_mean_of_the_trials_at_each_pair_of_values(page):
    page.locator("#explore-rung").select_option("0")
    assert (
        page.locator("#explore-across").input_value() == "dropout" and page.locator("#explore-up").input_value() == RATE
    )
    assert page.evaluate(f"{CHART.format('surface')}.yAxis[0].type") == "log"
    marks = page.evaluate(f"{CHART.format('surface')}.series.flatMap((one) => one.data.map((mark) => mark.value))")
    rows = page.locator("#explore-table tbody tr").count()
    assert 0 < len(marks) <= rows and all(low <= rate <= high for _, rate, _ in marks for low, high in [(1e-6, 1e-3)])
    assert f"{len(marks)} pairs of values with a score" in page.locator("#explore-surface").get_attribute("aria-label")
    page.locator("#explore-across").select_option(RATE)
    assert page.locator("#explore-up").input_value() == "dropout" and "across=intermediate" in page.url
    page.goto(page.url)
    assert page.evaluate(f"{CHART.format('surface')}.xAxis[0].type") == "log"
