"""Sweeps played to their end without Ray, training and data: real plans, journals, stores and tables over invented scores.

A phase's scores are drawn from its hash, so whatever changes its inputs changes them, and what they must be is known.
"""

import dataclasses
import json
import math

import numpy as np

from xlray.canonical import fingerprint
from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Encoder, Intermediate, Subset, Target
from xlray.config.search import Search
from xlray.config.spaces import Choice, Real
from xlray.config.sweep import Stopping, Sweep
from xlray.data.records import Sources
from xlray.phases.spec import DataSpec, EncoderSpec, phase_hash
from xlray.phases.store import Store
from xlray.plan.rung_report import rung_report
from xlray.plan.trials import Start, SweepPlan, with_trials
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage
from xlray.sweep.driver import Driver
from xlray.sweep.result_tables import write_results
from xlray.training.score_files import Outcome, write_outcomes

TASKS = ("mini_topic_en", "mini_roles_de", "mini_similarity_en", "mini_reading_es")


@dataclasses.dataclass(frozen=True)
class World:
    """What a sweep's names stand for: the encoder's content and the version of each task's data, by (task, part)."""

    encoder: str = "first"
    data: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass
class Files(Sources):
    """The data of a world, of which nothing but the fingerprints exists."""

    world: World = World()

    def has(self, name, split):
        return True

    def spec(self, name, split, max_length, stride=0, sample=None):
        task, version = self.task(name), self.world.data.count((name, split.split("/")[0]))
        content = fingerprint([name, split, version, sample])
        labels = tuple(task.labels)
        return DataSpec(name, task.kind, split, content, 100, max_length, stride, labels, task.scale)


SWEEP = Sweep(
    name="played",
    encoder=Encoder("an-encoder", "0"),
    measure=(Subset(()), Subset(TASKS[:2])),
    explore=tuple(Subset((name,)) for name in TASKS[:3]),
    seeds=(0, 1),
    intermediate=Intermediate(rungs=(64, 128), batch_size=16, warmup_examples=0, max_length=64, stride=32),
    targets=(Target("mini_udpos", num_examples=64), Target("mini_tatoeba")),
    stopping=Stopping(reduction_factor=2.0, survival_probability=0.2),
    execution=Execution(max_failures=0),
)
RATE, MIXING = "intermediate.learning_rate", "intermediate.mixing"
SEARCHED = dataclasses.replace(
    SWEEP,
    measure=(Subset(TASKS[:2], "en"),),
    explore=(),
    seeds=(0, 1, 2),
    vary={"dropout": (0.0, 0.1)},
    stopping=Stopping(survival_probability=0.8),
    search=Search(space={RATE: Real(1e-6, 1e-3, log=True), MIXING: Choice(("uniform", "proportional"))}, num_trials=20),
)


def plan_of(sweep, world):
    starts = {
        encoder: Start(Architecture(), EncoderSpec(f"files of {world.encoder}{number or ''}"))
        for number, encoder in enumerate(sweep.encoders)
    }
    return with_trials(SweepPlan(sweep, (), starts, {}, Files(None, world=world)), sweep.trials())


def headline(spec, evaluation):
    """What a phase scores on one evaluation set, in percent."""
    draw = int(fingerprint([phase_hash(spec), evaluation.language, evaluation.split])[:8], 16)
    return 20 + draw % 6_000 / 100


def truth(plan, trial_id, rung_index):
    """The Finnish accuracy of a trial at a rung, from nothing but its phases."""
    specs = plan.phases[trial_id].rungs[rung_index].targets
    return math.fsum(headline(s, e) for s in specs for e in s.evaluations if e.selection) / len(specs)


def compute(store, spec, sweep, trial_id):
    """Finish a phase, unless it is stored."""
    if store.has(spec):
        return
    with store.staging(spec) as staged:
        (staged / "weights").mkdir()
        if evaluations := getattr(spec, "evaluations", ()):
            items = {"correct": np.ones(3), "total": np.ones(3)}
            write_outcomes(staged, [Outcome(e, {"headline": headline(spec, e)}, items, 3, None) for e in evaluations])
        counts = dict.fromkeys(("num_steps", "num_tokens", "num_executed_steps", "num_repeated_steps"), 1)
        record = {**counts, "device_seconds": 1.0, "degenerate": None, "sweep": sweep, "trial_id": trial_id}
        store.commit(spec, staged, record)


def work(driver, name, num_rungs):
    """Do what the workers of a job do, up to so many rungs."""
    plan, phases = driver.plan, driver.jobs[name]
    for index in range(num_rungs):
        for spec in phases.up_to(index):
            compute(driver.store, spec, plan.sweep.name, name)
        report = rung_report(driver.store, phases, index, plan.sweep.select_by, plan.sweep.evaluated)
        if driver.on_rung(name, report) != "continue":
            break
    driver.on_end(name, None)


def play(root, plan, num_jobs=None):
    """Run a sweep as `xlray run` does, one trial after the other; returns its folder and its driver.

    Args:
        num_jobs: after so many the run is interrupted, the last one at its first rung; None runs to the end.
    """
    storage = Storage(root)
    driver = Driver(plan, Store(storage), lambda _: None, Leases(storage, "played", 60.0))
    driver.directory.path.mkdir(parents=True, exist_ok=True)
    driver.open(driver.directory.journal.read())
    started = 0
    while started != num_jobs and (launch := driver.next(1)) is not None:
        started += 1
        driver.asked_to_stop = started == num_jobs
        if driver.asked_to_stop:
            driver.look()
        work(driver, launch.name, 1 if driver.asked_to_stop else len(plan.sweep.intermediate.rungs))
    driver.close()
    (driver.directory / "sweep.json").write_text(json.dumps(plan.sweep.definition))
    write_results(driver.plan, driver.store)
    return driver.directory.path, driver
