"""The server of the live pages: what it serves and to whom, and what Ray's dashboard is asked."""

import json
import threading
import urllib.error
import urllib.request

import pytest
import watched_sweep

from xlray.cluster import ray_dashboard
from xlray.errors import InputError
from xlray.monitor import server as dashboard
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep, sweep_folder
from xlray.templates import ECHARTS

sweep = watched_sweep.sweep  # a fixture


@pytest.fixture
def served(sweep):
    """The URL of a server on that storage, and what may be asked of it."""
    (sweep / "report").mkdir()
    (sweep / "report" / "report.html").write_text("<h1>answer</h1>")
    server = dashboard.make_server(dashboard.Dashboard(open_sweep(sweep)), "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def get(url, **headers):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers)) as answer:
        return answer.url, answer.read().decode()


def refusal(url, **headers):
    """The status of an answer that is an error."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(url, **headers)
    with refused.value as answer:
        return answer.code


def test_the_server_has_a_page_its_data_and_the_report(served):
    url, page = get(served + "/")
    assert url == f"{served}/" and "<title>Sweeps: xlray live</title>" in page
    assert "<title>demo: xlray live</title>" in get(f"{served}/demo/")[1]
    assert get(f"{served}/demo/echarts.js")[1] == ECHARTS.read_text(encoding="utf-8")
    found = json.loads(get(f"{served}/demo/data?since=0")[1])
    assert (found["name"], found["sweeps"], found["report"]) == ("demo", ["demo"], True)
    assert (found["ray"]["reachable"], found["question"]) == (False, "Does it <b>help</b>?")
    assert get(f"{served}/demo/report/report.html")[1] == "<h1>answer</h1>"
    assert json.loads(get(f"{served}/demo/trial?id=t0")[1])["history"][0]["accuracy"] == 60.0


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/other/", 404),
        ("/demo/report/../sweep.json", 404),
        ("/demo/report/%2e%2e/sweep.json", 404),
        ("/demo/report/..%2f..%2fdemo%2fsweep.json", 404),
        ("/demo/report/", 404),
        ("/demo/trial?id=t9", 404),
        ("/demo/nothing", 404),
        ("/demo/curves?metric=nothing", 404),
        ("/..%2f/", 404),
        ("/demo/log?node=a&job=b&pid=1", 502),  # no Ray is known
    ],
)
def test_nothing_else_is_served(served, path, code):
    assert refusal(served + path) == code


def test_a_name_that_resolves_to_the_loopback_is_refused(served):
    assert refusal(f"{served}/demo/data", Host="evil.example:8300") == 403
    assert get(f"{served}/demo/data", Host="localhost:8300")


def test_a_port_that_is_taken_is_reported_in_one_line(served, sweep):
    port = int(served.rpartition(":")[2])
    with pytest.raises(InputError, match=f"--port {port}: must be free to listen on"):
        dashboard.make_server(dashboard.Dashboard(open_sweep(sweep)), "127.0.0.1", port)


def test_the_sweep_that_ran_last_is_taken_and_a_storage_without_one_refused(sweep, tmp_path):
    assert dashboard.newest(Storage(tmp_path)) == "demo"
    sweep_folder(Storage(tmp_path), "later").journal.append({"event": "opened"})
    assert dashboard.newest(Storage(tmp_path)) == "later"
    with pytest.raises(InputError, match="it holds none"):
        dashboard.newest(Storage(tmp_path / "nowhere"))


# --- Ray's dashboard -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "127.0.0.1:8265", "http://127.0.0.1:8265/"])
def test_an_address_is_a_url_or_a_host_with_its_port(address):
    assert ray_dashboard.dashboard_url(address) == "http://127.0.0.1:8265"


@pytest.mark.parametrize("address", ["ray://head:10001", "http://", "ftp://head"])
def test_another_address_is_refused(address):
    with pytest.raises(InputError, match="of Ray's dashboard"):
        ray_dashboard.dashboard_url(address)


def test_the_token_is_looked_for_where_ray_looks(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    assert ray_dashboard.token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    assert ray_dashboard.token() == "home"
    (tmp_path / "token").write_text("path")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert ray_dashboard.token() == "path"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "text")
    assert ray_dashboard.token() == "text"


def test_what_does_not_answer_is_reported(served):
    with pytest.raises(ray_dashboard.RayUnreachableError, match="HTTP 404"):
        ray_dashboard.ask(served, "/api/version")
    with pytest.raises(ray_dashboard.RayUnreachableError, match="refused"):
        ray_dashboard.ask("http://127.0.0.1:9", "/api/version")
