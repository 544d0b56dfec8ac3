"""Whole phases over 1, 2, 4 and 8 ranks end in the same weights and scores: whatever the stage, with ranks that have no
example, and with a group that shrinks and grows in between."""

import dataclasses
import functools

import helpers
import pyarrow.parquet as pq
import pytest
import ranks
import torch
from engine_steps import FP32, minus, norm
from safetensors.torch import load_file

from xlray.config.execution import Execution
from xlray.data.records import Sources
from xlray.phases.spec import EvaluationSpec, phase_hash
from xlray.phases.store import Store
from xlray.storage.storage import Storage

STEPS, BATCH_SIZE = 8, 7  # fewer examples than eight ranks


@dataclasses.dataclass(frozen=True)
class World:
    """Phases over the embedded world from one encoder: a mixture of three tasks, then a target on what it has left."""

    trunk: object
    target: object
    records: dict
    encoder: tuple

    def job(self, folder, **execution):
        chosen = Execution(**{"micro_batch_tokens": 96, "checkpoint_every_s": 0.1, **execution})
        path, root, vocabulary = self.encoder
        specs = (self.trunk, self.target)
        return helpers.make_job(Storage(folder), specs, self.records, vocabulary, {root: path}, chosen)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    sources = Sources(None)
    names = (("mini_topic_en", "train/en"), ("mini_question_en", "train/en"), ("mini_udpos", "train/en"))
    mixture = [sources.spec(name, split, 40, 20, sample=80) for name, split in names]
    dev = sources.spec("mini_udpos", "dev/fi", 40, 20, sample=5)
    records = {spec: sources.records(spec) for spec in (*mixture, dev)}
    words = sorted({word for found in records.values() for record in found for word in record.get("tokens", ())})
    encoder = helpers.encoder_folder(tmp_path_factory.mktemp("encoder") / "encoder", words[:190])
    changes = {"num_examples": STEPS * BATCH_SIZE, "batch_size": BATCH_SIZE, "weight_decay": 0.01}
    trunk = helpers.train_spec("trunk", encoder[1], mixture, **changes, warmup_examples=14)
    evaluation = EvaluationSpec(dev, "fi", "dev", False, True)
    target = helpers.train_spec(
        "target", phase_hash(trunk), [mixture[2]], **changes, evaluations=(evaluation,), headline=("f1",)
    )
    return World(trunk, target, records, encoder)


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    """Runs the phases under (ranks, ZeRO stage) one after the other; gives the weights, scores and what each rank had."""

    @functools.cache
    def through(*parts):
        """Each part is (ranks, stages, steps until it stops or None); cases with several stages run in one group."""
        folder = tmp_path_factory.mktemp("ranks")
        num_stages = len(parts[0][1])
        seen = []
        for number, (size, stages, most) in enumerate(parts):
            (meeting := folder / f"meeting{number}").mkdir()
            jobs = [
                (world.job(folder / str(i), num_workers=size, zero_stage=stage), most) for i, stage in enumerate(stages)
            ]
            ranks.run_group(size, ranks.train, jobs, meeting)
            assert len({(meeting / f"saved-{rank}").read_text() for rank in range(size)}) == 1  # all ranks took part
            texts = [(meeting / f"seen-{rank}").read_text() for rank in range(size)]
            seen.append([[int(count) for count in text.split()] for text in texts])
        stores = [Store(Storage(folder / str(i))) for i in range(num_stages)]
        return [_outcome(store, world) for store in stores], seen

    return through


def _outcome(store, world):
    weights = load_file(store.open(world.trunk, "weights/model.safetensors"))
    table = pq.read_table(store.open(world.target, "scores.parquet")).to_pylist()
    records = [store.done(spec)["record"] for spec in (world.trunk, world.target)]
    return weights, {row["metric"]: row["value"] for row in table}, records


@pytest.fixture(scope="module")
def alone(run):
    """(weights, scores, records) of one rank at stage 0."""
    return run((1, (0,), None))[0][0]


@pytest.fixture(scope="module")
def start(world):
    return load_file(world.encoder[0] / "model.safetensors")


def check(found, alone, start):
    weights, scores, records = found
    update = {name: value for name, value in alone[0].items() if name in start}
    assert norm(minus(update, start)) > 0.01 * norm(start)
    assert norm(minus(weights, alone[0])) < FP32 * norm(minus(update, start))
    assert scores == pytest.approx(alone[1], abs=1e-6)
    assert [record["num_executed_steps"] for record in records] == [STEPS, STEPS]
    assert [record["num_tokens"] for record in records] == [record["num_tokens"] for record in alone[2]]


# Every stage with two ranks. With more, the one that shares most; the group that shrinks starts with four at stage 1.
@pytest.mark.parametrize(
    ("size", "stages"),
    [
        (2, (1, 2, 3)),
        (4, (3,)),
        pytest.param(4, (1, 2), marks=pytest.mark.slow),
        pytest.param(8, (1, 2, 3), marks=pytest.mark.slow),
    ],
)
def test_ranks_and_stages_change_phases_by_rounding(run, alone, start, size, stages):
    found, ((*seen,),) = run((size, stages, None))
    for outcome in found:
        check(outcome, alone, start)
    assert all(sum(step) == BATCH_SIZE for step in zip(*seen, strict=True))
    shares = {count for counts in seen for count in counts}
    assert len(shares) > 1  # uneven
    assert (0 in shares) == (size == 8)  # more ranks than examples


def test_a_group_that_shrinks_to_one_and_grows_continues_as_if_undisturbed(run, alone, start):
    (found,), _ = run((4, (1,), 3), (1, (0,), 3), (2, (3,), None))
    check(found, alone, start)


@pytest.mark.slow
def test_a_group_that_goes_from_eight_to_five_to_eight_continues_as_if_undisturbed(run, alone, start):
    (found,), seen = run((8, (1,), 3), (5, (2,), 3), (8, (3,), None))
    assert [len(counts) for counts in seen] == [8, 5, 8]
    check(found, alone, start)


def test_a_rank_that_loses_its_examples_is_seen(run, alone, start, world, tmp_path):
    """The bound of the others is one that a fault breaks: here one example of a step counts on no rank."""
    short = dataclasses.replace(world.trunk, batch_size=BATCH_SIZE - 1, num_examples=STEPS * (BATCH_SIZE - 1))
    other = dataclasses.replace(world, trunk=short, target=dataclasses.replace(world.target, parent=phase_hash(short)))
    (tmp_path / "meeting").mkdir()
    ranks.run_group(2, ranks.train, [(other.job(tmp_path, num_workers=2), None)], tmp_path / "meeting")
    weights = load_file(Store(Storage(tmp_path)).open(short, "weights/model.safetensors"))
    update = norm(minus({name: alone[0][name] for name in start}, start))
    assert norm(minus(weights, alone[0])) > 10 * FP32 * update
    assert not torch.equal(weights[next(iter(weights))], alone[0][next(iter(weights))])
