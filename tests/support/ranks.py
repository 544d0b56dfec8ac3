"""Groups of gloo ranks that run a job: processes are forked from one that has imported everything, since that costs most."""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import time
import warnings
from collections.abc import Iterable
from multiprocessing import connection, forkserver
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist

from xlray.plan.jobs import Job
from xlray.training import engine, packing, prefetch
from xlray.training import train as train_loop
from xlray.training.train import run_phases

engine.import_deepspeed(torch.device("cpu"))
WITHIN_S = 600  # a bound on hanging, not a measurement


@functools.cache
def context() -> multiprocessing.context.ForkServerContext:
    """Makes processes from one that has imported all this; its modules are found as this process finds them."""
    found = multiprocessing.get_context("forkserver")
    here = Path(__file__)
    paths = [str(here.parent), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
    found.set_forkserver_preload([__name__, "pytest", "engine_steps"])
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(paths), OMP_NUM_THREADS="1"):
        forkserver.ensure_running()
    return found


def run_group(num_ranks: int, work, *given) -> None:
    """Run `work(rank, num_ranks, *given)` in so many processes; an error of one is an error here."""
    run_groups((num_ranks,), work, *given)


def run_groups(sizes: Iterable[int], work, *given) -> None:
    """Run `work(rank, size, *given)` of several groups at one time."""
    made = [context().Process(target=_run, args=(work, rank, size, *given)) for size in sizes for rank in range(size)]
    until = time.monotonic() + WITHIN_S
    for process in made:
        process.start()
    try:
        while (alive := [process for process in made if process.is_alive()]) and time.monotonic() < until:
            assert not any(process.exitcode for process in made), [process.exitcode for process in made]
            connection.wait([process.sentinel for process in alive], timeout=1)
        assert [process.exitcode for process in made] == [0] * len(made)
    finally:
        for process in made:
            process.kill()


def _run(work, *given) -> None:
    gc.freeze()  # the end of an engine collects garbage, which took most of its time among all that is imported
    work(*given)


def train(rank: int, num_ranks: int, jobs: list[tuple[Job, int | None]], meeting: Path) -> None:
    """What a rank does: run jobs one after the other, each to its end or until so many of its steps are done.

    Leaves in `meeting`, a folder, the numbers of examples that it had in each step, and the states that it saved.
    """
    warnings.filterwarnings("ignore")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(num_ranks), LOCAL_RANK=str(rank))
    dist.init_process_group("gloo", init_method=f"file://{meeting}/init", rank=rank, world_size=num_ranks)
    step, pack, save, seen, saved = engine.train_step, prefetch.pack_step, train_loop._save, [], []

    def counted(*given):
        _, examples, rows, _, budget, rank, num_ranks = given
        lengths = np.array([examples[row.task].row_tokens[row.row] for row in rows])
        seen.append(sum(len(batch) for batch in packing.plan_step(lengths, num_ranks, budget)[rank]))
        return pack(*given)

    def named(*given):
        saved.append(given[1].name)
        return save(*given)

    def run(job, most):
        done = []

        def stepped(*given):
            if given[2] > 0:  # not the one that makes room for moments
                done.append(1)
            return step(*given)

        with (
            mock.patch.object(engine, "train_step", stepped),
            mock.patch.object(train_loop, "pack_step", counted),
            mock.patch.object(train_loop, "_save", named),
        ):
            run_phases(job, lambda _: None, lambda: most is not None and len(done) >= most)

    for job, most in jobs:
        run(job, most)
    (meeting / f"seen-{rank}").write_text(" ".join(map(str, seen)))
    (meeting / f"saved-{rank}").write_text(" ".join(saved))
    dist.destroy_process_group()
