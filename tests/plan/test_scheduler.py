import math
import random
from collections import Counter
from typing import Any

import pytest
from replayed import replay

from xlray.config.sweep import Stopping
from xlray.plan.asha import Decision, Report, decide, promotions
from xlray.storage.standings import standings

STOPPING = Stopping(reduction_factor=3.0, survival_probability=0.2)
NEVER_SPARED = Stopping(reduction_factor=3.0, survival_probability=0.0)
LAST = 2


def report(journal, trial_id, score, rung_index=0, cell="2-all", role="explore", diverged=False, stopping=NEVER_SPARED):
    """Decide and journal, as the driver does."""
    told = Report(trial_id, cell, role, rung_index, score, diverged)
    decision = decide(standings(journal), told, stopping, LAST)
    journal.append(
        {
            "event": "rung",
            "trial_id": trial_id,
            "cell": cell,
            "role": role,
            "rung_index": rung_index,
            "score": score,
            "diverged": diverged,
            "decision": decision.action,
            "reason": decision.reason,
            "cutoff": decision.cutoff,
            "probability": decision.probability,
        }
    )
    return decision


def spared(trial_id, rung_index=0):
    """Whether the draw lets this trial continue below the cut."""
    journal = []
    report(journal, "better", 90.0, rung_index)
    return report(journal, trial_id, 10.0, rung_index, stopping=STOPPING).action == "continue"


def test_the_best_third_of_a_rung_continues():
    journal = []
    found = {score: report(journal, f"t{score}", float(score)) for score in (50, 40, 60, 45, 55, 70, 30, 65, 58)}
    # After n reports the best ceil(n / 3) continue: 50 of 1; 60 of 3; 55 of (50 40 60 45 55); 70; 65; 58 of 9 is fourth.
    assert [s for s, d in found.items() if d.action == "continue"] == [50, 60, 55, 70, 65]
    assert found[58] == Decision("stop", "below the cut", 60.0, 0.0)
    assert found[65].cutoff == 60.0


@pytest.mark.parametrize("seed", range(20))
def test_what_continues_is_what_ranks_in_the_best_third_at_that_moment(seed):
    scores = random.Random(seed).sample(range(1000), 25)
    journal = []
    for i, score in enumerate(scores):
        seen = sorted(scores[: i + 1], reverse=True)
        above = score in seen[: max(1, math.ceil(len(seen) / 3))]
        assert report(journal, f"t{i}", float(score)).action == ("continue" if above else "stop")


def test_the_first_trial_of_a_cell_continues_and_a_tie_with_the_cut_too():
    journal = []
    assert report(journal, "a", 10.0).action == "continue"
    assert report(journal, "b", 10.0).action == "continue"


def test_measure_is_never_stopped_and_enters_no_cut():
    journal = []
    for i in range(9):
        assert report(journal, f"m{i}", 90.0 + i, role="measure") == Decision("continue", "measure", None, 1.0)
    assert report(journal, "e", 10.0).action == "continue"  # the first of its kind, whatever the controls score
    assert report(journal, "m", 0.0, role="measure").action == "continue"
    assert report(journal, "f", 5.0).cutoff == 10.0


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("role", ["measure", "explore"])
@pytest.mark.parametrize("rung_index", [0, LAST])
def test_a_score_that_is_no_number_stops(score, role, rung_index):
    assert report([], "t", score, rung_index, role=role) == Decision("stop", "diverged", None, 0.0)


@pytest.mark.parametrize("role", ["measure", "explore"])
def test_a_diverged_trunk_stops_whatever_its_score(role):
    assert report([], "t", 99.0, role=role, diverged=True).action == "stop"


def test_a_score_that_is_no_number_enters_no_cut():
    journal = []
    for i, score in enumerate((math.nan, None, math.inf)):
        journal.append(
            {"event": "rung", "trial_id": f"n{i}", "cell": "2-all", "role": "explore", "rung_index": 0, "score": score}
        )
    assert report(journal, "a", 10.0).cutoff == 10.0


