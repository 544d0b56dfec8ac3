"""Makes the data folder of `sweeps/finnish_9_vs_20_small.py` from one that has a Finnish dev file for each target.

    python docs/study/prepare.py DATA OUT

OUT gets a link to each folder of DATA, but for two: `udpos` and `panx`, of whose Finnish dev files a quarter becomes dev (the
sentences 1, 5, 9, ...) and a quarter test (3, 7, 11, ...), since their Finnish test files are not in DATA and scoring all of
their sentences would cost time in each trial. `udpos` also gets half of the dev sentences of Estonian and Hungarian, from
the treebanks `ud_et_ewt` and `ud_hu_szeged` of DATA. xlray divides TyDiQA's dev file and Tatoeba's queries itself.
"""

import sys
from pathlib import Path

from xlray.tasks.readers import conllu

TREEBANKS = {"et": "ud_et_ewt/et_ewt-ud-dev.conllu", "hu": "ud_hu_szeged/hu_szeged-ud-dev.conllu"}


def main(data: Path, out: Path) -> None:
    """Fill `out`, which must not exist yet."""
    out.mkdir(parents=True)
    for folder in sorted(data.resolve().iterdir()):
        if folder.name not in ("udpos", "panx"):
            (out / folder.name).symlink_to(folder)
            continue
        (out / folder.name).mkdir()
        for file in sorted(folder.iterdir()):
            if file.name != "dev-fi.tsv":
                (out / folder.name / file.name).symlink_to(file)
        sentences = [s for s in (folder / "dev-fi.tsv").read_text(encoding="utf-8").split("\n\n") if s.strip()]
        for split, part in (("dev", sentences[0::4]), ("test", sentences[2::4])):
            write(out / folder.name / f"{split}-fi.tsv", part)
            print(f"{folder.name}: {len(part):,} sentences in {split}-fi.tsv")
    for language, treebank in TREEBANKS.items():
        records = list(conllu((data / treebank,)))[0::2]
        write(
            out / "udpos" / f"dev-{language}.tsv",
            ["\n".join(f"{a}\t{b}" for a, b in zip(r["tokens"], r["tags"], strict=True)) for r in records],
        )
        print(f"udpos: {len(records):,} sentences in dev-{language}.tsv")


def write(path: Path, sentences: list[str]) -> None:
    """Write sentences with blank lines between them."""
    path.write_text("\n\n".join(sentence.strip("\n") for sentence in sentences) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
