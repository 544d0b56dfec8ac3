"""A real sweep watched with what people watch it with: a browser on the live page, on Ray's and on TensorBoard, Prometheus."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from xlray.cluster import ray_dashboard
from xlray.plan.jobs import readable_name
from xlray.storage.sweep_folder import open_sweep

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]
TARGETS = ("mini_udpos", "mini_tatoeba")
SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Stopping, Subset, Sweep, Target

sweep = Sweep(
    name="watched",
    question="Is a sweep seen while it runs?",
    encoder=Pretraining(
        tasks=("mini_text",), architecture=Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32
    ),
    measure=(Subset(("mini_topic_en",)), Subset(("mini_roles_de",))),
    seeds=tuple(range(20)),
    intermediate=Intermediate(
        rungs=(1600, 6400), batch_size=16, learning_rate=1e-3, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(Target("mini_udpos", num_examples=256, batch_size=16, learning_rate=1e-3), Target("mini_tatoeba")),
    execution=Execution(num_workers=2, micro_batch_tokens=1024),
)
"""


def wait_for(what, seconds=300.0):
    """The first thing that is found; a bound on hanging, not a measurement."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what.__name__}: not within {seconds:g} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url, ready):
    """Wait until a server is there."""

    def asked():
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return ready(answer.read().decode())
        except OSError:
            return None

    return wait_for(asked, 120.0)


class Sweep:
    """The sweep under way.

    Attributes:
        url: of the live page.
    """

    def __init__(self, folder, process, url):
        self.folder, self.process, self.url = folder, process, url

    def journal(self):
        return open_sweep(self.folder).journal.read()

    def rungs(self):
        return [entry for entry in self.journal() if entry["event"] == "rung"]

    def title(self, trial_id):
        found = next(e for e in self.journal() if e["event"] == "created" and e["trial_id"] == trial_id)
        return readable_name(trial_id, found["tasks"], found["seed"])

    def ray(self):
        return json.loads((self.folder / "ray.json").read_text())


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep of more trials than any test waits for, after its first rung; it is interrupted at the end."""
    root = tmp_path_factory.mktemp("watched")
    (root / "watched.py").write_text(SWEEP)
    storage = ["--storage", str(root / "runs")]
    with (root / "output").open("w") as output:
        command = [sys.executable, "-m", "xlray", "run", str(root / "watched.py"), *storage]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    port = free_port()
    command = [sys.executable, "-m", "xlray", "dashboard", "watched", *storage, "--port", str(port)]
    folder = root / "runs" / "sweeps" / "watched"

    def reported():
        assert process.poll() is None, (root / "output").read_text()
        return folder.is_dir() and any(entry["event"] == "rung" for entry in open_sweep(folder).journal.read())

    try:
        wait_for(reported)
        server, url = subprocess.Popen(command), f"http://127.0.0.1:{port}/watched/"
        answers(url, bool)
        yield Sweep(folder, process, url)
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(120)
        finally:
            process.kill()


@pytest.fixture
def tab(browser, request):
    """A page of the browser that fails the test where a script fails."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(60_000)
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    picture(page, request.node.name)
    page.close()
    assert faults == []


def picture(tab, name):
    """Keep what the browser shows, where somebody wants pictures for the documentation."""
    if folder := os.environ.get("XLRAY_SCREENSHOTS"):
        tab.wait_for_timeout(1_000)  # charts of the other pages move into place
        tab.screenshot(path=f"{folder}/{name}.png")


def sign_in(tab, url):
    """Give Ray's dashboard the token of this user, as its own dialog does, if it asks for one."""
    token = ray_dashboard.token()
    if token is not None:
        tab.context.request.post(f"{url}/api/authenticate", headers={"Authorization": f"Bearer {token}"})


def shown(value):
    return f"{value:.1f}"


