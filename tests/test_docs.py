"""The documentation: public names are described, links resolve, every page is in the navigation, the site builds."""

import importlib.util
import inspect
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import markdown
import pytest
import yaml
from typer.main import get_command

import xlray
from xlray.cli.main import GROUPS, app
from xlray.cli.sweep_file import load_sweep
from xlray.plan.trials import plan_sweep

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^( *)```\w*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
# Files beside the pages that say how they are used: in comments and docstrings, indented.
USED = [
    *(ROOT / "sweeps").glob("*.py"),
    ROOT / "cluster.yaml",
    *(p for p in (ROOT / "deploy").rglob("*") if p.is_file()),
]
COMMAND = re.compile(r"(?:[$#] *)?(?:\w+=\S+ )*(?:\S*/|python -m |python -m pdb -m )?xlray(?: (.*))?")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def hooks() -> ModuleType:
    """`docs/hooks.py`, which is no package."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as both GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def public_objects() -> list[tuple[str, object]]:
    """Everything that `xlray` exports; of exported modules their public functions and classes."""
    found = []
    for name in xlray.__all__:
        thing = getattr(xlray, name)
        if isinstance(thing, ModuleType):
            own = (n for n, value in vars(thing).items() if getattr(value, "__module__", None) == thing.__name__)
            found += [(f"{name}.{n}", getattr(thing, n)) for n in own if not n.startswith("_")]
        elif inspect.isclass(thing) or inspect.isfunction(thing):
            found.append((name, thing))
    return [(name, thing) for name, thing in found if inspect.isclass(thing) or inspect.isfunction(thing)]


def described(text: str) -> set[str]:
    """Names that the sections Args and Attributes of a docstring describe."""
    sections = re.findall(r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)", inspect.cleandoc(text) + "\n", re.MULTILINE)
    return set(re.findall(r"^    (\w+):", "".join(sections), re.MULTILINE))


@pytest.mark.parametrize(("name", "thing"), public_objects(), ids=[name for name, _ in public_objects()])
def test_a_public_name_describes_each_of_its_parameters(name: str, thing: object) -> None:
    text = inspect.getdoc(thing) or ""
    if is_dataclass(thing):
        wanted = {field.name for field in fields(thing)}
    else:
        wanted = set(inspect.signature(thing).parameters) if inspect.isfunction(thing) else set()
    assert text, f"{name} has no docstring"
    assert wanted <= described(text), f"{name} does not describe {sorted(wanted - described(text))}"


def test_every_column_of_the_results_has_a_meaning_and_every_meaning_a_column() -> None:
    from xlray.analysis.results import COLUMNS, ITEMS, PHASES, SCORES, STEPS, TRIALS

    assert set(COLUMNS) == {name for schema in (SCORES, TRIALS, PHASES, ITEMS, STEPS) for name in schema.names}


def test_every_page_is_in_the_navigation() -> None:
    text = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def leaves(entry: Any) -> set[str]:
        if isinstance(entry, str):
            return {entry}
        parts = entry.values() if isinstance(entry, dict) else entry
        return set().union(*(leaves(part) for part in parts))

    assert leaves(yaml.safe_load(text)["nav"]) == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES}


@pytest.mark.parametrize("page", TEXTS, ids=[page.relative_to(ROOT).as_posix() for page in TEXTS])
def test_relative_links_and_anchors_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        target = (
            ROOT / "CONTRIBUTING.md" if target == ROOT / "docs/contributing.md" else target
        )  # made from it as it is
        generated = "<!-- generated: " in target.read_text(encoding="utf-8") if target.suffix == ".md" else True
        assert not anchor or generated or anchor in anchors(target), f"{page.name} links to {link}: no such heading"


@pytest.mark.parametrize("page", TEXTS, ids=[page.relative_to(ROOT).as_posix() for page in TEXTS])
def test_lists_and_tables_are_such_on_the_site_too(page: Path) -> None:
    """Python-Markdown, unlike GitHub, needs a blank line before a list or table; without it they stay in the paragraph."""
    rendered = markdown.markdown(prose(page), extensions=["tables", "sane_lists"])
    found = re.findall(r"^(?:- |\d+\. |\|).*", rendered, re.MULTILINE)
    assert not found, f"{page.name}: no blank line before {found[0]!r}"


def test_the_reference_of_the_command_line_has_every_command_and_option() -> None:
    module = hooks()
    text, commands = module.commands(), list(module.all_commands())
    assert ("run",) in [path for path, _ in commands] and ("tasks", "check") in [path for path, _ in commands]
    for path, command in commands:
        section = text.partition(f"## xlray {' '.join(path)}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or option in section, f"{' '.join(path)}: {option} is missing"


def test_the_overview_of_commands_names_every_command() -> None:
    overview = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    for path, _ in hooks().all_commands():
        assert re.search(rf"`(xlray )?({path[0]} )?(\[)?{path[-1]}\b", overview), f"xlray {' '.join(path)} is missing"


def commands_in(path: Path) -> Iterator[str]:
    """What follows `xlray` in each command that a page or file shows, up to a comment or a pipe."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        blocks = [block for _, block in BLOCK.findall(text)]
        lines = [*itertools.chain.from_iterable(map(str.splitlines, blocks)), *re.findall(r"`([^`]+)`", prose(path))]
    else:
        lines = re.findall(r"^(?:#|  +)\s*(\S.*)", text, re.MULTILINE)
    for line in lines:
        if (found := COMMAND.fullmatch(" ".join(re.split(r" #|\s{3,}|[|;&>`]", line.strip())[0].split()))) is not None:
            yield found[1] or ""


def problem(said: str, known: dict[tuple[str, ...], set[str]]) -> str:
    """What is wrong with a command: it or an option is not there; "" if nothing is.

    Args:
        known: every command to its options.
    """
    words = [word for word in re.sub(r"[\[\]\\,]", " ", said).split() if word != "..."]
    path = next((tuple(words[:n]) for n in (2, 1, 0) if tuple(words[:n]) in known), ())
    if not path and words and not words[0].startswith("-"):
        return f"there is no command {words[0]!r}"
    options = {word.partition("=")[0] for word in words if re.match("--[a-z]|-[a-z]$", word)}
    return ", ".join(sorted(options - known[path] - {"--help", "-h"}))


def test_every_command_that_a_page_or_file_shows_is_one_and_has_the_options_that_it_is_given() -> None:
    top = get_command(app)
    commands = {**dict(hooks().all_commands()), **{(group,): top.commands[group] for group in GROUPS}, (): top}  # type: ignore[attr-defined]
    known = {path: {option for one in command.params for option in one.opts} for path, command in commands.items()}
    assert problem("plan S.py --assume-sizes", known) == "" and problem("tasks --json", known) == ""
    assert problem("plan S.py --assume-size", known) == "--assume-size" and "'pln'" in problem("pln S.py", known)
    said = [(path, command) for path in (*TEXTS, *USED) for command in commands_in(path)]
    assert len(said) > 150 and len({path for path, _ in said if path in USED}) > 10
    wrong = [f"{path.relative_to(ROOT)}: xlray {c}: {problem(c, known)}" for path, c in said if problem(c, known)]
    assert not wrong, "\n".join(wrong)


def shown_sweeps() -> dict[str, str]:
    """Whole sweep files that pages show, those that say `...` left out (pages with plans have tests of their own)."""
    found = [(page, code) for page in TEXTS for _, code in BLOCK.findall(page.read_text(encoding="utf-8"))]
    whole = [(page, code) for page, code in found if "sweep = Sweep(" in code and "..." not in code]
    return {f"{page.stem}-{n}": code for n, (page, code) in enumerate(whole)}


@pytest.mark.parametrize("name", shown_sweeps())
def test_a_sweep_that_a_page_shows_can_be_planned(name: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.py"
    file.write_text(shown_sweeps()[name], encoding="utf-8")
    sweep = load_sweep(file)
    assert len(plan_sweep(sweep, None, assume_sizes=True).trials) == len(sweep.trials()) > 0


@pytest.mark.parametrize("page", TEXTS, ids=[page.relative_to(ROOT).as_posix() for page in TEXTS])
def test_what_pages_show_as_python_is_python(page: Path) -> None:
    for code in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        compile(code, str(page), "exec")


def test_no_sweep_file_names_a_folder_outside_the_repository() -> None:
    found = [path.name for path in (ROOT / "sweeps").glob("*.py") if re.search(r"\.\./|[\"']/\w", path.read_text())]
    assert not found


def test_what_pages_take_from_the_code_can_be_made() -> None:
    module = hooks()
    wanted = {name for page in PAGES for name in module.GENERATED.findall(page.read_text(encoding="utf-8"))}
    assert wanted == set(module.GENERATORS)
    assert all(len(module.GENERATORS[name]().splitlines()) > 5 for name in wanted)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None:
        pytest.skip("the extra docs is not installed")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    ended = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "site" / "reference" / "sweep" / "index.html").read_text(encoding="utf-8")
    assert "xlray.Sweep" in page and "select_by" in page
    assert (tmp_path / "site" / "search" / "search_index.json").exists()
    loaded = re.findall(r"<(?:script|link rel=.stylesheet.)[^>]+(?:src|href)=\"(https?://[^\"]+)", page)
    assert not loaded, f"the site loads {loaded} from elsewhere"
