"""The worker's loop: a list of phases, each skipped if its result is stored and continued if it was begun."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor

from xlray.canonical import fingerprint
from xlray.config.recipes import Architecture, default_retrieval_layer
from xlray.data import mixture
from xlray.data.examples import Examples
from xlray.data.tokenization import open_examples
from xlray.phases.curves import write_curve
from xlray.phases.spec import RetrievalSpec, Spec, TrainSpec, data_key, phase_name
from xlray.phases.store import Store
from xlray.phases.versions import versions
from xlray.plan.jobs import Job, bring_inputs
from xlray.plan.rung_report import NOT_FINITE, diverged, not_finite, rung_report
from xlray.training import autotune, batches, collapse, engine, evaluate
from xlray.training.batches import Layout
from xlray.training.checkpoint import StateWriter, latest_state
from xlray.training.interrupt import DUE, GO_ON, SAVE, STOP, Interrupted, StopSignal, every
from xlray.training.metrics import headline
from xlray.training.model import Model, initialise_heads, random_encoder
from xlray.training.prefetch import Step, made_ahead, pack_step, pinned
from xlray.training.score_files import Outcome, nothing, write_outcomes
from xlray.training.weights import (
    Ledger,
    copy_tokenizer,
    load_model,
    load_weights,
    save_heads,
    save_weights,
)

CHECK_EVERY_STEPS = 20  # steps between two readings of the loss of all ranks


@dataclass(frozen=True)
class _Run:
    """A training phase under way.

    Attributes:
        examples: of each task of the mixture.
        plan: of the layer of heads.
        attempt: folder of what is unfinished.
        budget: tokens per micro-batch.
    """

    spec: TrainSpec
    job: Job
    store: Store
    examples: Sequence[Examples]
    plan: Layout
    attempt: Path
    budget: int
    stop: StopSignal | None


def run_phase(spec: Spec, job: Job, stop: StopSignal | None = None) -> str | None:
    """Bring the phase's result into the store, unless it is there; collective.

    Returns:
        Why the run is degenerate (its numbers mean nothing), or None.

    Raises:
        Interrupted: `stop` was agreed; the phase's state is saved.
    """
    store = Store(job.storage)
    if _agree(store.has(spec) if dist.get_rank() == 0 else None):
        return _agree(store.done(spec)["record"]["degenerate"] if dist.get_rank() == 0 else None)  # type: ignore[no-any-return]
    bring_inputs(spec, job)
    if isinstance(spec, RetrievalSpec):
        return _run_retrieval(spec, job, store)
    assert isinstance(spec, TrainSpec)
    return _run_training(spec, job, store, stop)


def _run_training(spec: TrainSpec, job: Job, store: Store, stop: StopSignal | None) -> str | None:
    examples = [open_examples(Path(job.folders[data_key(d)]), d) for d in spec.data]
    plan = batches.layout(examples, job.vocab_size, job.mask_id, spec.scaled_losses)
    store.load_attempt(spec)
    attempt = store.begin(spec) if dist.get_rank() == 0 else store.folder(spec) / "attempt"
    failed = _agree(autotune.failed_budgets(attempt) if dist.get_rank() == 0 else None)
    budget = autotune.phase_budget(int(job.execution.micro_batch_tokens), failed, evaluate.longest_row(examples))
    try:
        return _train_and_store(_Run(spec, job, store, examples, plan, attempt, budget, stop))
    except (RuntimeError, MemoryError) as error:
        # Not retried here: the peers would wait for ever. The group restarts, from its last state.
        if autotune.is_out_of_memory(error):
            autotune.note_out_of_memory(job.storage, attempt, budget)
        raise


def _train_and_store(run: _Run) -> str | None:
    spec, job, store = run.spec, run.job, run.store
    device = autotune.device_of(job.execution)
    peak_bytes = autotune.peak_meter(device)
    saved, damaged = _agree(latest_state(run.attempt) if dist.get_rank() == 0 else None)
    model, state = _build_model(run, saved)
    running = engine.start_engine(
        model, job.execution, engine.Optimization(spec.weight_decay, spec.clip_norm, spec.precision), device
    )
    first = spec.first_step
    if state is not None:
        engine.restore_moments(running, state, batches.collate(run.examples, [], run.plan))
        first = int(state["next_step"]) if saved is not None else first
        del state  # as large as the model and its moments
    ledger = Ledger(run.attempt, job, spec, dist.get_world_size(), first) if dist.get_rank() == 0 else None
    with StateWriter() as writer:
        degenerate = _train(run, running, first, ledger, writer)
    lost = not_finite(degenerate)
    outcomes = [nothing(e) for e in spec.evaluations] if lost else _evaluate_target(run, running)
    kept = not lost and (spec.kind != "target" or job.keep_targets)
    weights = engine.gather_weights(running) if kept and spec.ends_at_zero else None
    with store.staging(spec) if dist.get_rank() == 0 else contextlib.nullcontext(Path()) as staged:
        if kept and not spec.ends_at_zero:
            with StateWriter() as writer:
                _save(writer, staged / "state" / "state.safetensors", running, spec.first_step + spec.num_steps)
        peak = autotune.greatest_of_all(peak_bytes(), device)
        if ledger is not None:
            if weights is not None:
                save_weights(staged / "weights", weights, model.encoder.config, job.parents.get(spec.parent))
                if spec.kind == "target":
                    save_heads(staged / "weights", weights)
            elif kept and not spec.ends_at_zero:
                model.encoder.config.save_pretrained(staged / "state")
                copy_tokenizer(Path(job.parents[spec.parent]), staged / "state")
            if spec.evaluations:
                write_outcomes(staged, outcomes)
            write_curve(staged, run.attempt, spec)
            degenerate = degenerate or _collapsed(outcomes, job)
            record = {**ledger.record(), **_versions(job), "degenerate": degenerate, "damaged_states": damaged}
            record |= {"peak_memory_bytes": int(peak), "micro_batch_tokens": run.budget}
            record |= {"out_of_memory": autotune.failed_budgets(run.attempt)}
            store.commit(spec, staged, record)
    engine.stop_engine(running)
    return _agree(degenerate)  # type: ignore[no-any-return]


def _train(run: _Run, running: Any, first: int, ledger: Ledger | None, writer: StateWriter) -> str | None:
    """All steps from `first` on; returns why the run is degenerate, or None."""
    spec, job, examples = run.spec, run.job, run.examples
    running.train()
    end = spec.first_step + spec.num_steps
    order = _order(spec, examples)
    history: list[tuple[int, float]] = []
    total = torch.zeros(len(examples), device=running.device)  # stays there, so that no step waits for its losses
    norms = torch.zeros((), device=running.device)
    steps = _steps(run, order, first)
    every_steps, is_due = job.execution.checkpoint_every_steps, every(job.execution.checkpoint_every_s)
    for step in made_ahead(map(pinned, steps)) if total.is_cuda else steps:
        total += engine.train_step(running, step.micro_batches, spec.learning_rate_at(step.number))
        norms += engine.gradient_norm(running)
        if ledger is not None:
            ledger.step(step.number, step.num_tokens, step.num_slots)
        done = step.number + 1
        if done == end or (done - first) % CHECK_EVERY_STEPS == 0:
            dist.all_reduce(total)
            finite, loss, norm = torch.stack([torch.isfinite(total).all().float(), total.sum(), norms]).tolist()
            history.append(((done - first - 1) % CHECK_EVERY_STEPS + 1, loss))
            if ledger is not None:
                ledger.log(done, *history[-1], norm)
            if not finite:
                return f"{NOT_FINITE} at step {done}"
            total.zero_()
            norms.zero_()
        # The clock of one rank, since those of others may be apart by a step.
        own = DUE if ledger is not None and every_steps is None and is_due() else GO_ON
        asked = GO_ON if run.stop is None else run.stop.agreed(own)
        due = every_steps is not None and (done - spec.first_step) % every_steps == 0
        if done != end and (due or asked != GO_ON):
            state = run.attempt / f"state-{done}.safetensors"
            _save(writer, state, running, done, partial(run.store.save_attempt, spec))
            if asked > DUE:
                writer.wait()
        if done != end and asked == STOP:
            raise Interrupted
    chance = [collapse.chance_loss(e, run.plan.vocab_size, run.plan.scaled) for e in examples]
    tasks = order[0][spec.first_example : spec.first_example + spec.num_examples]
    return collapse.nothing_learned(history, spec.num_steps, tasks, chance)


def _save(
    writer: StateWriter, path: Path, running: Any, next_step: int, then: Callable[[], None] = lambda: None
) -> None:
    """Gather the state and write it, and do what follows, in the background; collective."""
    entries = engine.state_entries(running)
    if dist.get_rank() == 0:
        layout = {**engine.state_layout(running), "next_step": (torch.int64, ())}
        writer.save(path, layout, itertools.chain(entries, [("next_step", torch.tensor(next_step))]), then)
    else:
        for _ in entries:  # rank 0 gets them; the others only take part
            raise AssertionError("only rank 0 gathers tensors")


def _order(spec: TrainSpec, examples: Sequence[Examples]) -> tuple[Any, Any]:
    """Task and row of every example up to the end of the phase, in order; a function of the spec alone."""
    names = [d.task for d in spec.data]
    chances = mixture.probabilities([d.num_records for d in spec.data], spec.mixing, spec.cap, spec.temperature)
    last = spec.first_example + spec.num_examples
    return mixture.order(names, [len(e) for e in examples], chances, last, spec.seed)


def _steps(run: _Run, order: tuple[Any, Any], first: int) -> Iterator[Step]:
    """This rank's micro-batches of each step. Which examples make up a step depends on the spec alone."""
    spec, (tasks, rows) = run.spec, order
    # Trunk and cooldown walk along one order with one stream of random numbers; so a trunk of two segments is the same
    # as a trunk of one.
    family = "intermediate" if spec.kind in ("trunk", "cooldown") else spec.kind
    seed = int(fingerprint([family, spec.seed])[:15], 16)
    for step in range(first, spec.first_step + spec.num_steps):
        start = step * spec.batch_size
        chosen = slice(start, start + spec.batch_size)
        step_rows = batches.step_rows(run.examples, tasks[chosen], rows[chosen], start, seed, run.plan)
        yield pack_step(step, run.examples, step_rows, run.plan, run.budget, dist.get_rank(), dist.get_world_size())


