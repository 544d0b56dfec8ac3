"""How commands end: each error knows its exit code, and the command line ends with it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest
import typer

from xlray import errors, signals
from xlray.cli.main import app, main
from xlray.errors import XlrayError

EXIT_CODES = {
    errors.InputError: 2,
    errors.UnreachableError: 2,
    errors.StoreError: 4,
    errors.DamagedError: 4,
    errors.RemoteError: 4,
    errors.DownloadError: 4,
    errors.SessionError: 4,
    errors.FailedTrialsError: 3,
    errors.UnfinishedError: 4,
    errors.BudgetError: 5,
}


def below(kind: type[XlrayError]) -> Iterator[type[XlrayError]]:
    for child in kind.__subclasses__():
        yield from (child, *below(child))


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], int]:
    """The exit code of a command that raises an error."""

    def run(error: BaseException) -> int:
        def command() -> None:
            raise error

        monkeypatch.setattr(app, "registered_commands", [])
        app.command("one")(command)
        return main(["one"])

    return run


def test_every_error_is_in_the_table_and_carries_its_exit_code() -> None:
    assert {kind: kind.exit_code for kind in set(below(XlrayError))} == EXIT_CODES


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_the_command_line_ends_with_the_code_and_the_line_of_an_error(
    ends: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str], kind: type[XlrayError]
) -> None:
    for error in (kind("what went wrong"), pickle.loads(pickle.dumps(kind("what went wrong")))):  # as from a worker
        assert ends(error) == EXIT_CODES[kind]
        out, err = capsys.readouterr()
        storage = "the storage cannot be used: what went wrong; run the same command again when it is available."
        line = storage if kind is errors.RemoteError else "what went wrong"
        assert (out, err) == ("", f"xlray: {line}\n")


def test_an_error_of_wrong_use_stays_one_although_the_storage_was_its_cause(
    ends: Callable[[BaseException], int], capsys: pytest.CaptureFixture[str]
) -> None:
    error = errors.InputError("--storage s3://no: must be there.")
    error.__cause__ = errors.RemoteError("s3://no: no such bucket")
    assert ends(error) == errors.WRONG_USE
    assert capsys.readouterr().err == "xlray: --storage s3://no: must be there.\n"


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_ends_with_4(ends: Callable[[BaseException], int], ending: BaseException) -> None:
    assert ends(ending) == errors.INTERRUPTED


def test_what_an_interrupted_command_raises_is_its_interrupt(
    ends: Callable[[BaseException], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals._state, "taken", [15])
    assert ends(errors.InputError("a file is cut off")) == errors.INTERRUPTED


def test_what_nobody_expected_ends_with_1(ends: Callable[[BaseException], int]) -> None:
    assert ends(ZeroDivisionError("division by zero")) == errors.CRASHED


def test_errors_are_still_what_python_calls_them() -> None:
    assert issubclass(errors.InputError, ValueError) and issubclass(errors.RemoteError, OSError)
