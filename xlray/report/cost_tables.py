"""What a sweep cost and what it saved: device-hours by what became of the trial, and by kind of phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from xlray.analysis.results import Results
from xlray.report.tables import Cell, Table

STATUSES = ("computed", "shared", "stored")
FATES = {"stopped": "stopped", "failed": "failed"}  # a trial that runs, finished or waits counts as useful


@dataclass(frozen=True)
class Costs:
    """Device-hours.

    Attributes:
        useful: computed for trials that finished or continue, and before all trials.
        stopped: computed for trials that were stopped early.
        failed: computed for trials that failed.
        shared: what phases would have cost again that another trial of the sweep had computed.
        stored: what phases would have cost that lay in the storage before; at this sweep's rate for the kind of phase.
        trunk: what every size of a trial would have cost more with a trunk of its own, from the first example on.
        stopping: what stopped trials would have cost more, up to the mean of the finished ones of their cell; None where
            no trial has finished.
    """

    useful: float
    stopped: float
    failed: float
    shared: float
    stored: float
    trunk: float
    stopping: float | None

    @property
    def spent(self) -> float:
        return self.useful + self.stopped + self.failed


def device_hours(results: Results, statuses: Mapping[str, str]) -> Costs:
    """Device-hours spent and saved. What was saved is an estimate: nobody ran it."""
    used = ["phase", "kind", "status", "trial_id", "num_steps", "device_hours"]
    rows = results.phases.select(used).to_pylist()
    rates = _rates(rows)
    spent: Counter[str] = Counter()
    own_cost = {row["phase"]: row["device_hours"] or 0.0 for row in rows if row["status"] == "computed"}
    saved: Counter[str] = Counter()
    whole: dict[str, float] = {}
    grown: dict[str, float] = {}
    for row in rows:
        trial, hours = row["trial_id"] or "", row["device_hours"] or 0.0
        again = own_cost.get(row["phase"], rates.get(row["kind"], 0.0) * (row["num_steps"] or 0))
        if row["status"] == "computed":
            spent[FATES.get(statuses.get(trial, ""), "useful")] += hours  # type: ignore[assignment]
        else:
            saved[row["status"]] += again  # type: ignore[assignment]
        whole[trial] = whole.get(trial, 0.0) + again
        if row["kind"] == "trunk":  # rows are in the order of the rungs; each resumes from all before it
            saved["trunk"] += grown.get(trial, 0.0)  # type: ignore[assignment]
            grown[trial] = grown.get(trial, 0.0) + again
    return Costs(
        useful=spent["useful"],
        stopped=spent["stopped"],
        failed=spent["failed"],
        shared=saved["shared"],
        stored=saved["stored"],
        trunk=saved["trunk"],
        stopping=_saved_by_stopping(results, statuses, whole),
    )


def _rates(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Device-hours per step of each kind of phase, over what was computed here."""
    hours: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "computed":
            hours[row["kind"]] += row["device_hours"] or 0.0  # type: ignore[assignment]
            steps[row["kind"]] += row["num_steps"] or 0
    return {kind: hours[kind] / steps[kind] for kind in hours if steps[kind]}


def _saved_by_stopping(results: Results, statuses: Mapping[str, str], whole: Mapping[str, float]) -> float | None:
    """The mean cost of a finished trial of the cell (of any cell if there is none) less that of each stopped one."""
    trials = results.trials
    cells = dict(zip(trials["trial_id"].to_pylist(), trials["cell"].to_pylist(), strict=True))
    finished: dict[str | None, list[float]] = {}
    for trial, hours in whole.items():
        if statuses.get(trial) == "finished":
            finished.setdefault(cells.get(trial), []).append(hours)
    everywhere = [hours for cell in finished.values() for hours in cell]
    if not everywhere:
        return None
    saved = 0.0
    for trial in (trial for trial, status in statuses.items() if status == "stopped" and trial in whole):
        peers = finished.get(cells.get(trial), everywhere)
        saved += max(0.0, sum(peers) / len(peers) - whole[trial])
    return saved


def cost_by_fate(costs: Costs) -> Table:
    """Device-hours spent and saved, a line each."""
    stopping: Cell = costs.stopping
    rows: tuple[tuple[Cell, ...], ...] = (
        ("spent", "on trials that finished or are continuing", costs.useful),
        ("spent", "on trials that were stopped early", costs.stopped),
        ("spent", "on trials that failed", costs.failed),
        ("saved", "by sharing phases between trials", costs.shared),
        ("saved", "by phases that were stored before", costs.stored),
        ("saved", "by one trunk for all sizes of a trial", costs.trunk),
        ("saved", "by stopping early", stopping),
    )
    columns = (("kind", "Device-hours"), ("what", "What for"), ("device_hours", "Hours"))
    note = (
        "Spent is measured; saved is what the same phases cost where they were computed, for a trunk what each size would have "
        "repeated of it, for stopped trials the mean of the finished ones of their cell less what they used."
    )
    nothing = not any((costs.spent, costs.shared, costs.stored))
    return Table("device_hours", "Device-hours", note, columns, rows, "a finished phase" if nothing else "")


def cost(results: Results) -> Table:
    """The ledger by kind of phase: what was computed, and what sharing and the store saved."""
    kinds: dict[str, Counter[str]] = {}
    used = ["kind", "status", "num_steps", "num_executed_steps", "num_repeated_steps", "num_tokens", "device_hours"]
    phases = results.phases.select(used)
    executed = pc.coalesce(phases["num_executed_steps"], phases["num_steps"])
    phases = phases.append_column("executed", executed)
    summed = ["num_steps", "executed", "num_repeated_steps", "num_tokens", "device_hours"]
    totals = phases.group_by(["kind", "status"]).aggregate([([], "count_all"), *((name, "sum") for name in summed)])
    for row in totals.to_pylist():
        status, counts = row["status"], kinds.setdefault(row["kind"] or "?", Counter())
        counts[f"phases {status}"] += row["count_all"]
        counts[f"steps {status}"] += row["executed_sum" if status == "computed" else "num_steps_sum"] or 0
        counts["steps repeated"] += row["num_repeated_steps_sum"] or 0
        counts[f"tokens {status}"] += row["num_tokens_sum"] or 0
        counts[f"hours {status}"] += row["device_hours_sum"] or 0.0  # type: ignore[assignment]
    total: Counter[str] = Counter()
    for counts in kinds.values():
        total.update(counts)
    keys = [f"{what} {status}" for what in ("phases", "steps") for status in STATUSES]
    keys += ["steps repeated", "tokens computed", "hours computed"]
    named = [*sorted(kinds.items()), ("all", total)] if kinds else []
    rows = tuple((kind, *(float(c[key]) if "hours" in key else c[key] for key in keys)) for kind, c in named)
    heads = [key.replace("hours", "device-hours").capitalize() for key in keys]
    columns = (("kind", "Kind of phase"), *zip((key.replace(" ", "_") for key in keys), heads, strict=True))
    note = (
        "Shared: another trial of this sweep computed it; stored: it was there before. Their steps were not run. "
        "Repeated: run again after a crash, part of the steps computed."
    )
    return Table("cost", "Phases, steps and tokens", note, columns, rows, "" if rows else "a finished phase")
