"""Token budgets: found, remembered, halved when memory runs out."""

import itertools
import json
import shutil
import time
from types import SimpleNamespace

import helpers
import numpy as np
import pytest
import torch

from xlray.config.execution import Execution
from xlray.errors import InputError
from xlray.phases.spec import phase_hash
from xlray.phases.store import Store
from xlray.plan.memory import GIB
from xlray.plan.sharing import PROCESS_BYTES
from xlray.storage.storage import Storage, open_storage
from xlray.training import autotune, batches, engine, weights
from xlray.training.train import run_phase, run_phases

WORDS = [f"word{i}" for i in range(40)]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return helpers.encoder_folder(tmp_path_factory.mktemp("encoder") / "encoder", WORDS)


@pytest.fixture
def world(tmp_path, encoder, process_group):
    """(job over one phase of twelve steps, the phase)"""
    folder, root, vocabulary = encoder
    random = np.random.default_rng(0)
    records = [
        {"id": str(i), "text": " ".join(random.choice(WORDS, 1 + i % 12)), "text_pair": None, "label": "ab"[i % 2]}
        for i in range(64)
    ]
    data = helpers.data_spec("toy", "classification", "train/en", records, 32, 0, ("a", "b"))
    spec = helpers.train_spec("trunk", root, [data], schedule="warmup_constant", num_examples=192)

    here = Storage(tmp_path)

    def job(storage=here, **execution):
        chosen = Execution(checkpoint_every_steps=4, **execution)
        return helpers.make_job(storage, [spec], {data: records}, vocabulary, {root: folder}, chosen)

    return job, spec, Store(here)


# --- the search ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1_024, 1_500, 2_048, 5_000, 10_000, 60_000, 10**7])
def test_the_search_finds_the_most_that_fits_to_a_quarter(limit):
    asked = []

    def fits(tokens):
        asked.append(tokens)
        return tokens <= limit

    found = autotune.most_that_fit(fits, 1_024, 2**20)
    assert found <= max(limit, 1_024)
    assert found == 2**20 or found > limit / 1.25
    assert len(asked) <= 13


def test_a_pack_of_the_longest_rows_fills_its_budget():
    data = helpers.all_kinds()
    layout = batches.layout(data, 200, helpers.MASK_ID, True)
    longest = max(int(e.row_tokens.max()) for e in data)
    for budget in (1, longest, 700, 5_000):
        tokens = autotune._pack(data, layout, budget).input_ids.numel()
        assert tokens == longest if budget <= longest else budget - longest < tokens <= budget


def test_auto_settles_on_numbers_and_remembers_the_budget(world, monkeypatch):
    job, _, store = world
    auto = job(micro_batch_tokens="auto", zero_stage="auto", activation_checkpointing="auto")
    execution = autotune.settle(auto, auto.phases, CPU)
    assert execution.micro_batch_tokens in autotune.CPU_BUDGETS
    assert (execution.zero_stage, execution.activation_checkpointing) == (0, False)
    (note,) = (store.storage / "tuning").iterdir()
    note.write_text(json.dumps({"micro_batch_tokens": 777}))
    monkeypatch.setattr(autotune, "_fastest", None)  # it is not asked again
    assert autotune.settle(auto, auto.phases, CPU).micro_batch_tokens == 777


@pytest.fixture
def machines(tmp_path, monkeypatch, s3_uri):
    """What two machines have open on one object store."""
    folders = []
    for name in ("one", "two"):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / name))
        folders.append(open_storage(s3_uri))
    return folders


def test_another_machine_need_not_search_again(world, machines, monkeypatch):
    job, spec, _ = world
    monkeypatch.setattr(autotune, "_fastest", lambda *_: 1_234)
    assert autotune.settle(job(machines[0], micro_batch_tokens="auto"), [spec], CPU).micro_batch_tokens == 1_234
    monkeypatch.setattr(autotune, "_fastest", None)
    assert autotune.settle(job(machines[1], micro_batch_tokens="auto"), [spec], CPU).micro_batch_tokens == 1_234


