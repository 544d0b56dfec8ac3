"""The card of an exported model, made from what the storage and the registry know: scores, recipes, data and licences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from xlray.config.axes import ENCODER
from xlray.data.registry import ALL_TASKS
from xlray.phases.lineage import phase_folders
from xlray.phases.spec import DataSpec, RetrievalSpec, TrainSpec, from_plain, phase_name
from xlray.phases.store import Store
from xlray.plan.definition import encoders_of
from xlray.plan.jobs import Job
from xlray.storage.sweep_folder import SweepFolder, languages_of, read_definition
from xlray.tasks.languages import language_names
from xlray.tasks.task import Task

PIPELINES = {
    "tagging": ("token-classification", "AutoModelForTokenClassification"),
    "span_qa": ("question-answering", "AutoModelForQuestionAnswering"),
    "classification": ("text-classification", "AutoModelForSequenceClassification"),
    "regression": ("text-classification", "AutoModelForSequenceClassification"),
    "multiple_choice": ("multiple-choice", "AutoModelForMultipleChoice"),
    "retrieval": ("feature-extraction", "AutoModel"),
}
READS = {
    "tagging": "The tag of a word is that of its first token. Sentences longer than {length} tokens were read in windows.",
    "span_qa": "Inputs are question and passage in windows of {length} tokens, {stride} apart; the best span of at most 30 "
    "tokens over all windows is the answer, widened to whole characters with their marks; the first token is never one.",
    "classification": "Texts longer than {length} tokens were cut.",
    "regression": "The output is a score between {low:g} and {high:g}. Texts longer than {length} tokens were cut.",
    "multiple_choice": "Inputs are context (or question) and, for each choice, question and choice; {length} tokens at most.",
    "retrieval": "Sentences are compared by the cosine of the mean of one hidden layer's states (`output_hidden_states`), "
    "{layer}.",
}


@dataclass(frozen=True)
class Facts:
    """What a card says.

    Attributes:
        definition: the sweep's, as `sweep.json` holds it; of encoders that vary, with that of the trial.
        phases: those that the model descends from, first to last.
        target: the last phase, or None for the encoder alone.
        scores: rows of the target's open scores.
        gap: the largest difference of a score between the training that made the weights and the stored one.
    """

    definition: dict[str, Any]
    job: Job
    rung: int
    phases: tuple[TrainSpec, ...]
    target: TrainSpec | RetrievalSpec | None
    scores: tuple[dict[str, Any], ...]
    gap: float | None = None


def read_facts(
    directory: SweepFolder, job: Job, rung_index: int, spec: TrainSpec | RetrievalSpec, fine_tuned: bool
) -> Facts:
    """Gather what the card of a trial's model says.

    Args:
        spec: a target phase of that rung.
        fine_tuned: the model is the target's; otherwise the encoder that the target starts from.
    """
    folders = {name.rpartition("-")[2]: folder for name, folder in phase_folders(directory.storage).items()}
    phases: list[TrainSpec] = [spec] if isinstance(spec, TrainSpec) and fine_tuned else []
    parent = spec.parent
    while parent in folders:
        before = from_plain(json.loads((folders.pop(parent) / "spec.json").read_text()))
        if not isinstance(before, TrainSpec):
            break
        phases.insert(0, before)
        parent = before.parent
    scores = pq.read_table(Store(directory.storage).open(spec, "scores.parquet")).to_pylist() if fine_tuned else []
    definition = _with_own_encoder(read_definition(directory.path), directory, job.name)
    rung = job.phases.rungs[rung_index].num_examples
    return Facts(definition, job, rung, tuple(phases), spec if fine_tuned else None, tuple(scores))


def _with_own_encoder(definition: Mapping[str, Any], directory: SweepFolder, trial_id: str) -> dict[str, Any]:
    """The definition with the encoder of one trial, which its journal names where encoders vary."""
    created = (e for e in directory.journal.read() if e["event"] == "created" and e["trial_id"] == trial_id)
    name = next((e["values"][ENCODER] for e in created if ENCODER in e.get("values", {})), None)
    own = [encoder for encoder in encoders_of(definition) if encoder.get("name") == name] if name else []
    return {**definition, ENCODER: own[0]} if own else dict(definition)


def model_card(facts: Facts) -> str:
    """The whole README.md."""
    parts = [_front_matter(facts), _title(facts), _use(facts), _scores(facts), _training(facts), _data(facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _language(facts: Facts) -> str:
    """The language that the sweep is evaluated in."""
    return languages_of(facts.definition)[0]


def _kind(facts: Facts) -> str:
    return facts.target.data[0].kind if isinstance(facts.target, TrainSpec) else "retrieval"


def _encoder(facts: Facts) -> tuple[str, str]:
    """(Name of the encoder it began with, the Hub's id or "")."""
    encoder = facts.definition["encoder"]
    if encoder["type"] != "Encoder":
        return "an encoder pre-trained by the sweep itself", ""
    hub = encoder["path"] if encoder["revision"] else ""
    return (f"{encoder['path']}@{encoder['revision']}", hub) if hub else (Path(encoder["path"]).name, "")


def _used_tasks(facts: Facts) -> dict[str, DataSpec]:
    """Labelled training data of the model by task: the intermediate tasks, then the target."""
    return {data.task: data for spec in facts.phases if spec.kind != "pretrain" for data in spec.data}


def _front_matter(facts: Facts) -> str:
    languages = {data.split.split("/")[1] for data in _used_tasks(facts).values()} | {_language(facts)}
    lines = ["library_name: transformers", f"pipeline_tag: {PIPELINES[_kind(facts)][0]}", "license: other"]
    lines += ["language:", *(f"- {code}" for code in sorted(languages - {"mul"}))]
    hub = _encoder(facts)[1]
    lines += [f"base_model: {hub}"] if hub else []
    return "\n".join(["---", *lines, "tags:", "- xlray", "- zero-shot-transfer", "---"])


def _title(facts: Facts) -> str:
    name = facts.target.evaluations[0].data.task if facts.target is not None else "encoder"
    tasks = [d.task for s in facts.phases if s.kind == "trunk" for d in s.data]
    number = len(dict.fromkeys(tasks))
    trained = f" after {number} intermediate task{'s' if number > 1 else ''}" if number else ""
    then = ", fine-tuned in English" if isinstance(facts.target, TrainSpec) else ""
    last = phase_name(facts.phases[-1]) if facts.phases else "the encoder as it was"
    return (
        f"# {name}: {_encoder(facts)[0]}{trained}{then}\n\n"
        f"Made by trial `{facts.job.name}` of the sweep `{facts.job.sweep}` at {facts.rung:,} intermediate examples "
        f"(phase `{last}`). {facts.definition.get('question', '')}".rstrip()
    )


def _use(facts: Facts) -> str:
    kind, target = _kind(facts), facts.target
    data = target.data[0] if isinstance(target, TrainSpec) else None
    layer = "layer 14 of 24, 7 of 12 and in proportion for other depths, 0 being the embedding"
    if isinstance(target, RetrievalSpec) and target.layer is not None:
        layer = f"layer {target.layer}"
    low, high = data.scale if data is not None else (0.0, 1.0)
    sizes = {"length": data.max_length, "stride": data.stride} if data is not None else {"length": 0, "stride": 0}
    reads = READS[kind].format(layer=layer, low=low, high=high, **sizes)
    auto = PIPELINES[kind][1]
    return (
        f"## Use\n\n```python\nfrom transformers import AutoTokenizer, {auto}\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained(FOLDER)\nmodel = {auto}.from_pretrained(FOLDER)\n```\n\n{reads}"
    )


def _scores(facts: Facts) -> str:
    if facts.target is None:
        return ""
    shown = [r for r in facts.scores if r["metric"] not in ("headline",)]
    rows = [
        f"| {r['language']} {r['split']} | {r['metric']} | {r['value']:.2f} | {r['num_eval_examples']:,} |"
        for r in shown
    ]
    text = "## Scores\n\nIn percent, on dev sets; test sets stay sealed. `majority` is what always giving the most frequent "
    text += "training answer (for retrieval, chance) would score.\n\n| set | metric | value | examples |\n|---|---|---|---|\n"
    text += "\n".join(rows)
    if facts.gap is not None:
        text += "\n\nSweeps keep the scores of targets and not their weights: these were trained again from the same spec, and "
        text += "score exactly the same." if facts.gap == 0 else f"their scores differ by {facts.gap:.3g} at most."
    return text


def _training(facts: Facts) -> str:
    if not facts.phases:
        return ""
    rows = [
        f"| {s.kind} | {len(s.data)} | {s.num_examples:,} | {s.batch_size} | {s.learning_rate:g} | {s.schedule} | {s.seed} |"
        for s in facts.phases
    ]
    head = "| phase | tasks | examples seen | batch | learning rate | schedule | seed |\n|---|---|---|---|---|---|---|"
    last, others = facts.phases[-1], [code for code in languages_of(facts.definition) if code != "fi"]
    unseen = f"Finnish label{f' and none in {language_names(others)}' if others else ''}"
    return (
        f"## Training\n\n{head}\n" + "\n".join(rows) + f"\n\nAdamW, {last.precision}, hidden dropout {last.dropout:g}, "
        f"clipping at {last.clip_norm:g}. No {unseen} was trained on; the weights are fp32."
    )


def _data(facts: Facts) -> str:
    used = _used_tasks(facts)
    if not used:
        return ""
    rows = []
    for name, data in used.items():
        task: Task | None = ALL_TASKS.get(name)
        known = (
            (task.licence or "not stated", task.citation or "") if task is not None else ("the sweep's own task", "")
        )
        rows.append(f"| {name} | {data.split.split('/')[1]} | {data.num_records:,} | {known[0]} | {known[1]} |")
    head = "| task | language | examples | licence | source |\n|---|---|---|---|---|"
    return f"## Data\n\nEach set has a licence of its own, and so has the encoder.\n\n{head}\n" + "\n".join(rows)
