"""The command line: the only place that parses, prints and exits. Heavy modules are imported where they are needed."""

from __future__ import annotations

import itertools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from xlray import signals
from xlray.cli.bench import bench_app
from xlray.cli.cluster import logs, stop, submit
from xlray.cli.dashboard import dashboard
from xlray.cli.doctor import doctor
from xlray.cli.export import export_model, export_predictions
from xlray.cli.options import Whole
from xlray.cli.output import speak_any_encoding
from xlray.cli.phase import rerun, why
from xlray.cli.plan import plan, simulate
from xlray.cli.report import compare, report
from xlray.cli.run import demo, prepare, retry, run
from xlray.cli.start import init
from xlray.cli.status import ls, status
from xlray.cli.storage import gc
from xlray.cli.tasks import tasks_app
from xlray.errors import CRASHED, DONE, EXIT_CODES, INTERRUPTED, WRONG_USE, RemoteError, XlrayError, fail
from xlray.storage.object_store import storage_trouble

SECTIONS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start": (demo, init, doctor),
    "Plan and run": (plan, simulate, prepare, run, retry),
    "Follow": (ls, status, dashboard),
    "Read": (report, compare, why, rerun, export_predictions, export_model),
    "Cluster": (submit, logs, stop),
    "Storage": (gc,),
}
GROUPS = {"tasks": tasks_app, "bench": bench_app}


def command_name(function: Callable[..., None]) -> str:
    """The name of a command on the command line."""
    return function.__name__.replace("_", "-")


class Sectioned(Whole):
    """The commands in the order of their use, under headings."""

    def sections(self) -> dict[str, list[str]]:
        """Heading to the names of the commands below it."""
        found = {title: [command_name(function) for function in found] for title, found in SECTIONS.items()}
        return {**found, "Tasks and benchmarks": list(GROUPS)}


app = typer.Typer(
    cls=Sectioned,
    help="Which intermediate tasks make XLM-R better at Finnish? Sweeps on Ray, answers with intervals.",
    epilog="A sweep is a Python file; it becomes trials, which are lists of phases. docs/concepts/glossary.md explains these "
    "words, rung and cell. Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for title, group in GROUPS.items():
    app.add_typer(group, name=title)
for command in itertools.chain.from_iterable(SECTIONS.values()):
    app.command(command_name(command))(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: runs one command and returns its exit code, one of `EXIT_CODES`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    speak_any_encoding()
    try:
        with typer.main.get_command(app).make_context("xlray", given or ["--help"]) as context:
            context.command.invoke(context)
        sys.stdout.flush()
        return DONE
    except typer.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:  # `xlray ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except (KeyboardInterrupt, typer.Abort):
        return fail(signals.message(), INTERRUPTED)
    except Exception as error:  # noqa: BLE001  the border: whatever it was, the user gets a line and an exit code
        return _fail_unexpectedly(error)


def _fail_unexpectedly(error: Exception) -> int:
    if signals.taken() is not None:  # what was interrupted may make an error of its own out of it
        return fail(signals.message(), INTERRUPTED)
    if isinstance(error, XlrayError) and not isinstance(error, RemoteError):  # which is trouble of the storage
        return fail(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # wrong use of the command line itself
        return fail(f"{error.format_message().removesuffix('.')}. See `xlray --help`.", WRONG_USE)
    if (trouble := storage_trouble(error)) is not None:
        text = f"the storage cannot be used: {trouble}; run the same command again when it is available."
        return fail(text, RemoteError.exit_code)
    if not hasattr(error, "log"):
        traceback.print_exc()
    log = f"; the traceback is in {error.log}" if hasattr(error, "log") else ""
    return fail(f"{type(error).__name__}: {error}{log}", CRASHED)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("xlray"))
        raise typer.Exit()


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
