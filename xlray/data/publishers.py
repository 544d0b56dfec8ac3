"""Where the publishers of the target tasks keep their files, and how these become the files that xlray reads."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xlray.errors import InputError
from xlray.storage.files import atomic_file
from xlray.tasks.readers import conllu
from xlray.tasks.targets import PIVOTS, TYDIQA

LANGUAGES = ("en", "fi", *PIVOTS)
LASER_COMMIT = "74bc6ae7ffb7cba670fe0f428d0ede9f666fb821"
LASER = f"https://raw.githubusercontent.com/facebookresearch/LASER/{LASER_COMMIT}/data/tatoeba/v1"
LINDAT = "https://lindat.mff.cuni.cz/repository/xmlui/bitstream/handle/11234/1-3105"
TYDI = "https://storage.googleapis.com/tydiqa/v1.1"
# Computed from the files at that commit of the repository.
LASER_FILES = {
    "tatoeba.fin-eng.fin": "8db3c734f755d578445947f1182f40faf2a9a0eca37561dd248717c088802d60",
    "tatoeba.fin-eng.eng": "322e610359f4d24852e673bbe4524d52c26dbf980aca0760e95c66dc21ecd504",
    "tatoeba.est-eng.est": "94856999ef35e5357502d7ecf50419d0108b99270e507d9c57f8b283bd1be9c5",
    "tatoeba.est-eng.eng": "bb033b10596178452aecf2d97ad25580251375e7d224d8b38dad3d93d69b1e4f",
    "tatoeba.hun-eng.hun": "56bd0682be8c1db6568313650b3310d641cc8d0019d12dd7caf201302350eeac",
    "tatoeba.hun-eng.eng": "5323266e91ddee67ed1ae00d6bbac0cdf3d37749d1b2da3459bf0d424bc71383",
    "tatoeba.rus-eng.rus": "446ff2cae66053c2277d9735b2c2df6b786cae258385f7ade7bed68d8835c6a0",
    "tatoeba.rus-eng.eng": "7b26f52d6085b7c4944d6f5f6f5b6e1932085b42112f1444db515ce59e878fb8",
}
JOINER = "\u200c"
NO_TEXT = "_"  # the form of every word, in treebanks that are published without their text


@dataclass(frozen=True)
class Address:
    """A file of a publisher.

    Attributes:
        sha256: of the file; None where it is not known here.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Publication:
    """The files of a task at their publisher.

    Attributes:
        unpack: makes the task's folder of what was downloaded, by name; returns the names of what it wrote.
    """

    task: str
    addresses: tuple[Address, ...]
    unpack: Callable[[Mapping[str, Path], Path], list[str]]


def _write(path: Path, lines: Iterator[str] | list[str]) -> str:
    with atomic_file(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
    return path.name


def unpack_treebanks(found: Mapping[str, Path], folder: Path, languages: tuple[str, ...] = LANGUAGES) -> list[str]:
    """`<split>-<language>.tsv` from the archive of all treebanks: those of a language one after another, by name.

    A line is a form and its UPOS tag. As XTREME does, spaces within a form and zero-width non-joiners are dropped; unlike
    there, the words of a multi-word token stand by themselves.

    Raises:
        InputError: the archive is damaged, or has no treebank of one of the languages.
    """
    (archive,) = found.values()
    written = []
    with tempfile.TemporaryDirectory(dir=archive.parent) as there:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = member.name.rpartition("/")[2]
                    if member.isfile() and name.endswith(".conllu") and name.partition("_")[0] in languages:
                        source = tar.extractfile(member)
                        assert source is not None, member.name  # a file has content
                        with (Path(there) / name).open("wb") as file:
                            shutil.copyfileobj(source, file)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InputError(
                f"{archive.name}: must be an archive of treebanks, but it cannot be read: {error}."
            ) from error
        for language in languages:
            for split in ("train", "dev", "test") if language == "en" else ("dev", "test"):
                paths = tuple(sorted(Path(there).glob(f"{language}_*-ud-{split}.conllu")))
                if not paths:
                    raise InputError(f"{archive.name}: must hold {language}_*-ud-{split}.conllu, but has none.")
                written.append(_write(folder / f"{split}-{language}.tsv", _tagged(paths)))
    return written


def _tagged(paths: tuple[Path, ...]) -> Iterator[str]:
    for record in conllu(paths):
        for token, tag in zip(record["tokens"], record["tags"], strict=True):
            yield f"{''.join(token.replace(JOINER, '').split()) or NO_TEXT}\t{tag}"
        yield ""


def unpack_questions(found: Mapping[str, Path], folder: Path) -> list[str]:
    """`<language>_tydiqa_<split>.json` from one file of a split with the questions of all languages.

    Raises:
        InputError: a file is no JSON of the SQuAD format, or a question's id names no language.
    """
    written = []
    for name, path in found.items():
        split = "train" if "train" in name else "dev"
        try:
            document = json.loads(path.read_bytes())
            articles = [(article, _language(article)) for article in document["data"]]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            law = "must be JSON of the SQuAD format, with ids that begin with a language"
            raise InputError(f"{name}: {law}, but: {error!r}.") from error
        for language in TYDIQA.values():
            inside = [article for article, own in articles if own == language]
            if inside:
                text = json.dumps({**document, "data": inside}, ensure_ascii=False)
                written.append(_write(folder / f"{language}_tydiqa_{split}.json", [text]))
    return written


def _language(article: Mapping[str, list[dict[str, list[dict[str, str]]]]]) -> str:
    return str(article["paragraphs"][0]["qas"][0]["id"]).partition("-")[0]


def unpack_pairs(found: Mapping[str, Path], folder: Path) -> list[str]:
    """The files as they are."""
    for name, path in found.items():
        with atomic_file(folder / name) as file:
            file.write(path.read_bytes())
    return list(found)


PUBLICATIONS = {
    "udpos": Publication("udpos", (Address(f"{LINDAT}/ud-treebanks-v2.5.tgz"),), unpack_treebanks),
    "tydiqa": Publication(
        "tydiqa",
        (Address(f"{TYDI}/tydiqa-goldp-v1.1-train.json"), Address(f"{TYDI}/tydiqa-goldp-v1.1-dev.json")),
        unpack_questions,
    ),
    "tatoeba": Publication(
        "tatoeba", tuple(Address(f"{LASER}/{name}", sha256) for name, sha256 in LASER_FILES.items()), unpack_pairs
    ),
}
NO_ADDRESS = {
    "panx": "for its publisher has no address that a program can read (it was a share of Amazon Drive); without a folder panx "
    "in the data directory it is read from the Hub (google/xtreme, pinned)"
}
