import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlray.data.graphemes import widened


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("kilometria\u0308 on", (0, 10), "kilometria\u0308"),  # a letter and its mark
        ("a\u0327\u0301b", (0, 1), "a\u0327\u0301"),
        ("a\u0327\u0301b", (2, 3), "a\u0327\u0301"),  # a token at the second mark: back to the letter
        ("a\u0327\u0301b", (3, 4), "b"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", (3, 4), "\u1100\u116e\u11a8"),  # jamo of the second syllable
        ("\ud55c\uad6d", (0, 1), "\ud55c"),
        ("\u2764\ufe0f x", (0, 1), "\u2764\ufe0f"),  # a variation selector
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 x", (2, 3), "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("\U0001f1eb\U0001f1ee x", (1, 2), "\U0001f1eb\U0001f1ee"),  # a flag
        ("\u0e01\u0e33 x", (0, 1), "\u0e01\u0e33"),
        ("\u0928\u093f x", (1, 2), "\u0928\u093f"),
        ("plain", (1, 3), "la"),
    ],
)
def test_borders_inside_a_grapheme_move_out_to_its_own(text, span, expected):
    ((first, last),) = widened(text, [span])
    assert text[first:last] == expected


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.data())
def test_spans_only_grow_and_composed_text_says_the_same_as_decomposed(text, data):
    first = data.draw(st.integers(0, len(text)))
    last = data.draw(st.integers(first, len(text)))
    ((a, b),) = widened(text, [(first, last)])
    assert a <= first <= last <= b and widened(text, [(a, b)]) == [(a, b)]
    apart = unicodedata.normalize("NFD", text)
    start, end = (len(unicodedata.normalize("NFD", text[:i])) for i in (a, b))
    assert widened(apart, [(start, end)]) == [(start, end)]
