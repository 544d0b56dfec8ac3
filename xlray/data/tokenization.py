"""Examples as token ids: records -> Arrow files, memory-mapped by every worker.

One row is what the model sees at once: a sentence or pair, all choices of a multiple-choice example, one window of a long
context or sentence. `reads` are the tokens whose states the head reads.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from xlray.data.examples import Examples
from xlray.data.graphemes import widened
from xlray.errors import InputError
from xlray.phases.spec import DataSpec, data_name
from xlray.storage.files import atomic_folder, file_digest, read_json, write_atomically
from xlray.storage.storage import Storage
from xlray.tasks.task import Record

MAX_QUESTION_TOKENS = 64  # XTREME's run_squad.py
MASKED_RATIO = 0.15  # of the tokens (Devlin et al. 2019)

BATCH_RECORDS = 1_024  # of a call of the tokenizer: enough for all its threads, few enough to be freed while cached

_LISTS = ("tokens", "lengths", "reads", "labels", "spans")  # columns of one list per row


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer in the `tokenizer.json` form and the ids of its special tokens."""

    tokenizer: Tokenizer
    cls: int
    sep: int
    mask: int
    size: int
    digest: str


def load_vocabulary(path: Path, vocab_size: int | None = None) -> Vocabulary:
    """The tokenizer of a folder.

    Args:
        vocab_size: rows of the embedding it must fit into, where there is one.

    Raises:
        InputError: no tokenizer.json, a special token is missing, or more pieces than embeddings.
    """
    if not path.exists():
        raise InputError(f"encoder folder {str(path.parent)!r} must hold tokenizer.json, but there is none.")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = {name: tokenizer.token_to_id(name) for name in ("<s>", "</s>", "<mask>", "<pad>")}
    absent = [name for name, value in ids.items() if value is None]
    size = tokenizer.get_vocab_size()
    if absent:
        raise InputError(f"{path}: the tokenizer must have {', '.join(ids)}, but lacks {', '.join(absent)}.")
    if vocab_size is not None and size > vocab_size:
        raise InputError(f"{path}: `tokenizer pieces <= embedding rows` must hold, but got {size} > {vocab_size}.")
    cls, sep, mask = (int(ids[name] or 0) for name in ("<s>", "</s>", "<mask>"))
    return Vocabulary(tokenizer, cls, sep, mask, vocab_size or size, file_digest(path))


# --- records -> rows -----------------------------------------------------------------------------------------------


@dataclass
class _Row:
    record: int
    tokens: list[int]
    lengths: list[int]
    reads: list[int]
    labels: list[Any]
    units: int = 1
    spans: tuple[int, ...] = ()
    cut: int = 0  # tokens of the record that no row holds


@dataclass(frozen=True)
class _Encoder:
    """What it takes to make rows of a split; `label_ids` by name."""

    spec: DataSpec
    vocabulary: Vocabulary
    label_ids: Mapping[str, int]


def tokenise(spec: DataSpec, records: Sequence[Record], vocabulary: Vocabulary) -> Iterator[_Row]:
    """Rows of all records, in order."""
    encoder = _Encoder(spec, vocabulary, {name: i for i, name in enumerate(spec.labels)})
    rows_of = _ROWS[spec.kind]
    for i, (record, parts) in enumerate(zip(records, _encoded(spec.kind, records, vocabulary), strict=True)):
        yield from rows_of(encoder, i, record, parts)


def _encoded(kind: str, records: Sequence[Record], vocabulary: Vocabulary) -> Iterator[list[Encoding]]:
    """The encodings of each record's parts, in order."""
    # Without the characters and words of tokens it is faster, and only these two kinds need them.
    located = kind in ("span_qa", "tagging")
    encode = vocabulary.tokenizer.encode_batch if located else vocabulary.tokenizer.encode_batch_fast
    for start in range(0, len(records), BATCH_RECORDS):
        parts = [_parts(kind, record) for record in records[start : start + BATCH_RECORDS]]
        texts = [text for of_record in parts for text in of_record]
        found = iter(encode(texts, add_special_tokens=False, is_pretokenized=kind == "tagging"))
        for of_record in parts:
            yield [next(found) for _ in of_record]


