"""A sweep's schedule played on a virtual clock: discrete events, with the decisions that a real run makes."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

from xlray.config.sweep import Trial
from xlray.plan.asha import Report, decide, promotions
from xlray.plan.costs import Cost
from xlray.plan.trials import SweepPlan
from xlray.storage.standings import Standings, standings

Curve = Callable[[Trial, int], float]  # (trial, rung index) to the score that it reports there

TRIAL_SPREAD, RUNG_NOISE, GAIN_PER_RUNG = 2.0, 1.0, 1.5  # points, of the synthetic curves


@dataclass(frozen=True)
class Bar:
    """A trial on its devices from one report to the next, in seconds since the start."""

    trial_id: str
    slot: int
    rung_index: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Schedule:
    """What came of a simulation.

    Attributes:
        bars: in the order in which they ended.
        busy_s: device-seconds of work.
        wall_s: until the last trial ended.
        steps: optimizer steps that were run, each phase once.
        reached: rung index to the number of trials that reported it.
        num_slots: trials that can run at one time.
    """

    bars: tuple[Bar, ...]
    busy_s: float
    wall_s: float
    steps: int
    reached: Mapping[int, int]
    num_slots: int

    @property
    def utilisation(self) -> float:
        """Share of the slots' time in which a trial ran."""
        total = self.wall_s * self.num_slots
        return sum(bar.end_s - bar.start_s for bar in self.bars) / total if total else 0.0


def synthetic(trial: Trial, rung_index: int) -> float:
    """An invented score: trials differ by 2 points, seeds and rungs add 1 point of noise, each rung gains 1.5."""
    key = f"{trial.config.tasks}/{trial.config.caps}/{trial.subset.examples_per_task}{trial.label}"
    own = TRIAL_SPREAD * _normal(key)
    return 50.0 + own + GAIN_PER_RUNG * rung_index + RUNG_NOISE * _normal(f"{trial.trial_id}/{rung_index}")


def recorded(entries: Sequence[Mapping[str, Any]]) -> Curve:
    """The scores that a journal holds, and synthetic ones where it holds none."""
    known = {
        (trial_id, index): float(e["score"])
        for trial_id, standing in standings(entries).trials.items()
        for index, e in standing.current.items()
        if isinstance(e.get("score"), (int, float)) and math.isfinite(e["score"])
    }
    return lambda trial, index: known.get((trial.trial_id, index), synthetic(trial, index))


def _normal(key: str) -> float:
    uniform = (int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) + 0.5) / 16**12
    return NormalDist().inv_cdf(uniform)


@dataclass
class _Play:
    """The state of a simulation: what is computed, what was reported, who waits."""

    plan: SweepPlan
    costs: Mapping[str, Cost]
    seconds: Mapping[str, float]
    curve: Curve
    computed: set[str]
    steps: int = 0
    busy_s: float = 0.0
    standings: Standings = field(default_factory=Standings)
    reached: dict[int, int] = field(default_factory=dict)

    def begin(self, trial: Trial, rung_index: int) -> float:
        """Device-seconds of what a trial has to compute for its next report; it is computed by nobody else then."""
        total = 0.0
        for key in (spec.key for spec in self.plan.phases[trial.trial_id].rungs[rung_index].phases):
            if key not in self.computed:
                self.computed.add(key)
                self.steps += self.costs[key].steps
                total += self.seconds[key]
        self.busy_s += total
        return total

    def report(self, trial: Trial, rung_index: int) -> tuple[str, list[tuple[str, int]]]:
        """What is decided, and (trial id, rung index) of the trials that this report promotes."""
        stopping = self.plan.sweep.stopping
        last = len(self.plan.sweep.intermediate.rungs) - 1
        score = self.curve(trial, rung_index)
        report = Report(trial.trial_id, trial.population, trial.role, rung_index, score)
        decision = decide(self.standings, report, stopping, last)
        self.reached[rung_index] = self.reached.get(rung_index, 0) + 1
        place = {"trial_id": trial.trial_id, "cell": trial.cell, "role": trial.role, "rung_index": rung_index}
        place["population"] = trial.population
        made = {"decision": decision.action, "reason": decision.reason, "cutoff": decision.cutoff}
        self.standings.add({"event": "rung", **place, **made, "score": score, "probability": decision.probability})
        due = [] if rung_index == last else promotions(self.standings, trial.population, rung_index, stopping)
        for entry in due:
            self.standings.add(entry)
        # One that was drawn to continue is promoted on paper only: it is beyond that rung already.
        paused = [e for e in due if self.standings.trials[e["trial_id"]].rungs[rung_index]["decision"] == "pause"]
        return decision.action, [(e["trial_id"], rung_index) for e in paused]


