"""That a sweep is zero-shot: what it trains on has no labels in the languages that it is evaluated and ranked by."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from xlray.config.recipes import Pretraining
from xlray.config.sweep import Sweep
from xlray.data.records import Sources
from xlray.errors import InputError, nearest
from xlray.tasks.languages import language_of
from xlray.tasks.lines import listed
from xlray.tasks.task import Task


def check_roles(sweep: Sweep, sources: Sources) -> None:
    """Check that targets are evaluated, that none of them is an intermediate task, and that pre-training reads text.

    Raises:
        InputError: a task is unknown or has another role.
    """
    for target in sweep.targets:
        task = sources.task(target.task)
        if task.role != "target":
            raise InputError(f"targets: task {target.task!r} must be a target, but its role is {task.role!r}.")
    for name in sweep.pool:
        if sources.task(name).role == "target":
            raise InputError(f"subsets: task {name!r} is a target and cannot be an intermediate task.")
    recipes = (encoder for encoder in sweep.encoders if isinstance(encoder, Pretraining))
    for name in itertools.chain.from_iterable(recipe.tasks for recipe in recipes):
        task = sources.task(name)
        if task.kind != "mlm":
            raise InputError(f"encoder: pre-training reads text of kind 'mlm', but {name!r} is of kind {task.kind!r}.")


def check_languages(sweep: Sweep, sources: Sources) -> None:
    """Check that targets have dev sets in the sweep's languages, and that nothing is trained on labels in one.

    Raises:
        InputError: a target has no dev set in one or is trained in it, or an intermediate task lists it.
    """
    tasks = [sources.task(target.task) for target in sweep.targets]
    for task, language in itertools.product(tasks, sweep.evaluated):
        known = pivots_of(task)
        trained = language_of(task.languages[0])
        if language not in known or language_of(language) == trained:
            found = f"{language!r}, which it is trained in" if language == trained else repr(language)
            law = f"target {task.name!r}: `language` must be one of its dev sets ({listed(known, 60) or 'none'})"
            raise InputError(f"{law}, but got {found}.{nearest(language, known)}{_have(tasks, language)}")
    what = "the language of its targets" if len(sweep.evaluated) == 1 else "a language of its targets"
    _check_unlabelled(sweep, sources, sweep.evaluated, f"sweep {sweep.name!r}", what)


def _have(tasks: Sequence[Task], language: str) -> str:
    """Which of several targets have a language, and what all of them have."""
    has = [repr(task.name) for task in tasks if language in pivots_of(task)]
    shared = [code for code in pivots_of(tasks[0]) if all(code in pivots_of(task) for task in tasks)]
    if not has:
        return ""
    return f" {' and '.join(has)} {'has' if len(has) == 1 else 'have'} it; all targets have {listed(shared, 60) or 'none'}."


def check_signal(sweep: Sweep, sources: Sources) -> None:
    """Check that what ranks trials is there: pivots that targets can be evaluated in and nothing is trained in.

    Raises:
        InputError: they are not.
    """
    tasks = {target.task: sources.task(target.task) for target in sweep.targets}
    for target in sweep.targets:
        known = pivots_of(tasks[target.task], sweep.language)
        for language in target.pivots:
            if language not in known:
                has = listed(known, 8) or "none"
                raise InputError(
                    f"target {target.task!r}: pivots are languages of its dev sets ({has}), but got {language!r}."
                )
        _check_unlabelled(sweep, sources, target.pivots, f"target {target.task!r}", "a pivot language")
    trained = [t for t in sweep.targets if tasks[t.task].kind != "retrieval"]
    for target in trained or sweep.targets:
        task = tasks[target.task]
        if sweep.select_by == "pivot-dev" and not target.pivots:
            some = pivots_of(task, sweep.language)[:2]
            hint = f"; such as Target({target.task!r}, pivots={some!r})" if some else " and no dev set for one"
            raise InputError(
                f"targets: select_by 'pivot-dev' needs pivots of every trained target, but {target.task!r} has none{hint}."
            )
        if sweep.select_by == "english-dev" and not (target.english and f"dev/{task.languages[0]}" in task.splits):
            raise InputError(
                f"targets: select_by 'english-dev' needs the English dev set of every trained target, but "
                f"{target.task!r} is not evaluated on one."
            )


def _check_unlabelled(sweep: Sweep, sources: Sources, languages: Sequence[str], where: str, what: str) -> None:
    for name in sweep.pool:
        task = sources.task(name)
        for language in languages if task.kind != "mlm" else ():
            if language_of(language) in task.all_languages:
                raise InputError(
                    f"{where}: no intermediate task has labels in {what}, but {name!r} has them in {language!r}."
                )


def pivots_of(task: Task, language: str | None = None) -> tuple[str, ...]:
    """The languages that a target can be evaluated in beside its training language and `language`."""
    found = (split.split("/") for split in task.splits)
    codes = dict.fromkeys(code for part, code in found if part in ("dev", "all"))
    return tuple(code for code in codes if code not in (task.languages[0], language))
