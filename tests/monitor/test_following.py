"""What a client sees of a job: the table from a snapshot, the log above it, and jobs that were lost and resume."""

from __future__ import annotations

import dataclasses
import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rich.console import Console

from xlray.cluster import jobs, resubmit
from xlray.cluster import node_types as node_types_module
from xlray.cluster.job_main import main as cluster_job
from xlray.cluster.jobs import Request
from xlray.cluster.node_types import node_types
from xlray.errors import InputError
from xlray.monitor.live import LiveView, is_tick
from xlray.monitor.reader import Reader
from xlray.monitor.remote_live import Screen
from xlray.monitor.view import Row, View, from_document
from xlray.phases.versions import must_agree
from xlray.storage.sweep_folder import open_sweep

TOP = Path(__file__).parents[2]


def shot(**changes: Any) -> View:
    place = ("t1", "2tasks-s0-t1", "running", "explore", "2-all", ("a", "b"), 0)
    row = Row(*place, "target udpos", 3, 16, 1, 512, 51.26, {"udpos": 51.26, "tatoeba": None}, {"et": 40.0})
    how_far = (40, 100, False, 60.0, 90.0, {"running": 1})
    known = View("small", "", "running", "running trials", ("udpos", "tatoeba"), ("fi", "et"), 2, *how_far, (row,))
    return dataclasses.replace(known, **changes)


def sent(found: View) -> View:
    return from_document(json.loads(json.dumps(dataclasses.asdict(found))))


def test_a_view_is_the_same_after_it_was_sent() -> None:
    assert sent(shot()) == shot()
    assert sent(shot(left_s=None)).left_s is None


def test_a_driver_shows_how_far_it_is_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlray.monitor.live.SHOWN_EVERY_S", 0.05)
    file, output, reader = tmp_path / "job.live.json", io.StringIO(), Reader(open_sweep(tmp_path / "small"))
    with LiveView(Console(file=output), reader, time.time(), file) as view:
        view({"event": "created", "trial_id": "t1", "tasks": [], "seed": 0})
        view({"event": "stage", "stage": "trials"})
        until = time.monotonic() + 20
        while not file.exists() or "running trials" not in file.read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
    found = from_document(json.loads(file.read_text()))
    assert (found.name, found.stage, found.counts) == ("small", "running trials", {"created": 1})
    assert "steps" not in output.getvalue()  # the plain line comes at its own pace


def test_lines_of_plain_progress_are_known() -> None:
    assert is_tick("[1:02:03] 1,234 of 5,000 steps, left 0:10; 1 running")
    assert not is_tick("[0:10] 1tasks-s0-t1: running") and not is_tick("steps")