def test_a_replayed_report_gets_the_decision_that_was_made():
    journal = []
    first = report(journal, "a", 10.0)
    for i in range(5):
        report(journal, f"b{i}", 50.0 + i)
    assert decide(standings(journal), Report("a", "2-all", "explore", 0, 10.0), NEVER_SPARED, LAST) == first
    report(journal, "d", math.nan)
    broken = decide(standings(journal), Report("d", "2-all", "explore", 0, math.nan, True), NEVER_SPARED, LAST)
    assert broken == Decision("stop", "diverged", None, 0.0)


def test_a_decision_on_numbers_does_not_stand_where_there_are_none_now_nor_one_on_none_where_there_are():
    journal = []
    report(journal, "a", 10.0)
    report(journal, "d", math.nan)
    found = standings(journal)
    assert decide(found, Report("a", "2-all", "explore", 0, math.nan, True), NEVER_SPARED, LAST).reason == "diverged"
    assert decide(found, Report("d", "2-all", "explore", 0, 20.0), NEVER_SPARED, LAST).reason == "above the cut"


def test_cells_and_rungs_compete_only_within_themselves():
    journal = []
    report(journal, "a", 90.0, cell="8-all")
    report(journal, "b", 90.0, rung_index=1)
    assert report(journal, "c", 10.0).action == "continue"
    assert report(journal, "d", 10.0, cell="8-all").action == "stop"
    assert report(journal, "d", 10.0, cell="2-all", rung_index=1).action == "stop"


def test_other_events_are_passed_over():
    journal = [{"event": "sweep", "name": "s"}, {"event": "trial", "trial_id": "a", "status": "running"}]
    assert report(journal, "a", 10.0).action == "continue"


def test_the_last_rung_never_stops():
    journal = []
    for i in range(6):
        assert report(journal, f"t{i}", 60.0 - i, rung_index=LAST) == Decision("continue", "last rung", None, 1.0)


def test_a_trial_below_the_cut_survives_by_a_draw_that_is_recorded():
    survivors = [f"t{i}" for i in range(40) if spared(f"t{i}")]
    assert survivors
    journal = []
    report(journal, "better", 90.0)
    assert report(journal, survivors[0], 10.0, stopping=STOPPING) == Decision(
        "continue", "below the cut, drawn to continue", 90.0, 0.2
    )


def test_the_draw_depends_on_trial_and_rung_alone():
    assert [spared(f"t{i}") for i in range(50)] == [spared(f"t{i}") for i in range(50)]
    assert [spared(f"t{i}") for i in range(200)] != [spared(f"t{i}", 1) for i in range(200)]


def test_survivors_are_as_frequent_as_the_probability_says():
    n = 5000
    count = sum(spared(f"{i:010x}") for i in range(n))
    assert abs(count / n - 0.2) < 5 * math.sqrt(0.2 * 0.8 / n)


def test_replaying_a_journal_reproduces_every_decision():
    source = random.Random(0)
    journal = []
    alive = {
        f"t{i}": (source.choice(("2-all", "8-all")), source.choice(("explore", "explore", "measure")))
        for i in range(60)
    }
    for rung_index in range(LAST + 1):
        order = list(alive)
        source.shuffle(order)
        for trial_id in order:
            cell, role = alive[trial_id]
            score = math.nan if source.random() < 0.05 else source.gauss(50, 10)
            if report(journal, trial_id, score, rung_index, cell, role, stopping=STOPPING).action == "stop":
                del alive[trial_id]
    assert {entry["reason"] for entry in journal} == {
        "above the cut",
        "below the cut",
        "below the cut, drawn to continue",
        "measure",
        "last rung",
        "diverged",
    }
    assert replay(journal, STOPPING, LAST) == []
    stopped = next(i for i, e in enumerate(journal) if e["reason"] == "below the cut")
    planted = [*journal[:stopped], {**journal[stopped], "decision": "continue"}, *journal[stopped + 1 :]]
    assert len(replay(planted, STOPPING, LAST)) == 1


