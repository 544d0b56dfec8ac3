"""GLUE and SuperGLUE: where their sets are on the Hub, and their own files."""

from __future__ import annotations

from functools import partial

from xlray.tasks.readers import json_lines, table
from xlray.tasks.shapes import told
from xlray.tasks.task import Files, Shape

GLUE = "nyu-mll/glue"
GLUE_COMMIT = "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
SUPER_GLUE = "aps/super_glue"
SUPER_GLUE_COMMIT = "3de24cf8022e94f4ee4b9d55a6f539891524d646"


def glue(folder: str, shape: Shape, header: tuple[str, ...], dev: str = "dev.tsv") -> Files:
    """GLUE's `train.tsv` and `dev.tsv`, with a header and without quoting."""
    return Files(folder, {"train/en": ("train.tsv",), "dev/en": (dev,)}, partial(table, shape=shape, header=header))


def super_glue(folder: str, shape: Shape, truth: bool = False) -> Files:
    """SuperGLUE's `train.jsonl` and `val.jsonl`; with `truth` their labels are `true` and `false`."""
    read = partial(json_lines, shape=partial(told, shape=shape) if truth else shape)
    return Files(folder, {"train/en": ("train.jsonl",), "dev/en": ("val.jsonl",)}, read)
