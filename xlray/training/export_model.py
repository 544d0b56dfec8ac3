"""A trial's model as a folder for transformers' `from_pretrained`, with a model card made from the data.

The weights of targets are not kept, only their scores: a target phase is a pure function of its spec, so it is run again.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from xlray.data.tokenizer import export_tokenizer
from xlray.errors import InputError, nearest
from xlray.phases.spec import DataSpec, RetrievalSpec, TrainSpec, phase_name
from xlray.phases.store import Store
from xlray.plan.jobs import Job, read_job
from xlray.plan.rung_report import check_measured
from xlray.storage.standings import Standing, standings
from xlray.storage.sweep_folder import SweepFolder
from xlray.training.model_card import model_card, read_facts
from xlray.training.rerun import Comparison, check_inputs, compare, rerun
from xlray.training.weights import HEADS_FILE, weights_folder

Array = np.ndarray[Any, Any]

# transformers' heads for classification and multiple choice put a layer with tanh before the last one. Where its weight
# is this small a multiple of the identity, tanh is the identity to 1e-5 for states up to 20, and the last layer undoes the
# factor; a power of two costs no rounding.
SMALL = 2.0**-12
ARCHITECTURES = {
    "tagging": "XLMRobertaForTokenClassification",
    "span_qa": "XLMRobertaForQuestionAnswering",
    "classification": "XLMRobertaForSequenceClassification",
    "regression": "XLMRobertaForSequenceClassification",
    "multiple_choice": "XLMRobertaForMultipleChoice",
    "retrieval": "XLMRobertaModel",
}


@dataclass(frozen=True)
class Chosen:
    """What is exported.

    Attributes:
        rung_index: of the rung whose encoder it is.
        spec: the target phase; of retrieval, or without a target, the encoder that it starts from is exported.
    """

    job: Job
    rung_index: int
    spec: TrainSpec | RetrievalSpec

    @property
    def rung(self) -> int:
        """Examples seen by the trunk."""
        return self.job.phases.rungs[self.rung_index].num_examples


def choose(directory: SweepFolder, trial_id: str, target: str | None, rung: int | None) -> Chosen:
    """The target phase of a trial at a rung that is finished.

    Args:
        directory: of the sweep.
        target: None takes the encoder alone, which any target phase of the rung starts from.
        rung: examples; None takes the last finished one.

    Raises:
        InputError: no such target or rung, or none that is finished and not degenerate.
    """
    path = directory / f"jobs/{trial_id}.json"
    if not path.is_file():
        raise InputError(f"{directory.name}: trial {trial_id} has not been started, so there is nothing to export.")
    job = read_job(path)
    standing = standings(directory.journal.read()).trials.get(trial_id, Standing())
    check_measured(job.phases, standing.current, f"{directory.name}: trial {trial_id}")
    store = Store(directory.storage)
    found: dict[str, dict[int, TrainSpec | RetrievalSpec]] = {}
    for index, here in enumerate(job.phases.rungs):
        for spec in here.targets:
            found.setdefault(spec.evaluations[0].data.task, {})[index] = spec
    if target is not None and target not in found:
        raise InputError(
            f"--target {target}: must be a target of the sweep ({', '.join(found)}).{nearest(target, list(found))}"
        )
    specs = found[target] if target is not None else next(iter(found.values()))
    finished = {index: spec for index, spec in specs.items() if store.has(spec)}
    sizes = [here.num_examples for here in job.phases.rungs]
    wanted = [i for i in finished if rung is None or sizes[i] == rung]
    if not wanted:
        has = ", ".join(str(sizes[i]) for i in finished) or "none"
        which = "a rung" if rung is None else f"rung {rung}"
        raise InputError(
            f"{directory.name}: {which} of trial {trial_id} must be finished, but the finished ones are {has}."
        )
    return Chosen(job, max(wanted), finished[max(wanted)])


def write_model(folder: Path, weights: Path, tokenizer: Path, data: DataSpec) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer's files.

    Args:
        weights: folder with an encoder in XLM-R's layout and, but for retrieval, the heads of one task.
        tokenizer: the tokenizer.json.
        data: the target's English training data, or what a retrieval target is evaluated on.
    """
    folder.mkdir(parents=True)
    tensors = {n: v for n, v in load_file(weights / "model.safetensors").items() if not n.startswith("lm_head.")}
    if data.kind == "retrieval":
        tensors = {name.removeprefix("roberta."): value for name, value in tensors.items()}
        tensors = {n: v for n, v in tensors.items() if not n.startswith("pooler.") and not n.endswith("position_ids")}
    else:
        tensors |= head_tensors(load_file(weights / HEADS_FILE), data)
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((weights / "config.json").read_text())
    config |= {"architectures": [ARCHITECTURES[data.kind]], "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config | _labels(data), indent=2, ensure_ascii=False))
    export_tokenizer(tokenizer, folder, data.max_length)


def _labels(data: DataSpec) -> dict[str, Any]:
    if data.kind == "regression":
        return {"problem_type": "regression", "id2label": {"0": "score"}, "label2id": {"score": 0}}
    if data.kind not in ("tagging", "classification"):
        return {}
    kinds = {"problem_type": "single_label_classification"} if data.kind == "classification" else {}
    names = {"id2label": {str(i): name for i, name in enumerate(data.labels)}}
    return {**kinds, **names, "label2id": {name: i for i, name in enumerate(data.labels)}}


def head_tensors(heads: Mapping[str, Array], data: DataSpec) -> dict[str, Array]:
    """xlray's linear head under the names of transformers' model for the kind of task.

    Args:
        heads: `weight` `[outputs, hidden]` and `bias` `[outputs]`.
    """
    weight, bias = heads["weight"], heads["bias"]
    if data.kind == "regression":  # into the task's own scale
        low, high = data.scale
        weight, bias = weight * np.float32(high - low), bias * np.float32(high - low) + np.float32(low)
    if data.kind == "tagging":
        return {"classifier.weight": weight, "classifier.bias": bias}
    if data.kind == "span_qa":
        return {"qa_outputs.weight": weight, "qa_outputs.bias": bias}
    hidden = weight.shape[1]
    identity = (np.eye(hidden) * SMALL).astype(np.float32), np.zeros(hidden, dtype=np.float32)
    before, last = ("roberta.pooler.dense", "classifier")
    if data.kind != "multiple_choice":
        before, last = "classifier.dense", "classifier.out_proj"
    undone = (weight / np.float32(SMALL)).astype(np.float32)
    return {
        f"{before}.weight": identity[0],
        f"{before}.bias": identity[1],
        f"{last}.weight": undone,
        f"{last}.bias": bias,
    }


def export_model(
    directory: SweepFolder, trial_id: str, target: str | None, rung: int | None, out: Path | None
) -> dict[str, Any]:
    """Write a trial's model and its card; a target is trained again for it, in this process.

    Args:
        directory: of the sweep.
        out: a folder that is not there yet; None writes below `<directory>/models/`, over an earlier export.

    Returns:
        `{sweep, trial_id, target, rung, phase, out, architecture, comparisons}`; a comparison is `{name, stored, rerun}`.

    Raises:
        InputError: nothing to export, or `out` is there.
    """
    chosen = choose(directory, trial_id, target, rung)
    name = f"{trial_id}-{target or 'encoder'}-{chosen.rung}"
    if out is not None and out.exists():
        raise InputError(f"--out {out}: must be a folder that is not there yet, but it is.")
    place = (out or directory / "models" / name).absolute()
    staging = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    spec = chosen.spec
    comparisons: list[Comparison] = []
    try:
        if target is None or isinstance(spec, RetrievalSpec):
            check_inputs(spec, chosen.job)
            encoder = weights_folder(Path(chosen.job.parents[spec.parent]))
            data = replace(spec.evaluations[0].data, kind="retrieval")
            write_model(staging, encoder, encoder / "tokenizer.json", data)
        else:
            with rerun(spec, chosen.job, keep_targets=True) as folder:
                comparisons = compare(directory.storage, spec, folder)
                if not (folder / "weights" / HEADS_FILE).is_file():
                    raise InputError(f"{phase_name(spec)}: diverged in training, so there is no model to export.")
                write_model(staging, folder / "weights", folder / "weights" / "tokenizer.json", spec.data[0])
        facts = read_facts(directory, chosen.job, chosen.rung_index, spec, target is not None)
        gap = max((one.difference for one in comparisons), default=None)
        (staging / "README.md").write_text(model_card(replace(facts, gap=gap)))
        if place.exists():
            shutil.rmtree(place)
        staging.rename(place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    kind = "retrieval" if target is None or isinstance(spec, RetrievalSpec) else spec.data[0].kind
    return {
        "sweep": directory.name,
        "trial_id": trial_id,
        "target": target,
        "rung": chosen.rung,
        "phase": phase_name(spec),
        "out": str(place),
        "architecture": ARCHITECTURES[kind],
        "comparisons": [vars(one) for one in comparisons],
    }
