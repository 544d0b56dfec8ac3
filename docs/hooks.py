"""What the site takes from the code when it is built, and how its pages link to files outside `docs/`.

A comment `<!-- generated: NAME -->` in a page is replaced by what the function `NAME` below returns. A link to a file or
folder of the repository outside `docs/` leads to a page that shows it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GENERATED = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
MERMAID = re.compile(r"^```mermaid\n.*?^```$", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".sbatch": "bash", ".json": "json", ".ipynb": "json"}


def commands() -> str:
    """Every command of the command line with its arguments and options."""
    return "\n".join(_command("xlray " + " ".join(path), command) for path, command in all_commands())


def all_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """(("tasks", "show"), command) of every command, those of groups included."""
    from typer.main import get_command

    from xlray.cli.main import app

    def walk(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name in sorted(group.commands):
            command = group.commands[name]
            if hasattr(command, "commands"):
                yield from walk(command, (*path, name))
            else:
                yield (*path, name), command

    return walk(get_command(app), ())


def exit_codes() -> str:
    """The exit codes and what they mean."""
    from xlray.errors import EXIT_CODES

    return _table(("code", "meaning"), ((f"**{code}**", meaning) for code, meaning in EXIT_CODES.items()))


def result_columns() -> str:
    """The tables below `results/` with the type and meaning of each column."""
    from xlray.analysis.results import COLUMNS, ITEMS, PHASES, SCORES, STEPS, TRIALS

    parts = []
    tables = {"scores": SCORES, "trials": TRIALS, "phases": PHASES, "items": ITEMS, "steps": STEPS}
    for name, schema in tables.items():
        rows = ((f"`{field.name}`", f"`{field.type}`", COLUMNS[field.name]) for field in schema)
        parts.append(f"### {name}.parquet\n\n{_table(('column', 'type', 'meaning'), rows)}")
    return "\n\n".join(parts)


def registered_tasks() -> str:
    """All tasks of the registry, by role."""
    from xlray.tasks import TASKS

    parts = []
    for role in ("target", "intermediate", "text"):
        found = [task for task in TASKS.values() if task.role == role]
        rows = ((f"`{t.name}`", t.kind, ", ".join(t.languages), t.licence, t.citation) for t in found)
        table = _table(("task", "kind", "languages", "licence", "citation"), rows)
        parts.append(f"## {role.capitalize()} tasks ({len(found)})\n\n{table}")
    return "\n\n".join(parts)


def pool_members() -> str:
    """The named pools with their tasks by kind."""
    from xlray import pools, subsets

    parts = []
    for name, pool in ((name, value) for name, value in vars(pools).items() if isinstance(value, subsets.Pool)):
        kinds = dict(pool.kinds or {})
        rows = (
            (kind, ", ".join(f"`{task}`" for task in pool if kinds[task] == kind))
            for kind in sorted(set(kinds.values()))
        )
        head = f"## pools.{name}\n\n{len(pool)} tasks, `source` {pool.source!r}."
        parts.append(f"{head}\n\n{_table(('kind', 'tasks'), rows)}")
    return "\n\n".join(parts)


def contributing() -> str:
    """The repository's CONTRIBUTING.md, with its links as seen from `docs/`."""
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")


def _drawn(match: re.Match[str]) -> str:
    """A Mermaid graph as GitHub draws it; here, where nothing may be loaded from elsewhere, what each box imports."""
    edges = re.findall(r"(\w+) --> (\w+)", match[0])
    rows = ((f"`{a}`", ", ".join(f"`{b}`" for x, b in edges if x == a)) for a in dict.fromkeys(a for a, _ in edges))
    return _table(("package", "imports (beside what follows from others)"), rows)


GENERATORS = {
    f.__name__: f for f in (commands, exit_codes, result_columns, registered_tasks, pool_members, contributing)
}


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each file and folder outside `docs/` that a page links to."""
    from mkdocs.structure.files import File, InclusionLevel

    for page in list(files.documentation_pages()):
        for target in _outside(page.src_uri, page.content_string):
            if files.get_file_from_path(_source_page(target)) is None:
                content = _shown(ROOT / target, target)
                files.append(
                    File.generated(config, _source_page(target), content=content, inclusion=InclusionLevel.NOT_IN_NAV)
                )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is generated, and turn links to files outside `docs/` into links to their pages."""
    here = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", here, match[1]))
        return match[0] if target.startswith("docs/") else "](" + posixpath.relpath(_source_page(target), here or ".")

    markdown = MERMAID.sub(_drawn, markdown)
    return OUTSIDE.sub(link, GENERATED.sub(lambda match: GENERATORS[match[1]](), markdown))


def _outside(page: str, markdown: str) -> Iterator[str]:
    """Paths, from the repository's top, of what a page links to outside `docs/`."""
    for match in OUTSIDE.finditer(markdown):
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match[1]))
        if not target.startswith("docs/"):
            yield target


def _source_page(target: str) -> str:
    return f"source/{target}.md"


def _shown(path: Path, name: str) -> str:
    """A page that shows one file, or all files of a folder."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    parts = [f"# {name}"]
    for file in (file for file in files if file.is_file()):
        fence = f"````{LANGUAGES.get(file.suffix, 'text')}\n{file.read_text(encoding='utf-8').rstrip()}\n````"
        parts.append(f"## {file.name}\n\n{fence}" if path.is_dir() else fence)
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = command.get_usage(context).removeprefix("Usage: ")
    help_text = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help or "")
    records = (parameter.get_help_record(context) for parameter in command.params)
    rows = ((f"`{names}`", text) for names, text in filter(None, records))
    return f"## {name}\n\n{help_text}\n\n```\n{' '.join(usage.split())}\n```\n\n{_table(('argument or option', ''), rows)}\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
