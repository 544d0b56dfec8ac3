"""An embedded world: scenes drawn from a seed and told in six languages, on which everything runs in minutes.

The languages share almost no words, so that what a model learns in English reaches Finnish only through what its
pre-training on translations taught it.
"""

from xlray.mini.intermediate import INTERMEDIATE_TASKS
from xlray.mini.recipes import ENCODER, INTERMEDIATE, PRETRAINED, TARGETS
from xlray.mini.tasks import TARGET_TASKS, TEXT
from xlray.tasks.task import Task

__all__ = ["ENCODER", "INTERMEDIATE", "MINI_TASKS", "PRETRAINED", "TARGETS"]

MINI_TASKS: dict[str, Task] = {task.name: task for task in (TEXT, *TARGET_TASKS, *INTERMEDIATE_TASKS)}
