"""A journal's decisions, taken again."""

from collections.abc import Iterable

from xlray.config.sweep import Stopping
from xlray.plan.asha import Report, decide, promotions
from xlray.storage.standings import Entry, Standings


def replay(journal: Iterable[Entry], stopping: Stopping, last_rung_index: int) -> list[str]:
    """Decide again everything that a journal holds, each time from what stood before it.

    Returns:
        the differences, one line each: a rung whose decision would be another one, a promotion that was not due, one that
        was due and is missing at the end. Empty if the journal is the journal of its own decisions.
    """
    found, differences = Standings(), list[str]()
    due: dict[tuple[str, int], Entry] = {}
    for entry in journal:
        event = entry["event"]
        if event == "rung":
            trial_id, index = entry["trial_id"], entry["rung_index"]
            score = float("nan") if entry["score"] is None else float(entry["score"])
            report = Report(trial_id, entry["cell"], entry["role"], index, score, entry["reason"] == "diverged")
            last = index if entry["reason"] == "last rung" else last_rung_index  # the sweep may have grown since
            made = (entry["decision"], entry["reason"], entry["cutoff"], entry["probability"])
            again = decide(found, report, stopping, last)
            if made != (again.action, again.reason, again.cutoff, again.probability):
                differences.append(f"{trial_id} at rung {index}: {made} was decided, {again} is now.")
        elif event == "promoted":
            key = (entry["trial_id"], entry["rung_index"])
            if due.pop(key, None) is None:
                differences.append(f"{key[0]} at rung {key[1]}: promoted, but that was not due.")
        found.add(entry)
        if event == "rung":
            cell, index = entry["cell"], entry["rung_index"]
            due |= {(p["trial_id"], index): p for p in promotions(found, cell, index, stopping)}
    return differences + [f"{key[0]} at rung {key[1]}: a promotion was due." for key in due]
