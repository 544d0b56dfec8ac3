"""Text for masked language modelling. It may hold Finnish, as the pre-training data of public encoders does."""

from __future__ import annotations

from xlray.tasks.readers import verses
from xlray.tasks.task import Files, Task

LANGUAGES = ("en", "fi", "ar", "de", "es", "fr", "hu", "it", "ko", "ru", "sv", "tr", "vi", "zh")

TEXT = (
    Task(
        name="new_testament",
        kind="mlm",
        role="text",
        languages=LANGUAGES,
        source=Files("text/new_testament", {"train/mul": tuple(f"{language}.tsv" for language in LANGUAGES)}, verses),
        headline=(),
        licence="mostly public domain; the rights field of most editions is empty",
        citation="Zefania XML Bible modules",
        notes=(
            "Each verse by itself, and translation pairs of each language with English or Finnish. Chinese has a space "
            "after each character. Some editions lack verses or join two in one."
        ),
    ),
)
