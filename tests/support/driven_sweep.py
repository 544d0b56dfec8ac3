"""A sweep played step by step around the driver, without Ray and without training."""

from __future__ import annotations

from dataclasses import dataclass

import helpers
import pytest

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Encoder, Intermediate, Subset, Target
from xlray.config.sweep import Sweep
from xlray.phases.spec import Phases, Rung, phase_hash
from xlray.plan.trials import Start, SweepPlan
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage
from xlray.sweep.driver import Driver


@pytest.fixture(autouse=True)
def stored_scores(monkeypatch):
    """What the stored rungs say, by (trunk, rung index); nothing unless a test says so."""
    scores = {}

    def rung_report(store, phases, index, select_by, languages):
        score = scores.get((phases.rungs[0].training[0].data[0].task, index))
        return None if score is None else rung_result(index, score)

    monkeypatch.setattr("xlray.sweep.driver.rung_report", rung_report)
    return scores


def rung_result(rung_index, score, **scores):
    result = {"rung_index": rung_index, "rung": 64 * (rung_index + 1), "score": score, "fi_accuracy": score}
    return {**result, "degenerate": "", "diverged": False, "fi/udpos": score, **scores}


class Stored:
    """Knows by hash which phases are stored."""

    def __init__(self, folder):
        self.storage, self.hashes = Storage(folder), set()

    def has(self, spec):
        return phase_hash(spec) in self.hashes

    def finished(self, specs):
        return frozenset(phase_hash(spec) for spec in specs if self.has(spec))

    def finish(self, *specs):
        self.hashes |= {phase_hash(spec) for spec in specs}


def data(name):
    return helpers.data_spec(name, "classification", "train/en", [name])


def phases_of(trunk, num_rungs=2):
    """Two rungs: segment of the trunk, cooldown, target."""
    rungs, parent = [], "root"
    for index in range(num_rungs):
        segment = helpers.train_spec("trunk", parent, [data(trunk)], first_example=64 * index)
        cooldown = helpers.train_spec("cooldown", segment, [data(trunk)], first_example=64 * (index + 1))
        target = helpers.train_spec("target", cooldown, [data("target")])
        rungs.append(Rung(64 * (index + 1), (segment, cooldown), (target,)))
        parent = segment
    return Phases(tuple(rungs))


def make_plan(trunks, role="explore", name="s", shared=(), **changes):
    """A sweep of one trial per name of a trunk; equal names are equal phases."""
    subsets = tuple(Subset((f"task{i}",)) for i in range(changes.pop("num_subsets", len(trunks))))
    execution = changes.pop("execution", Execution(max_failures=1))
    sweep = Sweep(
        name=name,
        encoder=Encoder("nowhere", "0"),
        intermediate=Intermediate(rungs=(64, 128), batch_size=16, warmup_examples=0),
        targets=(Target("udpos"),),
        execution=execution,
        **{role: subsets},
        **changes,
    )
    trials = sweep.trials()
    phases = {trial.trial_id: phases_of(trunk) for trial, trunk in zip(trials, trunks, strict=True)}
    return SweepPlan(sweep, trials, {sweep.encoder: Start(Architecture(), shared=tuple(shared))}, phases, None)


@dataclass
class Driven(Driver):
    """A driver that is always asked for jobs for the same slots."""

    num_slots: int = 2

    def next(self, num_slots=0):
        return super().next(num_slots or self.num_slots)


def make_driver(tmp_path, plan, stored=None, num_slots=2, **changes):
    stored = stored or Stored(tmp_path)
    holder = f"sweep {plan.sweep.name}"
    driver = Driven(plan, stored, lambda _: None, Leases(stored.storage, holder, 60.0), num_slots=num_slots, **changes)
    is_open = driver.open(driver.directory.journal.read())
    assert is_open == any(s.status == "created" for s in driver.found.trials.values())
    return driver


def finish(driver, name, up_to=None):
    """Store the phases of a job, all of them or those of the first rungs."""
    jobs = driver.jobs[name]
    driver.store.finish(*(jobs if up_to is None else jobs.up_to(up_to - 1)))


def report(driver, trial_id, rung_index, score):
    return driver.on_rung(trial_id, rung_result(rung_index, score))


def start_all(driver):
    return [launch.name for launch in iter(driver.next, None)]


def ids(plan):
    return [trial.trial_id for trial in plan.trials]


def run_to_the_end(driver, trial_id, score=50.0):
    finish(driver, trial_id)
    for rung_index in range(2):
        report(driver, trial_id, rung_index, score)
    driver.on_end(trial_id, None)


def status(driver, trial_id):
    return driver.found.trials[trial_id].status


def events(driver, *names):
    return [e for e in driver.directory.journal.read() if e["event"] in names]
