"""Characters as readers see them: a letter with its marks, the jamo of a syllable, a joined emoji. Unicode's UAX 29."""

from __future__ import annotations

from collections.abc import Sequence

import regex

# Clusters of several code points alone, for `\X` at every character is slow: the second one joins the first.
_JOINING = r"[\p{GCB=Extend}\p{GCB=ZWJ}\p{GCB=SpacingMark}\p{GCB=V}\p{GCB=T}\p{GCB=Regional_Indicator}]"
_CLUSTER = regex.compile(rf"(?s)(?=.{_JOINING}|[\p{{GCB=L}}\p{{GCB=Prepend}}])\X")


def widened(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of a text with each border that lies inside a grapheme moved out to that grapheme's own.

    A tokenizer that composes what is written decomposed names the place of the letter alone: "ä" as a + diaeresis would
    lose its dots where a token ends, a Korean syllable all but its first consonant.

    Args:
        spans: (first, last + 1) code point.
    """
    if text.isascii():
        return list(spans)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for cluster in _CLUSTER.finditer(text):
        start, end = cluster.span()
        for place in range(start + 1, end):
            first[place], last[place] = start, end
    return [(first.get(a, a), last.get(b, b)) for a, b in spans] if first else list(spans)