@pytest.mark.browser
def test_the_live_page_follows_the_sweep_and_leads_into_ray(sweep, tab):
    tab.goto(sweep.url)
    (first, *_), known = sweep.rungs(), len(sweep.rungs())
    row = tab.locator("#trials tbody tr", has_text=sweep.title(first["trial_id"]))
    tab.locator("#words").fill(first["trial_id"])
    row.wait_for()

    def agrees():
        latest = [entry for entry in sweep.rungs() if entry["trial_id"] == first["trial_id"]][-1]
        scores = (latest["accuracy"], *(latest["scores"][target] for target in TARGETS))
        return row.locator("td").all_text_contents()[2:5] == [shown(score) for score in scores]

    wait_for(agrees, 60)
    tab.locator("#words").fill("")
    assert tab.locator("#question").text_content() == "Is a sweep seen while it runs?"
    # Without a reload: what is reported next appears by itself.
    wait_for(lambda: len(sweep.rungs()) > known)
    newest = sweep.rungs()[-1]
    tab.locator("#words").fill(newest["trial_id"])
    tab.locator("#trials tbody tr td", has_text=shown(newest["accuracy"])).first.wait_for()
    tab.locator("#training canvas").wait_for()  # of a trial that runs, from its worker's log
    assert re.search(
        r"^Loss of .* over steps, \d+ lines; last values: ", tab.locator("#training").get_attribute("aria-label")
    )
    tab.locator("#machines a").first.wait_for()
    assert re.search(r"CPU \d+ of \d+", tab.locator("#usage").text_content())
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.locator("#running tbody tr").first.get_by_role("link", name="rank 0").wait_for()
    tab.locator("#words").fill("")
    tab.evaluate("window.scrollTo(0, 0)")
    picture(tab, "live")

    def running():
        collect = "row => [row.cells[0].textContent, [...row.querySelectorAll('a')].map(a => a.href)]"
        found = tab.locator("#running tbody tr").first.evaluate(collect)
        return found if len(found[1]) == 6 else None  # job, trial's actor, and for both ranks actor and log

    sign_in(tab, sweep.ray()["dashboard"])
    trial, places = wait_for(running)
    tab.goto(places[1])
    tab.get_by_text(f"trial {trial}").first.wait_for()
    tab.goto(places[0])
    tab.get_by_text("xlray run").first.wait_for()


@pytest.mark.browser
def test_the_log_of_a_worker_has_a_line_for_each_phase_and_rung(sweep, tab):
    (node,) = ray_dashboard.ask(sweep.ray()["dashboard"], "/nodes?view=summary")["data"]["summary"]
    if node["raylet"]["dashboardAgentListenPort"] < 0:
        pytest.skip("another Ray on this machine has the port of Ray's agent, which hands out logs")
    sign_in(tab, sweep.ray()["dashboard"])
    tab.goto(sweep.url)
    log = tab.locator("#running tbody tr").first.get_by_role("link", name="log").first.evaluate("a => a.href")
    line = tab.get_by_text(re.compile("phase 1 of .*trunk")).first

    def opened():  # a busy agent may not answer at once, and a worker that just started has said nothing
        tab.goto(log)
        tab.wait_for_timeout(3_000)
        return line.is_visible()

    wait_for(opened, 120)
    picture(tab, "ray-log")


@pytest.mark.browser
def test_the_page_fits_a_phone(sweep, browser):
    page = browser.new_page(viewport={"width": 380, "height": 800})
    page.goto(sweep.url)
    page.locator("#trials tbody tr").first.wait_for()
    page.locator("#machines a").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    picture(page, "live-phone")
    page.close()


@pytest.mark.browser
def test_rays_dashboard_names_the_job_and_the_trials(sweep, tab):
    ray = sweep.ray()
    sign_in(tab, ray["dashboard"])
    tab.goto(f"{ray['dashboard']}/#/jobs")
    tab.get_by_text(re.compile("xlray run")).first.wait_for()
    tab.goto(f"{ray['dashboard']}/#/actors")
    tab.get_by_text(re.compile(r"trial 1tasks-s\d+-")).first.wait_for()
    picture(tab, "ray-actors")