def _build_model(run: _Run, saved: Path | None) -> tuple[Model, dict[str, Tensor] | None]:
    """The model at the start of the phase, and the optimizer's state if the phase resumes from one."""
    spec, plan = run.spec, run.plan
    if spec.kind == "pretrain":
        assert spec.architecture is not None
        model = Model(random_encoder(Architecture(**spec.architecture), spec.seed), plan, spec.dropout)
        initialise_heads(model, spec.seed)
        if saved is None:
            return model, None
        state = load_file(saved)
        load_weights(model, state)
        return model, state
    parent = Path(run.job.parents[spec.parent])
    seed = int(fingerprint(["heads", spec.kind, [d.task for d in spec.data], spec.seed])[:15], 16)
    before = parent / "state" / "state.safetensors" if spec.continues else None
    return load_model(parent, plan, spec.dropout, seed, saved or before)


def _evaluate_target(run: _Run, running: Any) -> list[Outcome]:
    outcomes = []
    for evaluation in run.spec.evaluations:
        examples = open_examples(Path(run.job.folders[data_key(evaluation.data)]), evaluation.data)
        evaluator = evaluate.Evaluator(
            running, running.device, run.plan, max(run.budget, evaluate.longest_row([examples]))
        )
        predictions = evaluate.predict(evaluator, examples, evaluation.data)
        if predictions is None:
            continue
        scores, items, count = evaluate.score_predictions(evaluation, examples, predictions)
        if scores:
            baseline = evaluate.majority_scores(evaluation, examples, run.examples[0], run.spec.data[0])
            scores = {
                **scores,
                "headline": headline(scores, run.spec.headline),
                "majority": headline(baseline, run.spec.headline),
            }
        outcomes.append(Outcome(evaluation, scores, items, count, predictions))
    return outcomes


