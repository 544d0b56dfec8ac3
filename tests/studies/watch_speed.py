"""What a look at a sweep of 10,000 trials costs. `python tests/studies/watch_speed.py [TRIALS [ROUNDS]]`; prints JSON.

Two ways take turns, after the same new entries: the whole journal replayed at each look, and the reader, which takes what
is new. A look is what a terminal draws twice a second and what a page is answered every two seconds. Times are of the processor.
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from xlray.monitor.page import SweepPage
from xlray.monitor.reader import Reader
from xlray.monitor.table import MOST_ROWS
from xlray.storage.journal import JOURNAL_FILE
from xlray.storage.standings import Standing, standings
from xlray.storage.sweep_folder import open_sweep

RUNGS = (4_096, 16_384, 65_536)
TARGETS = ("udpos", "panx", "tydiqa", "tatoeba")
NUM_TASKS = 9
NEW = 10  # entries between two looks: a second of 64 trials at a time


def entries(number):
    """The entries of a trial: created, started, three rungs, finished."""
    trial = f"{number:010x}"
    place = {
        "trial_id": trial,
        "cell": f"{1 + number % 20}-{('english', 'other')[number // 20 % 2]}",
        "role": "explore",
    }
    tasks = [f"task_{(number + n) % 32}" for n in range(NUM_TASKS)]
    yield {"event": "created", **place, "tasks": tasks, "seed": number % 5}
    yield {"event": "running", "trial_id": trial, "attempt": 1, "run": f"large-{trial}-1", "phases": []}
    for index, rung in enumerate(RUNGS):
        value = 40.0 + number % 997 / 50 + index
        scores = {"score": value, "fi_accuracy": value, "degenerate": "", "scores": dict.fromkeys(TARGETS, value)}
        made = {"decision": "continue", "reason": "above the cut", "cutoff": 40.0, "probability": 1.0}
        yield {
            "event": "rung",
            **place,
            "rung_index": index,
            "rung": rung,
            **scores,
            **made,
            "basis": "b",
            "phases": [],
        }
    yield {"event": "finished", "trial_id": trial}


def make_sweep(folder, num_trials):
    """Write the folder of a sweep whose trials are finished; returns the entries that follow."""
    (folder / "journal").mkdir(parents=True)
    definition = {"name": folder.name, "question": "", "targets": [{"task": t} for t in TARGETS]}
    (folder / "sweep.json").write_text(json.dumps({**definition, "intermediate": {"rungs": list(RUNGS)}}))
    made = [{"event": "opened"}, *itertools.chain.from_iterable(map(entries, range(num_trials)))]
    lines = [json.dumps({**entry, "time": 1.79e9 + second / 10}) for second, entry in enumerate(made)]
    (folder / "journal" / JOURNAL_FILE).write_text("\n".join(lines) + "\n")
    return itertools.chain.from_iterable(map(entries, itertools.count(num_trials)))


def replayed(folder):
    """What a look cost before: the journal read and replayed, every trial's state made, those that fit chosen."""
    journal = open_sweep(folder).journal.read()
    known = standings(journal).trials
    changed = {e["trial_id"]: e["time"] for e in journal if "trial_id" in e}
    rows = []
    for entry in journal:
        if entry["event"] == "created":
            standing = known.get(entry["trial_id"], Standing())
            last = standing.last
            number = len(standing.current), last.get("rung"), last.get("fi_accuracy"), last.get("scores", {})
            rows.append((standing.status, changed[entry["trial_id"]], entry["trial_id"], *number))
    rows.sort(key=lambda row: (row[0] != "running", -row[1]))
    return rows[:MOST_ROWS]


class Browser:
    """A page that is open: what it has seen, and what each of its answers took (ms of CPU time) and weighed (bytes)."""

    def __init__(self, folder):
        self.page, self.since, self.replay, self.took_ms, self.sizes = SweepPage(open_sweep(folder)), 0, "", [], []

    def ask(self):
        start = time.process_time()
        found = self.page.document(self.since, self.replay)
        text = json.dumps(found).encode()
        self.took_ms.append(1000 * (time.process_time() - start))
        self.sizes.append(len(text))
        self.since, self.replay = found["version"], found["replay"]
        return found["more"]


def timed_ms(call):
    start = time.process_time()
    call()
    return 1000 * (time.process_time() - start)


def measure(folder, more, rounds):
    reader, browser = Reader(open_sweep(folder)), Browser(folder)

    def look():
        reader.refresh()
        reader.view(lambda followed: followed.shown_first(MOST_ROWS))

    found = {"first_look_ms": timed_ms(look)}
    while browser.ask():
        pass
    took = browser.took_ms
    found["page_opened"] = {"answers": len(took), "largest_bytes": max(browser.sizes), "first_ms": took[0]}
    found["page_opened"] |= {"others_median_ms": statistics.median(took[1:]), "others_longest_ms": max(took[1:])}
    ways = {"replay": [], "reader": [], "page": [], "page_nothing_new": []}
    largest = 0
    for _ in range(rounds):
        for entry in itertools.islice(more, NEW):
            open_sweep(folder).journal.append(entry)
        ways["replay"].append(timed_ms(lambda: replayed(folder)))
        ways["reader"].append(timed_ms(look))
        for way in ("page", "page_nothing_new"):
            browser.ask()
            ways[way].append(browser.took_ms[-1])
        largest = max(largest, *browser.sizes[-2:])
    medians = {name: statistics.median(values) for name, values in ways.items()}
    ratio = {"replay/reader": medians["replay"] / medians["reader"]}
    return {**found, "refresh_medians_ms": medians, "refresh_largest_bytes": largest, "ratios": ratio}


def main():
    num_trials, rounds = (int(word) for word in (*sys.argv[1:], *("10000", "7")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "sweeps" / "large"
        more = make_sweep(folder, num_trials)
        size = (folder / "journal" / JOURNAL_FILE).stat().st_size
        with open_sweep(folder).journal.exclusive():
            found = measure(folder, more, rounds)
    print(json.dumps({"trials": num_trials, "journal_bytes": size, **found}, indent=1))


if __name__ == "__main__":
    main()