@pytest.mark.parametrize("factor", [2.0, 3.0, 4.0])
def test_about_one_in_the_reduction_factor_continues_when_scores_come_in_random_order(factor):
    source = random.Random(1)
    stopping = Stopping(factor, 0.0)
    journal = []
    kept = sum(report(journal, f"t{i}", source.random(), stopping=stopping).action == "continue" for i in range(400))
    assert kept / 400 == pytest.approx(1 / factor, abs=0.08)


# --- promotion -----------------------------------------------------------------------------------------------------

PROMOTE = Stopping(reduction_factor=3.0, survival_probability=0.0, promote=True)
PROMOTE_SOME = Stopping(reduction_factor=3.0, survival_probability=0.2, promote=True)


def promote(journal, rung_index=0, cell="2-all", stopping=PROMOTE):
    """Journal what is due, as the driver does after each rung."""
    due = promotions(standings(journal), cell, rung_index, stopping)
    journal += due
    return [entry["trial_id"] for entry in due]


def test_a_paused_trial_is_promoted_once_it_is_in_the_best_third():
    journal = [{"event": "running", "trial_id": name} for name in "abcd"]
    assert report(journal, "a", 50.0, stopping=PROMOTE) == Decision("pause", "below the cut", None, 0.0)
    assert report(journal, "b", 40.0, stopping=PROMOTE).action == "pause"
    assert promote(journal) == []
    assert report(journal, "c", 30.0, stopping=PROMOTE) == Decision("pause", "below the cut", 50.0, 0.0)
    assert promote(journal) == ["a"]
    assert promote(journal) == []  # once
    assert report(journal, "d", 60.0, stopping=PROMOTE).action == "continue"
    journal += [{"event": "paused", "trial_id": name} for name in ("a", "b")]  # a rose while it was being stopped
    assert {name: s.status for name, s in standings(journal).trials.items() if s.status != "running"} == {
        "a": "created",
        "b": "paused",
    }


def test_a_survivor_that_would_have_risen_anyway_counts_with_probability_one():
    survivor = next(f"t{i}" for i in range(100) if spared(f"t{i}"))
    journal: list[dict[str, Any]] = [{"event": "running", "trial_id": survivor}]
    assert report(journal, survivor, 50.0, stopping=PROMOTE_SOME) == Decision(
        "continue", "below the cut, drawn to continue", None, 0.2
    )
    for i, score in enumerate((10.0, 20.0)):
        report(journal, f"low{i}", score, stopping=PROMOTE_SOME)
    assert promote(journal, stopping=PROMOTE_SOME) == [survivor]
    assert journal[-1]["probability"] == 1.0
    assert standings(journal).trials[survivor].status == "running"  # it was never paused