@pytest.mark.browser
def test_tensorboards_hparams_have_the_trials_and_their_accuracy(sweep, tab):
    pytest.importorskip("tensorboard")
    port, (first, *_) = free_port(), sweep.rungs()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep.folder / "tensorboard")]
    with subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stderr=subprocess.DEVNULL) as server:
        try:
            runs = f"http://127.0.0.1:{port}/data/runs"
            answers(runs, lambda text: first["trial_id"] in text)
            tab.set_viewport_size({"width": 2000, "height": 700})  # all columns
            tab.goto(f"http://127.0.0.1:{port}/#hparams")
            tab.get_by_text(f"{sweep.title(first['trial_id'])}/rung-{first['rung']}").first.wait_for()
            (single,) = struct.unpack("f", struct.pack("f", first["fi_accuracy"]))  # as event files hold it
            tab.get_by_text(f"{single:#.5g}", exact=True).first.wait_for()
            picture(tab, "tensorboard-hparams")
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def prometheus(sweep, tmp_path_factory):
    """A real Prometheus that scrapes the sweep's Ray every second; a function that asks it."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus on this machine")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    nodes = ray_dashboard.ask(sweep.ray()["dashboard"], "/nodes?view=summary")["data"]["summary"]
    targets = [f"{node['ip']}:{node['raylet']['metricsExportPort']}" for node in nodes]
    config = {
        "scrape_configs": [{"job_name": "ray", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}]
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # which is YAML, too
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL) as server:

        def ask(expression):
            query = urllib.parse.urlencode({"query": expression})
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}") as answer:
                found = json.loads(answer.read())
            assert found["status"] == "success", found
            return found["data"]["result"]

        try:
            answers(f"http://127.0.0.1:{port}/-/ready", bool)
            yield ask
        finally:
            server.terminate()


@pytest.mark.prometheus
def test_prometheus_has_the_accuracy_of_the_trials_by_target(sweep, prometheus):
    (first, *_) = sweep.rungs()
    trial = sweep.title(first["trial_id"])
    wanted = f'ray_xlray_accuracy{{trial="{trial}",rung="{first["rung"]}"}}'
    # The last rung of a trial is what is exported: that of the first may have come and gone.
    found = wait_for(lambda: prometheus(wanted) or prometheus(f'ray_xlray_accuracy{{trial="{trial}"}}'), 120)
    rungs = {str(e["rung"]): e for e in sweep.rungs() if e["trial_id"] == first["trial_id"]}
    values = {(one["metric"]["rung"], one["metric"]["target"]): float(one["value"][1]) for one in found}
    assert {target for _, target in values} == {"mean", *TARGETS}
    for (rung, target), value in values.items():
        known = rungs[rung]
        assert value == pytest.approx(known["fi_accuracy"] if target == "mean" else known["scores"][target])


@pytest.mark.prometheus
def test_every_panel_of_grafanas_dashboard_has_something_to_show(sweep, prometheus):
    path = Path(__file__).parents[2] / "deploy" / "grafana" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    for panel in generator.dashboard()["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$sweep", "watched")
            if "gpus" in expression:  # there is none here
                prometheus(expression)
            else:
                wait_for(lambda expression=expression: prometheus(expression), 180)
    counts = {one["metric"]["status"]: float(one["value"][1]) for one in prometheus("ray_xlray_phases")}
    assert counts.keys() == {"computed", "stored", "open"} and counts["computed"] > 0


@pytest.mark.browser
def test_after_its_end_the_page_says_so_and_that_ray_is_gone(sweep, tab):
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.process.wait(300) == 4
    tab.goto(sweep.url)
    tab.locator("#state", has_text="interrupted").wait_for()
    tab.locator("#usage", has_text="The sweep is not running, so no Ray runs for it").wait_for()
    assert tab.locator("#trials tbody tr").count() == 40
    tab.locator("#trials button.open").first.click()
    tab.locator("td.detail", has_text="Last run on").wait_for()