def test_a_search_belongs_to_the_execution_it_was_made_for(world, monkeypatch):
    job, spec, _ = world
    found = itertools.count(1_000)
    monkeypatch.setattr(autotune, "_fastest", lambda *_: next(found))
    budgets = [
        autotune.settle(job(micro_batch_tokens="auto", **fields), [spec], CPU).micro_batch_tokens
        for fields in ({}, {"zero_stage": 2}, {"activation_checkpointing": True}, {})
    ]
    assert budgets == [1_000, 1_001, 1_002, 1_000]


def test_numbers_are_left_as_they_are(world):
    job, spec, store = world
    assert (
        autotune.settle(job(micro_batch_tokens=300, zero_stage=2), [spec], CPU)
        == job(micro_batch_tokens=300, zero_stage=2).execution
    )
    assert not (store.storage / "tuning").exists()


def test_a_phase_under_auto_is_the_same_phase_and_records_what_was_chosen(world):
    job, spec, store = world
    reports = []
    auto = job(micro_batch_tokens="auto", zero_stage="auto", activation_checkpointing="auto")
    run_phases(auto, reports.append)
    record = store.done(spec)["record"]
    assert record["execution"]["zero_stage"] == 0
    assert record["micro_batch_tokens"] == record["execution"]["micro_batch_tokens"]
    assert record["peak_memory_bytes"] > 0
    assert phase_hash(spec) == phase_hash(next(iter(job().phases)))


def test_a_gpu_is_refused_where_there_is_none():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="`gpus_per_worker = 0` must hold on a machine without a GPU, but got 1"):
        autotune.device_of(Execution(gpus_per_worker=1))
    assert autotune.device_of(Execution()) == CPU


@pytest.fixture
def card(monkeypatch):
    """A GPU of 80 GiB of which 70 are free; gives the limits that are set."""
    limits = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *limit: limits.append(limit))
    return limits


def test_a_process_that_shares_a_gpu_keeps_to_its_part(card):
    device = torch.device("cuda", 0)
    quarter = Execution(gpus_per_worker=0.25)
    autotune.limit_memory(quarter, device)
    assert card == [((20 * GIB - PROCESS_BYTES) / (80 * GIB), device)]
    assert autotune.free_bytes(quarter, device) == 20 * GIB - PROCESS_BYTES
    assert autotune.free_bytes(Execution(gpus_per_worker=0.9), device) == 70 * GIB  # others hold the rest


def test_a_process_that_has_a_device_for_itself_is_not_limited(card):
    autotune.limit_memory(Execution(gpus_per_worker=1), torch.device("cuda", 0))
    autotune.limit_memory(Execution(), CPU)
    assert card == []
    assert autotune.free_bytes(Execution(gpus_per_worker=1), torch.device("cuda", 0)) == 70 * GIB


def test_a_limit_is_set_before_anything_is_on_the_device(world, monkeypatch):
    job, _, _ = world
    calls = []
    for name in ("limit_memory", "settle"):
        original = getattr(autotune, name)

        def noted(*given, name=name, original=original):
            calls.append(name)
            return original(*given)

        monkeypatch.setattr(autotune, name, noted)
    run_phases(job(micro_batch_tokens=64), lambda _: None)
    assert calls == ["limit_memory", "settle"]


def test_a_phase_at_a_quarter_of_a_gpu_costs_a_quarter_of_its_time(world, monkeypatch):
    job, spec, store = world
    monkeypatch.setattr(autotune, "device_of", lambda _: CPU)

    def device_seconds(**execution):
        clock = itertools.count()  # a second passes from one look at it to the next
        fake = SimpleNamespace(monotonic=lambda: float(next(clock)), time=time.time)
        with monkeypatch.context() as context:
            context.setattr(weights, "time", fake)
            run_phase(spec, job(micro_batch_tokens=64, **execution))
        record = store.done(spec)["record"]
        shutil.rmtree(store.folder(spec))
        return record["device_seconds"]

    whole = device_seconds()
    assert device_seconds(gpus_per_worker=0.25) == pytest.approx(whole / 4) and whole > 12


