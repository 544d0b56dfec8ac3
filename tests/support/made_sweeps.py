"""Sweeps that nobody ran, written for the live page, and the page in a browser."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from xlray.monitor import server as dashboard
from xlray.monitor.progress import PhaseWork
from xlray.phases.curves import POINTS_FILE, LogPoint, add_point, write_curve
from xlray.storage.sweep_folder import open_sweep

TARGETS = ("mini_udpos", "mini_panx", "mini_tydiqa", "mini_tatoeba")
CELL = "8-all learning_rate=1e-5 temperature=3 schedule=cosine"


def write_sweep(folder, statuses, time):
    """A sweep with trials of some statuses; the finished ones have two rungs."""
    journal = open_sweep(folder).journal
    journal.append({"event": "opened", "time": time})
    for number, status in enumerate(statuses):
        trial = {"trial_id": f"t{number}", "cell": CELL, "role": "measure", "time": time}
        journal.append({"event": "created", **trial, "tasks": ["a"], "seed": number})
        if status != "created":
            journal.append({"event": "running", **trial, "attempt": 1, "run": f"r{number}", "phases": []})
        if status == "finished":
            for index in range(2):
                scores = dict.fromkeys(TARGETS, 50.0 + number)
                rung = {"event": "rung", **trial, "rung": 64 * (index + 1), "rung_index": index, "score": 50.0}
                rung |= {"fi_accuracy": 50.0 + number, "scores": scores, "degenerate": "", "decision": "continue"}
                journal.append({**rung, "reason": "", "cutoff": None, "probability": 1.0})
            journal.append({"event": "finished", **trial})
    definition: dict[str, Any] = {"question": "Does it help?", "targets": [{"task": task} for task in TARGETS]}
    definition |= {"intermediate": {"rungs": [64, 128]}, "execution": {"num_workers": 2, "gpus_per_worker": 1}}
    (folder / "sweep.json").write_text(json.dumps(definition))
    return open_sweep(folder)


def let_run(board, name, trials, steps=100, done=40):
    """Phases of trials of a sweep of a live page, in their storage: a trunk that is finished and one that runs."""
    page = board._page(name)
    page.reader.refresh()
    for trial in trials:
        folders = [board.sweeps.parent / "phases" / f"trunk-{trial}-{place}" for place in (0, 1)]
        for place, folder in enumerate(folders):
            (folder / "attempt").mkdir(parents=True)
            first = place * steps
            with (folder / "attempt" / POINTS_FILE).open("ab") as file:
                for step in range(first + 1, first + (done if place else steps) + 1):
                    add_point(file, LogPoint(step, 1, 4.0 / step, 1.5, 1e-3, 90, 120, 0.5))
        spec = SimpleNamespace(batch_size=16)
        write_curve(folders[0], folders[0] / "attempt", spec)
        (folders[0] / "DONE").touch()
        page.reader.watch.know({trial: tuple(PhaseWork(folder, "trunk", "trunk 64", steps) for folder in folders)})


@pytest.fixture
def served(browser, tmp_path, monkeypatch):
    """Opens the page of a sweep; gives the tab and the list of what went wrong in it, requests to elsewhere included."""
    made = []

    def serve(statuses, width=1600, change=lambda found: found, prepare=lambda board: None):
        sweep = write_sweep(tmp_path / "sweeps" / "demo", statuses, 1_790_000_000.0)
        board = dashboard.Dashboard(sweep, "http://127.0.0.1:9", 2.0)
        prepare(board)
        answer = board.document
        monkeypatch.setattr(board, "document", lambda *asked: change(answer(*asked)))
        server = dashboard.make_server(board, "127.0.0.1", 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab, faults = browser.new_page(viewport={"width": width, "height": 900}), []
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("console", lambda message: faults.append(message.text))
        here = f"http://127.0.0.1:{server.server_address[1]}/"
        tab.on("request", lambda asked: None if asked.url.startswith((here, "data:")) else faults.append(asked.url))
        made.extend([tab, server])
        tab.goto(f"{here}demo/")
        tab.locator("#trials tbody tr").first.wait_for()
        return tab, faults

    yield serve
    for tab, server in zip(made[::2], made[1::2], strict=True):
        tab.close()
        server.shutdown()
        server.server_close()