def _collapsed(outcomes: Sequence[Outcome], job: Job) -> str | None:
    for outcome in outcomes:
        data, predictions = outcome.evaluation.data, outcome.predictions
        contexts = open_examples(Path(job.folders[data_key(data)]), data).references.get("contexts", ())
        if predictions is not None and collapse.constant(predictions, data.kind, contexts):
            return f"one prediction for all of {data.task} {outcome.evaluation.split} {outcome.evaluation.language}"
    return None


def _run_retrieval(spec: RetrievalSpec, job: Job, store: Store) -> str | None:
    started = time.monotonic()
    parent = Path(job.parents[spec.parent])
    plan = Layout((0,), (0,), ("retrieval",), job.vocab_size, job.mask_id, False)
    model, _ = load_model(parent, plan, 0.0, 0, None)
    device = autotune.device_of(job.execution)
    model = model.to(device, torch.bfloat16 if spec.precision == "bf16" else torch.float32)
    layers = model.encoder.config.num_hidden_layers
    layer = default_retrieval_layer(layers) if spec.layer is None else spec.layer
    outcomes, known = [], {}
    for evaluation in spec.evaluations:
        key = data_key(evaluation.data)
        examples = open_examples(Path(job.folders[key]), evaluation.data)
        if key not in known:
            budget = max(int(job.execution.micro_batch_tokens), evaluate.longest_row([examples]))
            known[key] = evaluate.retrieve(evaluate.Evaluator(model, device, plan, budget), examples, layer)
        nearest = known[key]
        if nearest is not None:
            scores, items, count = evaluate.retrieval_scores(evaluation, examples, nearest)
            chance = 100.0 / len(examples)
            scores = {**scores, "headline": headline(scores, spec.headline), "majority": chance}
            outcomes.append(Outcome(evaluation, scores, items, count, nearest[0]))
    if dist.get_rank() == 0:
        store.begin(spec)
        with store.staging(spec) as staged:
            write_outcomes(staged, outcomes)
            seconds = (time.monotonic() - started) * dist.get_world_size() * job.execution.device_share
            record = {
                "num_steps": 0,
                "num_executed_steps": 0,
                "num_repeated_steps": 0,
                "num_tokens": 0,
                "device_seconds": seconds,
                "degenerate": None,
                **_versions(job),
            }
            store.commit(spec, staged, record)
    dist.barrier()
    return None