def _parts(kind: str, record: Record) -> list[Any]:
    """The texts of a record that are encoded by themselves."""
    if kind == "tagging":
        return [record["tokens"]]
    if kind == "span_qa":
        return [record["question"], record["context"]]
    if kind == "multiple_choice":
        context, question = record["context"], record["question"]
        return [context or question, *(f"{question} {c}" if context else c for c in record["choices"])]
    pair = record.get("text_pair")
    return [record["text"], pair] if pair else [record["text"]]


def _join(vocabulary: Vocabulary, a: list[int], b: list[int] | None, max_length: int) -> list[int]:
    """`<s> a </s>` or `<s> a </s></s> b </s>`, the longer part cut first."""
    special = 2 if b is None else 4
    a, b = list(a), None if b is None else list(b)
    over = len(a) + len(b or ()) + special - max_length
    if over > 0 and b is not None:
        cut = min(over, max(0, len(a) - len(b)))
        a, over = a[: len(a) - cut], over - cut
        cut = min(over, max(0, len(b) - len(a)))
        b, over = b[: len(b) - cut], over - cut
        a, b = a[: len(a) - over // 2], b[: len(b) - (over - over // 2)]
    elif over > 0:
        a = a[: len(a) - over]
    body = [vocabulary.cls, *a, vocabulary.sep]
    return body if b is None else [*body, vocabulary.sep, *b, vocabulary.sep]


def _pair(parts: Sequence[Encoding]) -> tuple[list[int], list[int] | None]:
    return parts[0].ids, (parts[1].ids if len(parts) > 1 else None)


def _missing(tokens: Sequence[int], parts: Sequence[Encoding]) -> int:
    """How many tokens of one or two parts were cut when they were joined to `tokens`."""
    return sum(len(part.ids) for part in parts) + 2 * len(parts) - len(tokens)


def _texts(encoder: _Encoder, i: int, record: Record, parts: Sequence[Encoding]) -> Iterator[_Row]:
    label, (low, high) = record.get("label"), encoder.spec.scale
    if encoder.spec.kind == "regression":
        labels = [float("nan") if label is None else (label - low) / (high - low)]
    else:
        labels = [-1 if label is None else encoder.label_ids[label]]
    tokens = _join(encoder.vocabulary, *_pair(parts), encoder.spec.max_length)
    yield _Row(i, tokens, [len(tokens)], [0], labels, cut=_missing(tokens, parts))


def _choices(encoder: _Encoder, i: int, record: Record, parts: Sequence[Encoding]) -> Iterator[_Row]:
    row = _Row(i, [], [], [], [-1 if record["label"] is None else record["label"]])
    context = parts[0].ids
    for answer in parts[1:]:
        tokens = _join(encoder.vocabulary, context, answer.ids, encoder.spec.max_length)
        row.cut += _missing(tokens, [parts[0], answer])
        row.reads.append(len(row.tokens))
        row.tokens.extend(tokens)
        row.lengths.append(len(tokens))
    yield row


def _tags(encoder: _Encoder, i: int, record: Record, parts: Sequence[Encoding]) -> Iterator[_Row]:
    """Long sentences are cut into windows at words, so that no word goes without a prediction."""
    vocabulary = encoder.vocabulary
    unknown = vocabulary.tokenizer.token_to_id("<unk>") or vocabulary.sep
    room = encoder.spec.max_length - 2
    words: list[list[int]] = [[] for _ in record["tokens"]]
    for token, word in zip(parts[0].ids, parts[0].word_ids, strict=True):
        if word is not None:
            words[word].append(token)
    tags = record.get("tags")
    cut = sum(max(0, len(pieces) - room) for pieces in words)
    body: list[int] = []
    reads: list[int] = []
    labels: list[int] = []
    for w, pieces in enumerate(words):
        kept = pieces[:room] or [unknown]  # a word that the normaliser removes still gets a prediction
        if len(body) + len(kept) > room:
            yield _window(i, body, reads, labels, vocabulary)
            body, reads, labels = [], [], []
        reads.append(1 + len(body))
        labels.append(-1 if tags is None else encoder.label_ids[tags[w]])
        body.extend(kept)
    yield _window(i, body, reads, labels, vocabulary, cut)


def _window(
    record: int, body: list[int], reads: list[int], labels: list[int], vocabulary: Vocabulary, cut: int = 0
) -> _Row:
    tokens = [vocabulary.cls, *body, vocabulary.sep]
    return _Row(record, tokens, [len(tokens)], reads, labels, units=len(labels), cut=cut)


def _answers(encoder: _Encoder, i: int, record: Record, parts: Sequence[Encoding]) -> Iterator[_Row]:
    """Windows of the context, `stride` tokens apart; a window without the answer points to its first token."""
    spec, vocabulary = encoder.spec, encoder.vocabulary
    question = parts[0].ids[:MAX_QUESTION_TOKENS]
    head = [vocabulary.cls, *question, vocabulary.sep, vocabulary.sep]
    room = spec.max_length - len(head) - 1
    if room < 1:
        raise InputError(f"{spec.task}: `max_length` must leave room for the context, but got {spec.max_length}.")
    ids, characters = parts[1].ids, widened(record["context"], parts[1].offsets)
    answer = _token_span(record, parts[1].offsets)
    start = 0
    while True:
        stop = min(start + room, len(ids))
        tokens = [*head, *ids[start:stop], vocabulary.sep]
        reads = [0, *range(len(head), len(head) + stop - start)]
        labels = [0, 0]
        if answer is not None and start <= answer[0] and answer[1] < stop:
            labels = [answer[0] - start + 1, answer[1] - start + 1]
        spans = tuple(c for pair in characters[start:stop] for c in pair)
        yield _Row(i, tokens, [len(tokens)], reads, labels, spans=spans, cut=len(parts[0].ids) - len(question))
        if stop == len(ids):
            break
        start += min(spec.stride, room)


def _token_span(record: Record, characters: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last token that overlap the first gold answer."""
    if not record["answers"]:
        return None
    first = record["answers"][0]["start"]
    last = first + len(record["answers"][0]["text"])
    inside = [t for t, (a, b) in enumerate(characters) if a < last and b > first]
    return (inside[0], inside[-1]) if inside else None


def _text(encoder: _Encoder, i: int, record: Record, parts: Sequence[Encoding]) -> Iterator[_Row]:
    vocabulary = encoder.vocabulary
    tokens = _join(vocabulary, *_pair(parts), encoder.spec.max_length)
    # Every token but <s> and </s> may be masked; how many depends on the length alone, so that all ranks know it.
    reads = [p for p, t in enumerate(tokens) if t not in (vocabulary.cls, vocabulary.sep)]
    units = max(1, round(MASKED_RATIO * len(reads))) if reads else 0
    yield _Row(i, tokens, [len(tokens)], reads, [], units=units, cut=_missing(tokens, parts))


def _sentences(encoder: _Encoder, i: int, record: Record, parts: Sequence[Encoding]) -> Iterator[_Row]:
    """One row of two sequences for each pair: the English sentence and the other."""
    both = [_join(encoder.vocabulary, ids or [], None, encoder.spec.max_length) for ids in _pair(parts)]
    tokens = [*both[0], *both[1]]
    yield _Row(i, tokens, [len(ids) for ids in both], [], [], cut=_missing(tokens, parts))


_ROWS: dict[str, Callable[[_Encoder, int, Record, Sequence[Encoding]], Iterator[_Row]]] = {
    "classification": _texts,
    "regression": _texts,
    "multiple_choice": _choices,
    "tagging": _tags,
    "span_qa": _answers,
    "mlm": _text,
    "retrieval": _sentences,
}


# --- rows <-> Arrow ------------------------------------------------------------------------------------------------


def data_folder(storage: Storage, spec: DataSpec, vocabulary: Vocabulary) -> Path:
    """`<storage>/data/<task>-<split>-<hash>`: by content of the records, tokenizer, lengths and version of the code."""
    return storage / "data" / data_name(spec, vocabulary.digest)


def prepare(storage: Storage, spec: DataSpec, records: Sequence[Record], vocabulary: Vocabulary) -> Path:
    """Tokenise the records into the storage, once; the folder appears by one rename.

    Returns:
        The folder, with `examples.arrow`, `references.json` and `counts.json`, which says what was lost.
    """
    folder = data_folder(storage, spec, vocabulary)
    if storage.find(folder):
        return folder
    if not folder.exists():
        with atomic_folder(folder) as staging:
            counts = _write(staging / "examples.arrow", spec, records, tokenise(spec, records, vocabulary))
            write_atomically(staging / "references.json", json.dumps(_references(spec, records), ensure_ascii=False))
            write_atomically(staging / "counts.json", json.dumps(counts))
    storage.publish_folder(folder)
    return folder


def _references(spec: DataSpec, records: Sequence[Record]) -> dict[str, Any]:
    if spec.split.startswith("train"):
        return {"num_records": len(records)}
    field = {"tagging": "tags", "span_qa": "answers"}.get(spec.kind, "label")
    document: dict[str, Any] = {"num_records": len(records), "ids": [r["id"] for r in records]}
    if spec.kind == "retrieval":
        document["halves"] = [query_half(r["text"]) for r in records]
    else:
        document["references"] = [r.get(field) for r in records]
    if spec.kind == "span_qa":
        document["contexts"] = [r["context"] for r in records]
    return document


def query_half(text: str) -> int:
    """0 (dev) or 1 (test) for a query of a set that is published undivided; a hash of its text decides."""
    return hashlib.sha256(text.encode()).digest()[0] % 2


def _write(path: Path, spec: DataSpec, records: Sequence[Record], rows: Iterable[_Row]) -> dict[str, int]:
    """Rows go into flat columns one by one: what they are made of is freed again, and no row is an Arrow scalar.

    Returns:
        `num_rows`, `num_tokens`; `num_truncated` records that lack `num_cut_tokens`; of questions how many have no
        answer (`num_unanswerable`) or one that no window holds (`num_lost_answers`).
    """
    import pyarrow as pa  # as below: the benches of a step do without it

    label_code = "f" if spec.kind == "regression" else "i"
    values = {name: array(label_code if name == "labels" else "i") for name in _LISTS}
    offsets = {name: array("i", [0]) for name in _LISTS}
    record, units = array("i"), array("i")
    cut: dict[int, int] = {}
    answered: set[int] = set()
    for row in rows:
        if row.cut:
            cut[row.record] = row.cut  # the windows of a record all name the same loss
        if spec.kind == "span_qa" and row.labels[0] > 0:
            answered.add(row.record)
        record.append(row.record)
        units.append(row.units)
        for name, column in values.items():
            column.extend(getattr(row, name))
            offsets[name].append(len(column))
    columns = {"record": pa.array(np.asarray(record))}
    for name, column in values.items():
        columns[name] = pa.ListArray.from_arrays(pa.array(np.asarray(offsets[name])), pa.array(np.asarray(column)))
    columns["units"] = pa.array(np.asarray(units))
    # One record batch, so that every column is one buffer that workers map without a copy.
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    counts = {
        **{"num_rows": len(record), "num_tokens": len(values["tokens"])},
        **{"num_truncated": len(cut), "num_cut_tokens": sum(cut.values())},
    }
    if spec.kind == "span_qa":
        without = sum(not r.get("answers") for r in records)
        counts |= {"num_unanswerable": without, "num_lost_answers": len(records) - without - len(answered)}
    return counts


def read_counts(folder: Path) -> dict[str, int]:
    """What a prepared split holds and what was lost on the way; see `_write`."""
    counts: dict[str, int] = read_json(folder / "counts.json")
    return counts


def open_examples(folder: Path, spec: DataSpec) -> Examples:
    """Map a prepared split; reads nothing but the footer."""
    import pyarrow as pa

    source = pa.memory_map(str(folder / "examples.arrow"))
    batch = pa.ipc.open_file(source).get_batch(0)
    values: dict[str, Any] = {}
    for name in _LISTS:
        column = batch.column(name)
        values[name] = column.values.to_numpy(zero_copy_only=True)
        values[f"{name.removesuffix('s')}_offsets"] = column.offsets.to_numpy(zero_copy_only=True)
    outputs = {
        "classification": len(spec.labels),
        "tagging": len(spec.labels),
        "span_qa": 2,
        "multiple_choice": 1,
        "regression": 1,
    }.get(spec.kind, 0)
    return Examples(
        name=spec.task,
        kind=spec.kind,
        num_outputs=outputs,
        folder=folder,
        record=batch.column("record").to_numpy(),
        units=batch.column("units").to_numpy(),
        **values,
    )
