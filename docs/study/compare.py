"""Compares the scores of a storage with those of the study's: `python docs/study/compare.py STORAGE`.

For whoever ran a part of `sweeps/finnish_9_vs_20_small.py` again: phases of the same spec have the same name in both.
"""

import io
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq

Scores = dict[tuple[str, ...], float]


def scores(table: io.BytesIO | Path) -> Scores:
    """Values of a `scores.parquet` by what they are of."""
    rows = pq.read_table(table).to_pylist()
    return {tuple(str(row[key]) for key in ("task", "language", "split", "metric")): row["value"] for row in rows}


def main(storage: Path) -> None:
    """Print how far each phase that both have is off at most, in points, the largest difference last."""
    found: list[tuple[float, str]] = []
    with tarfile.open(Path(__file__).with_name("storage.tar.xz")) as archive:
        for member in archive:
            ours = storage / member.name
            if ours.name != "scores.parquet" or not ours.exists():
                continue
            extracted = archive.extractfile(member)
            assert extracted is not None
            stored, again = scores(io.BytesIO(extracted.read())), scores(ours)
            if stored.keys() != again.keys():
                sys.exit(f"{member.name}: must hold the same scores, but got {sorted(stored.keys() ^ again.keys())}")
            found.append((max(abs(stored[key] - again[key]) for key in stored), member.name))
    if not found:
        sys.exit(f"{storage}: must hold phases of the study, but has none of its scores.")
    for difference, name in sorted(found):
        print(f"{difference:8.4f}  {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
