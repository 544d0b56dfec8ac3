import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import xlray
from xlray.phases import versions
from xlray.sweep.result_tables import _recorded


def test_versions_name_what_is_installed():
    found = versions.versions()
    assert found["xlray"] == version("xlray") and found["torch"] == version("torch") and "python" in found


def test_versions_hold_the_commit_of_the_checkout_that_runs():
    assert versions.versions().get("commit") == versions.commit(Path(xlray.__file__).parents[1])


def test_commit_is_that_of_a_checkout_and_says_whether_files_were_changed(tmp_path):
    def git(*words):
        done = subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *words],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    assert versions.commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert versions.commit(tmp_path) == head[:12]
    (tmp_path / "file").write_text("two")
    assert versions.commit(tmp_path) == f"{head[:12]}-dirty"


def test_a_trial_lists_the_different_ways_its_phases_were_computed():
    records = [{"execution": {"num_workers": workers}} for workers in (2, 1, 2)]
    assert json.loads(_recorded(records, "execution")) == [{"num_workers": 1}, {"num_workers": 2}]
    assert _recorded([{"versions": {}}, {}], "versions") is None