# --- when memory runs out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "longest", "expected"),
    [
        ([], 100, 8_192),
        ([8_192], 100, 4_096),
        ([8_192, 8_192], 100, 4_096),
        ([8_192, 4_096], 100, 2_048),
        ([150], 100, 100),
    ],
)
def test_a_budget_that_failed_is_halved_down_to_the_longest_row(failed, longest, expected):
    assert autotune.phase_budget(8_192, failed, longest) == expected


def test_a_row_that_does_not_fit_by_itself_is_refused():
    with pytest.raises(InputError, match="a row of 100 tokens must fit the memory of a worker"):
        autotune.phase_budget(8_192, [8_192, 100], 100)


def test_only_errors_of_memory_are_taken_for_such():
    assert autotune.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert autotune.is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert autotune.is_out_of_memory(caught.value)
    assert autotune.is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"))
    assert not autotune.is_out_of_memory(RuntimeError("shapes cannot be multiplied"))


def test_a_phase_that_ran_out_of_memory_resumes_from_its_state_with_half_the_budget(world, monkeypatch):
    job, spec, store = world
    step, budgets, count = engine.train_step, [], itertools.count(1)

    def train_step(running, micro_batches, learning_rate):
        if learning_rate > 0:
            budgets.append(max(b.input_ids.numel() for b in micro_batches))
            if next(count) == 7:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(running, micro_batches, learning_rate)

    monkeypatch.setattr(engine, "train_step", train_step)
    with pytest.raises(torch.OutOfMemoryError):
        run_phase(spec, job(micro_batch_tokens=64))
    assert not store.has(spec)
    assert run_phase(spec, job(micro_batch_tokens=64)) is None
    assert max(budgets[:7]) > 32 >= max(budgets[7:])
    record = store.done(spec)["record"]
    assert (record["micro_batch_tokens"], record["out_of_memory"]) == (32, [64])
    assert (record["num_executed_steps"], record["num_repeated_steps"]) == (12 + 2, 2)


def test_another_machine_knows_which_budget_ran_out_of_memory(world, machines, monkeypatch):
    job, spec, _ = world
    one, two = (job(machine, micro_batch_tokens=64) for machine in machines)

    def fails(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as context:
        context.setattr(engine, "train_step", fails)
        with pytest.raises(torch.OutOfMemoryError):
            run_phase(spec, one)
    assert run_phase(spec, two) is None
    record = Store(machines[1]).done(spec)["record"]
    assert (record["micro_batch_tokens"], record["out_of_memory"]) == (32, [64])


def test_a_rank_whose_machine_lacks_the_attempt_folder_can_note_it(tmp_path, process_group):
    autotune.note_out_of_memory(Storage(tmp_path), tmp_path / "phase" / "attempt", 512)
    autotune.note_out_of_memory(Storage(tmp_path), tmp_path / "phase" / "attempt", 1_024)
    autotune.note_out_of_memory(Storage(tmp_path), tmp_path / "phase" / "attempt", 512)
    assert autotune.failed_budgets(tmp_path / "phase" / "attempt") == [1_024, 512]
    assert autotune.failed_budgets(tmp_path / "elsewhere") == []


def test_another_error_leaves_the_budget_alone(world, monkeypatch):
    job, spec, store = world

    def fails(*_):
        raise RuntimeError("something else")

    with monkeypatch.context() as context:
        context.setattr(engine, "train_step", fails)
        with pytest.raises(RuntimeError, match="something else"):
            run_phase(spec, job(micro_batch_tokens=64))
    run_phase(spec, job(micro_batch_tokens=64))
    assert store.done(spec)["record"]["out_of_memory"] == []


def test_the_peak_on_a_gpu_is_what_its_allocator_held_and_not_an_earlier_phase_s(monkeypatch):
    calls = []
    for name, value in (("empty_cache", 0), ("reset_peak_memory_stats", 0), ("max_memory_reserved", 7)):

        def noted(*_, name=name, value=value):
            calls.append(name)
            return value

        monkeypatch.setattr(torch.cuda, name, noted)
    assert autotune.peak_meter(torch.device("cuda"))() == 7
    assert calls == ["empty_cache", "reset_peak_memory_stats", "max_memory_reserved"]
