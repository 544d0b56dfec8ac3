"""What sentences of tokens have that is no text of theirs: marks of documents, languages, blanks in place of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from xlray.tasks.lines import fail, leave_out
from xlray.tasks.task import Record

DOCUMENT = "-DOCSTART-"  # begins the line with which CoNLL's files begin a document
NO_TEXT = "_"  # the form of every word of a treebank that is published without its text
LANGUAGE = re.compile(r"[a-z]{2,}(?:-[a-z]+)*:(?=.)")  # WikiANN's `no:Oslo`


def check_languages(path: Path, sentences: Iterable[Record]) -> None:
    """Raise `InputError` where every token of a file begins with the same language."""
    tokens = [token for sentence in sentences for token in sentence["tokens"]]
    found = LANGUAGE.match(tokens[0]) if len(tokens) > 1 else None
    if found and all(token.startswith(found[0]) for token in tokens):
        law = f"the language before every token must be among the reader's `languages`, as in {(found[0][:-1],)}"
        fail(str(path), law, tokens[0])


def with_text(path: Path, sentences: Iterable[Record]) -> Iterator[Record]:
    """The sentences of a file without those whose forms are all `_`, since their text is not distributed.

    A sentence of the one word `_` is taken for text unless longer ones of the file lack theirs.

    Raises:
        InputError: no sentence has text.
    """
    known = list(sentences)
    kept = [sentence for sentence in known if set(sentence["tokens"]) != {NO_TEXT}]
    if len(kept) == len(known) or all(len(s["tokens"]) == 1 for s in known if set(s["tokens"]) == {NO_TEXT}):
        kept = known
    if known and not kept:
        fail(str(path), "sentences must have text, but it is published without: a form must be there", NO_TEXT)
    if len(kept) < len(known):
        leave_out(f"sentences without text (every form is {NO_TEXT!r})", len(known) - len(kept))
    yield from kept