def screen_of(pieces: list[str], snapshots: list[View | None]) -> str:
    """What a terminal gets."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=20)
    fetched: list[str] = []

    def fetch(job_id: str) -> View | None:
        fetched.append(job_id)
        return snapshots[min(len(fetched), len(snapshots)) - 1]

    with Screen("job-1", fetch, console) as screen:
        until = time.monotonic() + 20
        while len(fetched) < len(snapshots) + 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        for piece in pieces:
            screen(piece)
        time.sleep(1.2)  # two frames
    assert set(fetched) == {"job-1"}
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_a_terminal_shows_the_table_below_the_log_without_what_the_table_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlray.monitor.remote_live.SHOWN_EVERY_S", 0.02)
    text = screen_of(["[0:01] t1: running\n[0:20] 4 of 100 steps, left -; 1 running\nrest"], [None, shot()])
    assert "2tasks-s0-t1" in text and "40 of 100 steps" in text and "[0:01] t1: running" in text and "rest" in text
    assert "4 of 100 steps, left -" not in text.replace("40 of 100", "")


def test_without_a_snapshot_a_terminal_shows_the_whole_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xlray.monitor.remote_live.SHOWN_EVERY_S", 0.02)
    assert "4 of 100 steps, left -" in screen_of(["[0:20] 4 of 100 steps, left -; 1 running\n"], [None])


# --- jobs that were lost ---------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def note(folder: Path, kind: str = "run") -> Path:
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    (folder / "small.py").write_text("import parts.names\n")
    (folder / "parts" / "names.py").write_text("")
    request = Request(kind, "small", (kind, "small.py", "--storage", "s3://b/x"), {}, "s3://b/x", {"AWS_REGION": "r"})
    return resubmit.remember(request, folder)


def test_a_job_that_has_not_ended_leaves_everything_that_submits_it_again(tmp_path: Path, home: Path) -> None:
    note(tmp_path / "work")
    folder = note(tmp_path / "work")  # again, under the same name
    (found,) = resubmit.left_over()
    assert sorted(found.files) == ["parts/names.py", "small.py"] and found.files["small.py"].read_text()
    assert found.arguments == ("run", "small.py", "--storage", "s3://b/x") and found.settings == {"AWS_REGION": "r"}
    assert (found.kind, found.name, found.storage, found.versions) == ("run", "small", "s3://b/x", must_agree())
    resubmit.forget(folder)
    assert list(resubmit.left_over()) == []


def test_a_note_that_was_cut_off_is_reported_and_passed_over(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note(tmp_path / "work", "prepare")
    (note(tmp_path / "work") / resubmit.NOTE).write_text("{")
    assert [request.kind for request in resubmit.left_over()] == ["prepare"]
    assert "must be the note of a job" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "is_up", "left"), [(0, True, 0), (0, False, 0), (4, True, 0), (4, False, 1)])
def test_a_job_that_ends_takes_its_note_away_unless_ray_is_gone(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_up: bool, left: int
) -> None:
    with socket.socket() as gcs:
        gcs.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{gcs.getsockname()[1]}")
        if is_up:
            gcs.listen()
        end_a_job(tmp_path, monkeypatch, code)
    assert len(list(resubmit.left_over())) == left


def end_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """And a question, which leaves no note."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    seen: list[int] = []

    def command(words: list[str], env: dict[str, str]) -> int:
        seen.append(len(list(resubmit.left_over())))
        assert env["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1" and words[-1] == "x"
        return code

    monkeypatch.setattr("xlray.cluster.job_main.keep_running", command)
    described = {"versions": must_agree(), "sweep": "small", "storage": "/x", "settings": {}}
    assert cluster_job([json.dumps(described), "status", "x"]) == code
    assert cluster_job([json.dumps(described), "run", "x"]) == code
    assert seen == [0, 1]


class Server:
    """A job server that knows its jobs, and fails the first times."""

    def __init__(self, failures: int = 0) -> None:
        self.jobs: list[Any] = []
        self.failures = failures

    def list_jobs(self) -> list[Any]:
        return list(self.jobs)

    def submit_job(self, *, submission_id: str, metadata: dict[str, str], **_: Any) -> str:
        if any(job.submission_id == submission_id for job in self.jobs):
            raise RuntimeError("exists already")
        if self.failures:
            self.failures -= 1
            raise OSError("not yet")
        self.jobs.append(
            SimpleNamespace(submission_id=submission_id, metadata=metadata, start_time=1, status="RUNNING")
        )
        return submission_id


def test_what_was_lost_is_submitted_once_though_a_client_does_it_too(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note(tmp_path / "work")
    server = Server(failures=1)
    monkeypatch.setattr(resubmit, "connect", lambda _: (server, ""))
    monkeypatch.setattr("xlray.cluster.resubmit.time.sleep", lambda _: None)
    assert resubmit.main() == 0 and resubmit.main() == 0
    assert "small: resumes as job xlray-run-small-1" in capsys.readouterr().out
    (request,) = resubmit.left_over()
    assert jobs.join_or_submit(server, request) == ("xlray-run-small-1", True)
    assert len(server.jobs) == 1


def test_two_clients_that_submit_at_the_same_time_share_a_job(tmp_path: Path, home: Path) -> None:
    class Late(Server):
        """Lists the other client's job only after its own was refused."""

        asked = 0

        def list_jobs(self) -> list[Any]:
            self.asked += 1
            return [] if self.asked <= 2 else super().list_jobs()

    server, request = Late(), Request("run", "small", ("run",), {}, "/x")
    server.submit_job(submission_id="xlray-run-small-1", metadata={"xlray": "run", "sweep": "small"})
    assert jobs.join_or_submit(server, request) == ("xlray-run-small-1", True)


def test_a_job_that_ended_is_followed_by_another(home: Path) -> None:
    server, request = Server(), Request("run", "small", ("run",), {}, "/x")
    assert jobs.join_or_submit(server, request) == ("xlray-run-small-1", False)
    server.jobs[0].status = "STOPPED"
    assert jobs.join_or_submit(server, request) == ("xlray-run-small-2", False)


# --- what an autoscaler may start ------------------------------------------------------------------------------------


def test_what_ray_up_gave_to_the_autoscaler_is_known_and_no_other_rays(tmp_path: Path) -> None:
    config = yaml.safe_load((TOP / "cluster.yaml").read_text())
    # As `ray up` fills them in from the type of instance.
    config["available_node_types"]["gpu"]["resources"] = {"CPU": 96, "GPU": 8}
    config["available_node_types"]["cpu"]["resources"] = {"CPU": 32}
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text(json.dumps(config))
    words = ["/x/ray/autoscaler/v2/monitor.py", "--gcs-address=10.9.8.7:6379", f"--autoscaling-config={file}"]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words]) as process:
        try:
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes():  # for a moment a new program has no words yet
                time.sleep(0.01)
            found, other = node_types("10.9.8.7:6379"), node_types("10.9.8.7:637")
        finally:
            process.kill()
    assert found is not None and other is None
    assert found.most == 6 and {number for _, number in found.types} == {2, 4}  # without the head
    assert found.workers({"CPU": 2.0, "GPU": 1.0}) == 32
    assert dataclasses.replace(found, most=3).workers({"CPU": 32.0}) == 9  # the machines with most room count
    assert found.workers({"CPU": 1.0, "TPU": 1.0}) == 0


