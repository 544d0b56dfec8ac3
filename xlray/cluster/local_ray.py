"""What a Ray that is started on this machine needs of it: a folder with a short path, a token, time. Standard library only."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from pathlib import Path

from xlray.errors import InputError
from xlray.plan.machine import load_per_core
from xlray.storage.files import file_lock

LONGEST_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107  # what the kernel takes as the path of a socket
# Ray's sockets lie so deep below its folder; the process number has seven digits at most.
DEEPEST_SOCKET = "/session_2026-01-01_00-00-00_000000_4194304/sockets/dash_TaskEventsHead"
LONGEST_FOLDER_BYTES = LONGEST_SOCKET_BYTES - len(DEEPEST_SOCKET)
OWN_FOLDER = Path(f"/tmp/xlray-{os.geteuid()}")
LONGEST_TMPDIR_BYTES = LONGEST_SOCKET_BYTES - len("/pymp-00000000/listener-00000000")  # sockets of multiprocessing
STARTS_WITHIN_S = 30.0  # on an idle machine; Ray's own limit
PATIENCE_S = 600.0


def ray_folder() -> Path:
    """Where a Ray that is started here keeps sockets and logs.

    Ray's own choice ($RAY_TMPDIR, $TMPDIR or /tmp) where its sockets fit and it can be written, else a folder of this
    user's own below /tmp.

    Raises:
        InputError: neither can be used.
    """
    wanted = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp").absolute() / "ray"
    length = len(os.fsencode(wanted))
    if length <= LONGEST_FOLDER_BYTES and _can_make(wanted):
        return wanted
    with contextlib.suppress(OSError):
        return own_folder() / "ray"
    found = f"{wanted} has {length}" if length > LONGEST_FOLDER_BYTES else f"{wanted} cannot be written"
    raise InputError(
        f"RAY_TMPDIR: Ray's folder must be one that can be written and has at most {LONGEST_FOLDER_BYTES} bytes, for its "
        f"sockets, but {found}, and {OWN_FOLDER} cannot be made; set RAY_TMPDIR to such a folder."
    )


def own_folder() -> Path:
    """A folder below /tmp that this user alone can read, made if it is not there.

    Raises:
        OSError: it cannot be made, or is another's.
    """
    OWN_FOLDER.mkdir(mode=0o700, exist_ok=True)
    found = OWN_FOLDER.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{OWN_FOLDER} must be a folder of this user alone")
    return OWN_FOLDER


def token_file() -> Path:
    """Where the token lies by which a Ray of this user knows its own: $RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, as Ray
    has it; in a folder of this user's own where there is none and the home folder cannot be written.
    """
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return Path(named).expanduser()
    home = Path(os.environ.get("HOME") or "/dev/null") / ".ray" / "auth_token"
    return home if os.access(home, os.R_OK) or _can_make(home) else OWN_FOLDER / home.name


def ray_environment() -> dict[str, str]:
    """The variables that the processes of a Ray that is started here need beside those that are set.

    $TMPDIR, where it is too long for sockets below it, and where the token lies, unless Ray finds or writes it by itself.

    Raises:
        InputError: the file that $RAY_AUTH_TOKEN_PATH names holds no token, or none can be written.
    """
    temporary = os.environ.get("TMPDIR", "")
    if len(os.fsencode(temporary)) <= LONGEST_TMPDIR_BYTES:
        return _token_environment()
    try:
        return {**_token_environment(), "TMPDIR": str(own_folder())}
    except OSError as error:
        law = f"TMPDIR must have at most {LONGEST_TMPDIR_BYTES} bytes, for sockets below it"
        raise InputError(f"{law}, but got {temporary!r}, and {error}; set it to a short folder.") from error


def _token_environment() -> dict[str, str]:
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return {}
    path = token_file()
    try:
        if path.parent == OWN_FOLDER:
            with file_lock(own_folder() / "lock"):
                if not path.exists():
                    path.write_text(secrets.token_hex(32))  # in a folder that nobody else can enter
        if "RAY_AUTH_TOKEN_PATH" in os.environ and not path.read_text().strip():
            raise OSError("it is empty")
    except OSError as error:
        raise InputError(
            f"RAY_AUTH_TOKEN_PATH: must name a file that holds Ray's token, a long random text, but {path}: {error}."
        ) from error
    return {"RAY_AUTH_TOKEN_PATH": str(path)} if path.parent == OWN_FOLDER else {}


def _can_make(path: Path) -> bool:
    """Whether this user may make the file or folder, with the folders above it."""
    if os.path.lexists(path):
        return os.access(path, os.W_OK | os.X_OK if path.is_dir() else os.W_OK)
    there = next(p for p in path.parents if os.access(p, os.F_OK))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def start_within_s() -> float:
    """How long a node may take to start on this machine as it is now: longer the more wait for its cores."""
    return min(PATIENCE_S, STARTS_WITHIN_S * max(1.0, load_per_core()))