@pytest.mark.parametrize("seed", range(10))
def test_promotion_takes_all_that_were_ever_above_the_cut_and_replay_agrees(seed):
    source = random.Random(seed)
    scores = {f"t{i}": source.gauss(50, 10) for i in range(60)}
    journal, above = [], set()
    for number, (trial_id, score) in enumerate(scores.items(), start=1):
        report(journal, trial_id, score, stopping=PROMOTE_SOME)
        promote(journal, stopping=PROMOTE_SOME)
        above |= set(sorted(list(scores)[:number], key=scores.__getitem__, reverse=True)[: number // 3])
    certain = {e["trial_id"] for e in journal if e.get("reason") == "above the cut" or e["event"] == "promoted"}
    assert certain == above
    assert replay(journal, PROMOTE_SOME, LAST) == []
    lost = [e for e in journal if e["event"] != "promoted"]
    assert len(replay(lost, PROMOTE_SOME, LAST)) == sum(e["event"] == "promoted" for e in journal)
    extra = [*journal, {"event": "promoted", "trial_id": min(scores, key=scores.__getitem__), "rung_index": 0}]
    assert len(replay(extra, PROMOTE_SOME, LAST)) == 1


def test_weights_by_the_recorded_probability_make_the_mean_of_the_survivors_unbiased():
    source, means = random.Random(0), []
    for repetition in range(300):
        journal = []
        scores = {f"{repetition}-{i}": source.gauss(50, 10) for i in range(30)}
        for trial_id, score in scores.items():
            report(journal, trial_id, score, stopping=PROMOTE_SOME)
            promote(journal, stopping=PROMOTE_SOME)
        certain = {e["trial_id"] for e in journal if e["event"] == "promoted"}
        passed = [e for e in journal if e["event"] == "rung" and e["decision"] == "continue"]
        weights = {e["trial_id"]: 1.0 / e["probability"] for e in passed} | dict.fromkeys(certain, 1.0)
        means.append(sum(scores[t] * w for t, w in weights.items()) / len(scores))
        # the plain mean of what continued is far above 50
    assert sum(means) / len(means) == pytest.approx(50.0, abs=1.5)


def test_what_an_earlier_driver_left_running_or_failed_is_open_again():
    journal: list[dict[str, Any]] = [
        {"event": e, "trial_id": e} for e in ("running", "failed", "interrupted", "finished", "stopped", "paused")
    ]
    journal[-1:] = [
        {"event": "rung", "trial_id": "paused", "rung_index": 0, "cell": "1", "decision": "pause"},
        journal[-1],
    ]
    journal.append({"event": "opened"})
    assert Counter(s.status for s in standings(journal).trials.values()) == Counter(
        created=3, finished=1, stopped=1, paused=1
    )


# --- sweeps that grow ----------------------------------------------------------------------------------------------


def entry(trial_id, score, reason, rung_index=0, basis="three targets", **changes):
    made = {"decision": "continue", "reason": reason, "cutoff": None, "probability": 1.0}
    place = {"event": "rung", "trial_id": trial_id, "cell": "2-all", "role": "explore", "rung_index": rung_index}
    return {**place, "score": score, "basis": basis, **made, **changes}


def test_what_was_the_last_rung_is_decided_once_there_is_a_further_one():
    journal = [entry(f"t{i}", float(i), "last rung", LAST) for i in range(9)]
    found = standings(journal)

    def decided(trial_id, score, last):
        return decide(found, Report(trial_id, "2-all", "explore", LAST, score), NEVER_SPARED, last)

    assert {decided(f"t{i}", float(i), LAST).reason for i in range(9)} == {"last rung"}
    again = {i: decided(f"t{i}", float(i), LAST + 1).action for i in range(9)}
    assert [i for i, action in again.items() if action == "continue"] == [6, 7, 8]  # of nine, itself among them
    stopped = entry("t0", 0.0, "below the cut", LAST, decision="stop", cutoff=6.0, probability=0.0)
    assert not replay([*journal, stopped], NEVER_SPARED, LAST + 1)
    assert replay([*journal, {**stopped, "decision": "continue"}], NEVER_SPARED, LAST + 1)


def test_outdated_scores_rank_no_more_and_their_decisions_stand():
    journal = [entry("a", 90.0, "above the cut"), entry("b", 10.0, "below the cut", decision="stop", cutoff=90.0)]
    found = standings(journal)
    assert [trial for _, trial in found.ranked["2-all", 0]] == ["a", "b"]
    for name in "ab":
        found.add({"event": "outdated", "trial_id": name, "rungs": [0]})
    assert found.trials["b"].last == {} and found.trials["b"].rungs
    found.add(entry("c", 50.0, "above the cut", basis="four targets"))
    assert [trial for _, trial in found.ranked["2-all", 0]] == ["c"]
    again = decide(found, Report("b", "2-all", "explore", 0, 99.0), NEVER_SPARED, LAST)
    assert (again.action, again.reason) == ("stop", "below the cut")
    found.add(entry("b", 99.0, "below the cut", basis="four targets", decision="stop", cutoff=90.0))
    assert [trial for _, trial in found.ranked["2-all", 0]] == ["b", "c"]