def play(
    plan: SweepPlan,
    costs: Mapping[str, Cost],
    seconds: Mapping[str, float],
    devices: int,
    stored: Collection[str] = (),
    curve: Curve = synthetic,
) -> Schedule:
    """Play a sweep: trials start in their order as devices become free, report, and continue, stop or pause.

    Args:
        costs: of each phase, by hash.
        seconds: device-seconds of each phase, by hash.
        devices: of the cluster; each is shared by `execution.workers_per_device` workers, of which a trial has
            `execution.max_workers`. Sharing is taken to gain nothing: trials that share a device divide its time.
        stored: phases that need not be computed.
    """
    execution = plan.sweep.execution
    held = execution.max_workers * execution.device_share  # devices that a trial has
    num_slots = max(1, devices * execution.workers_per_device // execution.max_workers)
    if execution.max_concurrent_trials is not None:
        num_slots = min(num_slots, execution.max_concurrent_trials)
    state = _Play(plan, costs, seconds, curve, set(stored))
    trials = {trial.trial_id: trial for trial in plan.trials}
    waiting = deque((trial.trial_id, 0) for trial in plan.trials)
    free = list(range(num_slots))
    running: list[tuple[float, int, int, str, int, float]] = []  # end, order, slot, trial, rung index, start
    bars: list[Bar] = []
    before = [spec for spec in plan.shared if spec.key not in stored]
    state.computed |= {spec.key for spec in before}
    state.steps += sum(costs[spec.key].steps for spec in before)
    state.busy_s += sum(seconds[spec.key] for spec in before)
    now = sum(seconds[spec.key] for spec in before) / held
    last = len(plan.sweep.intermediate.rungs) - 1
    order = 0

    def start(slot: int, trial_id: str, index: int) -> None:
        nonlocal order
        order += 1
        took = state.begin(trials[trial_id], index) / held
        heapq.heappush(running, (now + took, order, slot, trial_id, index, now))

    while waiting or running:
        while free and waiting:
            start(heapq.heappop(free), *waiting.popleft())
        now, _, slot, trial_id, index, since = heapq.heappop(running)
        bars.append(Bar(trial_id, slot, index, since, now))
        action, promoted = state.report(trials[trial_id], index)
        waiting.extendleft((other, rung + 1) for other, rung in reversed(promoted))
        if action == "continue" and index < last:
            start(slot, trial_id, index + 1)
        else:
            heapq.heappush(free, slot)
    return Schedule(tuple(bars), state.busy_s, now, state.steps, state.reached, num_slots)


def timeline_svg(schedule: Schedule, plan: SweepPlan) -> str:
    """The schedule as an SVG: one line per place for a trial, one bar per stretch between reports, darker by rung."""
    shades = ("#9ecae1", "#6baed6", "#3182bd", "#08519c", "#08306b")
    roles = {trial.trial_id: trial.role for trial in plan.trials}
    width, height = 960, max(1.0, min(14.0, 2_000 / schedule.num_slots))
    left, top, total = 10.0, 30.0, schedule.wall_s or 1.0
    scale = (width - 2 * left) / total
    bars = []
    for bar in schedule.bars:
        x, wide = left + bar.start_s * scale, max(0.2, (bar.end_s - bar.start_s) * scale)
        place = f'x="{x:.2f}" y="{top + bar.slot * height:.2f}" width="{wide:.2f}" height="{0.85 * height:.2f}"'
        outline = ' stroke="#222" stroke-width="0.6"' if roles[bar.trial_id] == "measure" else ""
        hours = f"{bar.start_s / 3600:.2f} to {bar.end_s / 3600:.2f} h"
        bars.append(
            f'<rect {place} fill="{shades[min(bar.rung_index, len(shades) - 1)]}"{outline}>'
            f"<title>{bar.trial_id}, rung {bar.rung_index}: {hours}</title></rect>"
        )
    full = top + schedule.num_slots * height + 24
    text = (
        f"{plan.sweep.name}: {schedule.wall_s / 3600:.1f} h on {schedule.num_slots} places, "
        f"{schedule.utilisation:.0%} in use; darker is a later rung, measure trials are outlined"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{full:.0f}" font-family="sans-serif" font-size="12">'
        f'<text x="{left}" y="18">{text}</text>{"".join(bars)}'
        f'<text x="{left}" y="{full - 6:.0f}">0</text>'
        f'<text x="{width - left}" y="{full - 6:.0f}" text-anchor="end">{schedule.wall_s / 3600:.1f} h</text></svg>\n'
    )