@pytest.mark.parametrize("autoscaling", [True, False])
def test_on_kubernetes_the_custom_resource_says_what_may_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autoscaling: bool
) -> None:
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    resource = yaml.safe_load((TOP / "deploy" / "kuberay" / "raycluster.yaml").read_text())
    resource["metadata"]["namespace"] = "ours"
    resource["spec"]["enableInTreeAutoscaling"] = autoscaling
    (tmp_path / "namespace").write_text("ours\n")
    asked = []

    def get(_: object, path: str) -> Any:
        asked.append(path)
        return resource

    monkeypatch.setattr(KubernetesHttpApiClient, "get", get)
    monkeypatch.setattr(node_types_module, "NAMESPACE_FILE", tmp_path / "namespace")
    monkeypatch.setenv("RAY_CLUSTER_NAME", "xlray")
    found = node_types("10.9.8.7:6379")
    assert asked == ["rayclusters/xlray"] and (found is not None) is autoscaling
    assert found is None or found.workers({"CPU": 2.0, "GPU": 1.0}) == 64


@pytest.mark.parametrize(("status", "refused"), [(403, False), (500, True), (None, True)])
def test_a_kubernetes_that_does_not_answer_is_one_line_and_one_that_forbids_has_no_autoscaler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int | None, refused: bool
) -> None:
    import requests
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    def get(_: object, path: str) -> None:
        if status is None:
            raise requests.ConnectionError("nobody there")
        raise requests.HTTPError(f"{status} for {path}", response=SimpleNamespace(status_code=status))

    (tmp_path / "namespace").write_text("ours")
    monkeypatch.setattr(KubernetesHttpApiClient, "get", get)
    monkeypatch.setattr(node_types_module, "NAMESPACE_FILE", tmp_path / "namespace")
    monkeypatch.setenv("RAY_CLUSTER_NAME", "xlray")
    if refused:
        with pytest.raises(InputError, match="raycluster xlray: Kubernetes must say"):
            node_types("10.9.8.7:6379")
    else:
        assert node_types("10.9.8.7:6379") is None


def test_a_sweep_waits_for_own_machines_that_have_not_joined_yet_and_for_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlray.sweep import ray_session

    config = yaml.safe_load((TOP / "deploy" / "onprem.yaml").read_text())
    monkeypatch.setattr(node_types_module, "_of_launcher", lambda _: {**config, "available_node_types": {}})
    found = node_types("10.9.8.7:6379")
    assert found is not None and (found.own, found.most) == (2, 2)
    cloud = yaml.safe_load((TOP / "cluster.yaml").read_text())
    monkeypatch.setattr(node_types_module, "_of_launcher", lambda _: cloud)
    elsewhere = node_types("10.9.8.7:6379")
    assert elsewhere is not None and elsewhere.own == 0

    up, said, slept = [1], [], []

    def sleep(_: float) -> None:
        slept.append(1)
        up[0] += 1

    context = SimpleNamespace(gcs_address="10.9.8.7:6379")
    monkeypatch.setattr("xlray.sweep.ray_session.ray.get_runtime_context", lambda: context)
    monkeypatch.setattr("xlray.sweep.ray_session.ray.nodes", lambda: [{"Alive": n < up[0]} for n in range(5)])
    monkeypatch.setattr("xlray.sweep.ray_session.time.sleep", sleep)
    for startable, waits in ((None, 0), (elsewhere, 0), (found, 2), (found, 0)):
        monkeypatch.setattr(ray_session, "node_types", lambda _, startable=startable: startable)
        said.clear()
        slept.clear()
        ray_session.await_machines(lambda: said.append(1))
        assert (len(slept), len(said)) == (waits, min(1, waits))
    monkeypatch.setattr(ray_session, "JOIN_WITHIN_S", 0.0)
    up[0] = 1
    ray_session.await_machines(lambda: said.append(1))  # not for ever
    assert slept == []
