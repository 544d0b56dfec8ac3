"""What `pip install` gives: the commands that need no checkout, from a wheel that was made of the source distribution."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import xlray
from xlray.cli.main import main
from xlray.cli.start import QUICKSTART, init
from xlray.cli.sweep_file import load_sweep
from xlray.errors import InputError
from xlray.plan.trials import plan_sweep

TOP = Path(__file__).parent.parent
PLAIN: dict[str, Any] = {"capture_output": True, "text": True}


def test_the_sweep_of_the_demo_is_the_one_that_users_see():
    assert QUICKSTART.read_bytes() == (TOP / "sweeps" / "quickstart.py").read_bytes()


def test_init_writes_a_sweep_that_can_be_planned_and_writes_over_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "two-tasks"]) == 0
    assert "xlray run two-tasks.py" in capfd.readouterr().out
    text = Path("two-tasks.py").read_text()
    sweep = load_sweep(Path("two-tasks.py"))
    assert sweep.name == "two-tasks" and "starter" not in text
    assert len(plan_sweep(sweep, None).trials) == 6
    Path("two-tasks.py").write_text("mine")
    with pytest.raises(InputError, match=r"two-tasks\.py must be a new file"):
        init("two-tasks")
    assert Path("two-tasks.py").read_text() == "mine"
    with pytest.raises(InputError, match="name consists of letters"):
        init("a/b")


def test_the_version_is_written_in_one_place(capfd):
    known = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert known["project"]["dynamic"] == ["version"] and "version" not in known["project"]
    assert main(["--version"]) == 0 and capfd.readouterr().out == f"{xlray.__version__}\n"
    for name, start in (("CHANGELOG.md", "## "), ("CITATION.cff", "version: ")):
        lines = (TOP / name).read_text().splitlines()
        assert next(line for line in lines if line.startswith(start)).startswith(f"{start}{xlray.__version__}"), name


def built(folder: Path) -> Path:
    """A wheel of a source distribution of what git knows of this tree."""
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True, check=True
    )
    tree = folder / "tree"
    for name in filter(None, files.stdout.splitlines()):
        if (TOP / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((TOP / name).read_bytes())
    hook = "import sys; from setuptools import build_meta; print(build_meta.build_{}(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", hook.format("sdist"), str(folder)], cwd=tree, check=True, **PLAIN)
    source = next(folder.glob("*.tar.gz"))
    with tarfile.open(source) as archive:
        archive.extractall(folder / "source", filter="data")
    unpacked = folder / "source" / source.name.removesuffix(".tar.gz")
    subprocess.run([sys.executable, "-c", hook.format("wheel"), str(folder)], cwd=unpacked, check=True, **PLAIN)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(3_000)
def test_a_wheel_in_an_empty_environment_has_demo_and_init(tmp_path):
    wheel = built(tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "xlray/cli/quickstart.sweep",
        "xlray/cli/starter.sweep",
        "xlray/mini/encoder/model.safetensors",
        "xlray/templates/report.html.j2",
        "xlray/templates/vendor/echarts.min.js",
        "xlray/templates/vendor/echarts.LICENSE",
        "xlray/templates/vendor/echarts.LICENSE-d3",
        "xlray/templates/vendor/echarts.NOTICE",
        "xlray/templates/vendor/VERSIONS",
        "xlray/py.typed",
    } <= set(names)
    assert {name.split("/")[0] for name in names} == {"xlray", f"xlray-{xlray.__version__}.dist-info"}
    home = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], **PLAIN, check=True
    )
    # What xlray needs is looked up where the tests have it; xlray itself is the wheel's.
    (Path(where.stdout.strip()) / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "XLRAY_STORAGE")}

    def installed(*arguments):
        return subprocess.run([home / "bin" / "xlray", *arguments], cwd=tmp_path, env=environment, check=False, **PLAIN)

    where = subprocess.run(
        [python, "-c", "import xlray; print(xlray.__file__)"], cwd=tmp_path, env=environment, **PLAIN
    )
    assert where.stdout.startswith(str(home))
    assert installed("--version").stdout == f"{xlray.__version__}\n"
    assert installed("init", "mine").returncode == 0
    assert "6 in cells" in installed("plan", "mine.py").stdout
    done = installed("demo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "sweeps" / "quickstart" / "report" / "report.html").is_file()