def _versions(job: Job) -> dict[str, Any]:
    return {"execution": asdict(job.execution), "versions": versions(), "sweep": job.sweep, "trial_id": job.name}


def _agree(value: Any) -> Any:
    """Rank 0's value on all ranks."""
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def run_phases(
    job: Job,
    report: Callable[[dict[str, Any]], None],
    asked_to_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _: None,
    asked_to_save: Callable[[], bool] = lambda: False,
) -> None:
    """Run the job's phases in order; after the last phase of a rung, report its scores on all ranks.

    A trunk or cooldown that diverged ends the trial after its rung was reported; a target that collapsed is only noted.

    Args:
        asked_to_stop: looked at before every phase and step; the state is then saved, and this returns.
        say: gets a line for people about each phase that begins.
        asked_to_save: looked at as often; the state is then saved at once, and training continues.
    """

    def asked() -> int:
        return STOP if asked_to_stop() else SAVE if asked_to_save() else GO_ON

    with contextlib.suppress(Interrupted):
        _run_phases(job, report, StopSignal(asked), say)


def _run_phases(
    job: Job, report: Callable[[dict[str, Any]], None], stop: StopSignal, say: Callable[[str], None]
) -> None:
    torch.set_num_threads(job.execution.cpus_per_worker)
    gc.freeze()  # what the imports made stays: collecting after each phase then takes milliseconds
    store = Store(job.storage)
    pending = _agree([not store.has(spec) for spec in job.phases] if dist.get_rank() == 0 else None)
    here = replace(job.execution, num_workers=dist.get_world_size())  # of an elastic run, those there are
    ahead = itertools.compress(job.phases, pending)
    device = autotune.device_of(here)
    autotune.limit_memory(here, device)
    job = replace(job, execution=autotune.settle(replace(job, execution=here), ahead, device))
    numbers = enumerate(pending, 1)

    def breaks(spec: TrainSpec | RetrievalSpec) -> bool:
        """Run the next phase; whether nothing can be built on it."""
        if stop.stops_now():
            raise Interrupted
        number, is_new = next(numbers)
        if is_new:
            steps = f", {spec.num_steps:,} steps" if isinstance(spec, TrainSpec) else ""
            say(f"{job.name}: phase {number} of {len(pending)}: {phase_name(spec)}{steps}")
        return diverged(spec.kind, run_phase(spec, job, stop))

    for spec in job.phases.shared:
        breaks(spec)
    for index, rung in enumerate(job.phases.rungs):
        broken = any(breaks(spec) for spec in rung.phases)
        if rung.phases:
            found = None
            if dist.get_rank() == 0:
                found = rung_report(store, job.phases, index, job.select_by, job.languages)
            report(_agree(found))
        if broken:  # nothing can be built on it
            return
