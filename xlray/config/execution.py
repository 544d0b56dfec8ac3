"""How to run: processes, devices, memory, budgets. Changes results by floating-point rounding at most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from xlray.canonical import require_numbers
from xlray.errors import require

GRAINS = 10_000  # parts of a GPU that Ray counts


@dataclass(frozen=True)
class Execution:
    """How to run; changes results by floating-point rounding at most.

    Attributes:
        num_workers: processes per trial; `(least, most)` lets a trial run on what a cluster that shrinks and grows has room
            for. It is then restarted from its last state with another number, the same run up to rounding.
        cpus_per_worker: CPU cores (and threads of torch) per worker.
        gpus_per_worker: 0 runs on CPU with gloo, 1 on a GPU with NCCL; a worker drives one device. A fraction lets several
            trials of one worker share each GPU: four at 0.25.
        trials_per_gpu: trials that share each GPU, instead of a fraction; "auto" takes as many as are predicted to fit
            its memory, at most 8. On a CPU it says nothing.
        zero_stage: DeepSpeed ZeRO stage 0 to 3; bf16 needs at least 1. "auto" takes the cheapest that fits the device: in
            fp32 0, where one worker copies nothing that it would share with others.
        offload: optimizer state on the CPU (stages 1 to 3).
        micro_batch_tokens: token budget of one forward and backward per worker. "auto" finds the largest that fits a GPU,
            or the fastest on a CPU, by a short trial before training, and remembers it in the storage.
        activation_checkpointing: recompute activations in the backward pass. "auto" does so only where it must to fit.
        checkpoint_every_s: seconds between two saved states of an unfinished phase.
        checkpoint_every_steps: steps between them instead; None goes by the clock.
        max_concurrent_trials: trials that run at one time; None takes as many as the cluster has devices for.
        max_failures: times a trial is restarted after a process died, before it counts as failed. A node that was
            lost and memory that ran out are counted apart, an exception in its code is not retried.
        time_budget_s: after that many seconds a run stops gently, as after Ctrl-C; for machines that are lent by the hour.
    """

    num_workers: int | tuple[int, int] = 1
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0
    trials_per_gpu: int | Literal["auto"] = 1
    zero_stage: int | Literal["auto"] = 1
    offload: bool = False
    micro_batch_tokens: int | Literal["auto"] = 8_192
    activation_checkpointing: bool | Literal["auto"] = False
    checkpoint_every_s: float = 300.0
    checkpoint_every_steps: int | None = None
    max_concurrent_trials: int | None = None
    max_failures: int = 3
    time_budget_s: float | None = None

    def __post_init__(self) -> None:
        self._require_workers()
        self._require_number("cpus_per_worker", 1)
        for name in ("checkpoint_every_steps", "max_concurrent_trials"):
            if getattr(self, name) is not None:
                self._require_number(name, 1, " or None")
        self._require_number("max_failures", 0)
        self._require_seconds("checkpoint_every_s", "")
        if self.time_budget_s is not None:
            self._require_seconds("time_budget_s", ", or None")
        self._require_gpus()
        self._require_one_of("zero_stage", (0, 1, 2, 3, "auto"))
        self._require_one_of("offload", (False, True))
        self._require_one_of("activation_checkpointing", (False, True, "auto"))
        if self.micro_batch_tokens != "auto":
            self._require_number("micro_batch_tokens", 1, ' or "auto"')
        require(not self.offload or self.zero_stage != 0, "offload needs zero_stage >= 1", 0, "Execution")

    @property
    def min_workers(self) -> int:
        """The fewest processes that a trial runs with."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """The processes of a trial where there is room."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def device_share(self) -> float:
        """Devices that a worker takes: less than one where trials share a GPU. `trials_per_gpu` must be a number by now."""
        return self.gpus_per_worker / int(self.trials_per_gpu) if self.gpus_per_worker else 1.0

    @property
    def gpu_share(self) -> float:
        """GPUs that a worker asks of Ray, in whole ten-thousandths: three at 0.3333 fit on one, at 0.3334 two."""
        return math.floor(GRAINS * self.device_share + 1e-6) / GRAINS if self.gpus_per_worker else 0.0

    @property
    def workers_per_device(self) -> int:
        """Workers that share a device."""
        return GRAINS // round(GRAINS * self.gpu_share) if self.gpus_per_worker else 1

    def _require_gpus(self) -> None:
        gpus: Any = self.gpus_per_worker
        valid = type(gpus) in (int, float) and (gpus in (0, 1) or 1 / GRAINS <= gpus < 1)
        require(valid, f"gpus_per_worker = 0, 1 or a fraction of at least {1 / GRAINS:g}", gpus, "Execution")
        if self.trials_per_gpu != "auto":
            self._require_number("trials_per_gpu", 1, ' or "auto"')
            require(self.trials_per_gpu <= GRAINS, f"trials_per_gpu <= {GRAINS:,}", self.trials_per_gpu, "Execution")
        whole = gpus in (0, 1) or self.trials_per_gpu == 1
        require(whole, "gpus_per_worker = 1, which trials_per_gpu divides,", gpus, "Execution")
        shared = 0 < gpus < 1 or (gpus and self.trials_per_gpu != 1)
        law = "num_workers = 1 where trials share a GPU (NCCL refuses two ranks of one trial on one GPU)"
        require(not shared or self.max_workers == 1, law, self.num_workers, "Execution")

    def _require_workers(self) -> None:
        if isinstance(self.num_workers, list):  # a pair that was stored as JSON or given with --set
            object.__setattr__(self, "num_workers", tuple(self.num_workers))
        if not isinstance(self.num_workers, tuple):
            return self._require_number("num_workers", 1, " or (least, most)")
        pair = self.num_workers
        valid = len(pair) == 2 and all(type(number) is int for number in pair) and 1 <= pair[0] <= pair[1]
        require(valid, "num_workers = (least, most), whole numbers with 1 <= least <= most", pair, "Execution")

    def _require_number(self, name: str, least: int, otherwise: str = "") -> None:
        value = getattr(self, name)
        valid = type(value) is int and value >= least  # True is an int to isinstance
        require(valid, f"{name} >= {least}, a whole number{otherwise}", value, "Execution")
        require_numbers(value, name, "Execution")

    def _require_seconds(self, name: str, otherwise: str) -> None:
        value: Any = getattr(self, name)
        valid = type(value) in (int, float) and 0 < value < math.inf
        require(valid, f"{name} > 0, a finite number of seconds{otherwise}", value, "Execution")

    def _require_one_of(self, name: str, allowed: tuple[Any, ...]) -> None:
        value = getattr(self, name)
        valid = any(type(value) is type(item) and value == item for item in allowed)
        require(valid, f"{name} in {allowed}", value, "Execution")
