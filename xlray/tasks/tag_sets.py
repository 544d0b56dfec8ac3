"""Sets of tags: those of IOB2, whose spans are scored, those of plain names, and all that would be scored wrongly."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xlray.errors import InputError

_LETTERS = "BIOLUESMW"  # of IOB, BILOU, BIOES (IOBES) and BMES (BMEWO)
_IOB2 = re.compile("[BI]-.+")
_OF_A_SCHEME = re.compile(f"[{_LETTERS}][-_].+|.+[-_][{_LETTERS}]", re.IGNORECASE)


def is_iob2(tags: Iterable[str]) -> bool:
    """Whether every tag is `O`, `B-X` or `I-X`."""
    return all(tag == "O" or _IOB2.fullmatch(tag) for tag in tags)


def check_tag_set(tags: Iterable[str], where: str) -> None:
    """Check that spans can be read from tags as they are scored: IOB2, or plain names such as parts of speech.

    Raises:
        InputError: the tags are of another scheme (BILOU, BIOES, BMES, a prefix after the type, in lower case or alone).
    """
    known = list(tags)
    if is_iob2(known):
        return
    bare = [tag for tag in known if tag.upper() in _LETTERS]
    found = [tag for tag in known if _OF_A_SCHEME.fullmatch(tag)]
    # A plain set may hold a name or two of that form (S_com); one with an outside or a beginning is of a scheme.
    spans = any(tag in ("O", "o") or tag.startswith("B-") for tag in known)
    if (found and (spans or len(found) == len(known))) or len(known) == len(bare) > 1:
        tag = next(tag for tag in known if tag != "O" and not _IOB2.fullmatch(tag))
        raise InputError(
            f"{where}: tags must be those of IOB2 (O, B-X, I-X) or plain names, but got {tag!r}; "
            "xlray.tasks.readers.iob2 rewrites BILOU, BIOES and BMES."
        )
