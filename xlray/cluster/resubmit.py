"""Jobs that were lost with a cluster's head are resubmitted when it is back.

    python -m xlray.cluster.resubmit [ADDRESS]

The last of `head_start_ray_commands`. Ray's job server forgets its jobs with the head, so each job of ours leaves a note in
the home folder of the machine that it runs on, for as long as it runs (`remember`). Nothing is computed twice: see `run`.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from xlray.cluster.jobs import DEFAULT_ADDRESS, LOST, Request, connect, join_or_submit
from xlray.errors import InputError, fail
from xlray.storage.files import write_atomically

FOLDER = "~/.xlray/jobs"
NOTE = "request.json"
WITHIN_S = 120.0  # the job server answers some seconds after `ray start` has returned


def notes_folder() -> Path:
    """Where this machine's jobs leave their notes; a home folder may be shared with others."""
    return Path(FOLDER).expanduser() / socket.gethostname()


def remember(request: Request, working_folder: Path) -> Path:
    """Leave a note of a job, with the files of its working folder; the note's folder, to be deleted when it ends."""
    folder = notes_folder() / f"{request.kind}-{request.name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    shutil.copytree(working_folder, new / "files", ignore=shutil.ignore_patterns("__pycache__"))
    write_atomically(new / NOTE, json.dumps({**dataclasses.asdict(request), "files": {}}))
    forget(folder)
    new.rename(folder)
    return folder


def forget(folder: Path) -> None:
    """Delete a note."""
    shutil.rmtree(folder, ignore_errors=True)


def left_over() -> Iterator[Request]:
    """The jobs that left notes: none of them has ended, so they were lost.

    A note that cannot be read is skipped, and said on stderr.
    """
    for path in sorted(notes_folder().glob(f"[!.]*/{NOTE}")):
        files = path.parent / "files"
        try:
            found = json.loads(path.read_text())
            named = {f.relative_to(files).as_posix(): f for f in sorted(files.rglob("*")) if f.is_file()}
            yield Request(**{**found, "arguments": tuple(found["arguments"]), "files": named})
        except (OSError, ValueError, TypeError, KeyError) as error:
            fail(f"{path}: must be the note of a job, but cannot be read: {error!r}.", 0)


def main(address: str = DEFAULT_ADDRESS) -> int:
    """Submit every job that was lost; 0, or 2 where a cluster does not take them within two minutes."""
    if not (requests := list(left_over())):
        return 0
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            client, _ = connect(address)
            for request in requests:
                job_id, _ = join_or_submit(client, request)
                print(f"{request.name}: resumes as job {job_id}", flush=True)
            return 0
        except (*LOST, InputError) as error:
            if time.monotonic() > until:
                return fail(f"the running sweeps could not be resubmitted: {error}", 2)
            time.sleep(2.0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
