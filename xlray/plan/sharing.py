"""How many trials share a GPU, and how much of its memory each of them may take. Standard library only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace

from xlray.config.execution import Execution
from xlray.errors import InputError
from xlray.phases.spec import TrainSpec
from xlray.plan.memory import ENOUGH_TOKENS, GIB, USABLE, ModelShape, choose, predict
from xlray.plan.trials import SweepPlan

# What each process takes of a GPU beside torch's allocator: CUDA's context and the code of its kernels. An assumption.
PROCESS_BYTES = 3 * GIB // 4
MOST_PER_GPU = 8  # that "auto" takes: each is a process with a core and some gigabytes of the host's memory
ASSUMED_GPU_BYTES = 80 * GIB  # where a plan is made without a GPU
SMI_TIMEOUT_S = 30


def gpu_bytes() -> int | None:
    """Memory of the smallest GPU of this machine as its driver says; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SMI_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    sizes = [int(line) for line in told.stdout.split() if line.isdigit()]  # MiB
    return min(sizes) * 2**20 if told.returncode == 0 and sizes else None


def plan_shape(plan: SweepPlan) -> ModelShape:
    """What decides the memory of a plan's phases: that of the widest of them, of the widest encoder."""
    training = [spec for spec in plan.specs_by_encoder()[plan.widest].values() if isinstance(spec, TrainSpec)]
    return ModelShape(
        plan.starts[plan.widest].architecture, any(data.kind == "mlm" for spec in training for data in spec.data)
    )


def with_sharing(plan: SweepPlan, device_bytes: Callable[[], int]) -> SweepPlan:
    """The plan with `trials_per_gpu` made the fraction of a GPU that each worker takes.

    Args:
        device_bytes: says the memory of the smallest GPU; asked under "auto" alone.
    """
    execution = plan.sweep.execution
    if execution.trials_per_gpu == 1:
        return plan
    number = execution.trials_per_gpu if execution.gpus_per_worker else 1
    if number == "auto":
        alone = replace(execution, trials_per_gpu=1)
        number = trials_that_fit(plan_shape(plan), plan.sweep.precision, alone, device_bytes())
    share = execution.gpus_per_worker if number == 1 else 1 / number
    settled = replace(execution, gpus_per_worker=share, trials_per_gpu=1)
    return replace(plan, sweep=replace(plan.sweep, execution=settled))


def trials_that_fit(shape: ModelShape, precision: str, execution: Execution, device_bytes: int) -> int:
    """Trials whose predicted memory fits a GPU together, 1 to `MOST_PER_GPU`.

    Args:
        execution: with the memory of which a trial would run that has the GPU for itself.
    """
    each = predicted_bytes(shape, precision, execution, device_bytes) / USABLE + PROCESS_BYTES
    return max(1, min(MOST_PER_GPU, int(device_bytes / each)))


def predicted_bytes(shape: ModelShape, precision: str, execution: Execution, device_bytes: int) -> int:
    """Predicted memory of a worker on a device with so much; a token budget that is to be found counts as `ENOUGH_TOKENS`.

    Raises:
        InputError: nothing that the execution allows fits.
    """
    tokens = ENOUGH_TOKENS if execution.micro_batch_tokens == "auto" else int(execution.micro_batch_tokens)
    chosen = choose(shape, precision, execution, device_bytes, 2**62, min(tokens, ENOUGH_TOKENS))
    return predict(shape, precision, chosen, tokens).device


def limit_bytes(execution: Execution, device_bytes: int) -> int:
    """What torch's allocator may take of a GPU in a worker: its share, less what the process takes beside it.

    Raises:
        InputError: nothing is left.
    """
    left = int(execution.device_share * device_bytes) - PROCESS_BYTES
    if left <= 0:
        raise InputError(
            f"Execution: `gpus_per_worker * {device_bytes / GIB:.1f} GiB > {PROCESS_BYTES / GIB:g} GiB, which each process "
            f"takes beside its tensors` must hold, but got {execution.device_share:g}."
        )
    return left
