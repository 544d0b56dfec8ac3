"""A job's document: its phases in one list, in which targets name their rung."""

from pathlib import Path

from played import SWEEP, World, plan_of

from xlray.phases.spec import Phases, Rung
from xlray.phases.store import Store
from xlray.plan.jobs import Prepared, make_job, read_job, write_job
from xlray.storage.files import read_json
from xlray.storage.storage import Storage


def test_a_document_lists_phases_as_they_run_and_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan, path = plan_of(SWEEP, World()), tmp_path / "job.json"
    trial = next(phases for phases in plan.phases.values() if phases.rungs[0].training)
    shared = Phases((Rung(64), Rung(128)), trial.rungs[0].training)
    before = [("trunk", None), ("cooldown", None)]
    both = [*before, ("target", 0), ("retrieval", 0), *before, ("target", 1), ("retrieval", 1)]
    for phases, listed in ((trial, both), (shared, before)):
        write_job(path, make_job("job", phases, plan, Store(Storage(tmp_path)), Prepared(10, 4, {}, tmp_path)))
        document = read_json(path)
        assert [(row["spec"]["kind"], row["rung_index"]) for row in document["phases"]] == listed
        assert document["rungs"] == [64, 128] and read_job(path).phases == phases
