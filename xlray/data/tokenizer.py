"""The tokenizer phase: a Unigram tokenizer in XLM-R's form, trained on the text of masked-LM tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from xlray.phases.spec import TokenizerSpec, phase_hash
from xlray.phases.store import Store
from xlray.storage.leases import Leases, turn
from xlray.tasks.task import Record

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # ids 0 to 4; XLM-R has the first four in this order

_NAMES = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


def tokenizer_phase(spec: TokenizerSpec, store: Store, records: Iterable[Record], sweep: str, leases: Leases) -> Path:
    """Train the tokenizer unless it is stored; what another process trains already is waited for.

    Returns:
        The path of `tokenizer.json`.
    """
    with turn(leases, f"phase-{phase_hash(spec)}", lambda: store.has(spec)) as mine:
        if mine:
            _train(spec, store, records, sweep)
    return store.open(spec, "weights/tokenizer.json")


def _train(spec: TokenizerSpec, store: Store, records: Iterable[Record], sweep: str) -> None:
    store.begin(spec)
    with store.staging(spec) as staged:
        (staged / "weights").mkdir()
        train_tokenizer(records, spec.vocab_size).save(str(staged / "weights" / "tokenizer.json"))
        _write_config(staged / "weights" / "tokenizer_config.json")
        record = {
            "num_steps": 0,
            "num_executed_steps": 0,
            "num_repeated_steps": 0,
            "num_tokens": 0,
            "device_seconds": 0.0,
            "degenerate": None,
            "sweep": sweep,
            "trial_id": "",
        }
        store.commit(spec, staged, record)


def train_tokenizer(records: Iterable[Record], vocab_size: int) -> Tokenizer:
    """A Unigram tokenizer (Kudo 2018) with XLM-R's normaliser, pre-tokenizer and template."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
    )
    texts = (text for r in records for text in (r["text"], r.get("text_pair")) if text)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.model = models.Unigram(_canonical(tokenizer), unk_id=SPECIAL.index("<unk>"))
    tokenizer.post_processor = _template(tokenizer)
    return tokenizer


def export_tokenizer(source: Path, folder: Path, max_length: int) -> None:
    """Write tokenizer files from which transformers' `AutoTokenizer` makes the ids that xlray's rows are made of.

    The class is the one that takes tokenizer.json as it is: transformers' own class for XLM-R puts another normaliser and
    pre-tokenizer in its place.

    Args:
        source: a tokenizer.json.
    """
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.post_processor = _template(tokenizer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_length, **_NAMES}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def _template(tokenizer: Tokenizer) -> processors.TemplateProcessing:
    ids = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    return processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids)


def _canonical(tokenizer: Tokenizer) -> list[tuple[str, float]]:
    """The trained pieces with scores that do not depend on the trainer's hash order, which differs between runs.

    The trainer gives single characters that it kept only for coverage scores just above the lowest, in that order; they
    all get the lowest here. Scores are rounded, and pieces sorted by score and text.
    """
    vocab = [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]
    special, pieces = vocab[: len(SPECIAL)], vocab[len(SPECIAL) :]
    lowest = min(score for _, score in pieces)
    ceiling = lowest + 1e-4 * sum(len(piece) == 1 for piece, _ in pieces) + 1e-9
    flat = [(p, round(lowest if len(p) == 1 and score < ceiling else score, 6)) for p, score in pieces]
    return special + sorted(flat, key=lambda item: (-item[1], item[0]))


def _write_config(path: Path) -> None:
    path.write_text(json.dumps({"tokenizer_class": "XLMRobertaTokenizer", **_NAMES}, indent=1))
