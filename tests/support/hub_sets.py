"""Sets in the Hub's layout, and a Hub that is a folder."""

from functools import partial
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray.tasks import Hub, Task
from xlray.tasks.shapes import labelled

SHAPE = partial(labelled, text="sentence", label="label", names={"0": "no", "1": "yes"}, left_out=("-1",))
COMMIT = "c" * 40


def hub_folder(folder, **splits):
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        table = pa.table({"sentence": [s for s, _ in rows], "label": [label for _, label in rows]})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def hub_task(identifier, revision=None, splits=None, shape=SHAPE, **more):
    hub = Hub(str(identifier), revision, splits or {"train/en": "train"}, shape, more.pop("config", None))
    return Task("yes_no", "classification", ("en",), hub, labels=("no", "yes"), **more)


def failure(name):
    """One of the Hub's errors, without the response that it is made of."""
    from huggingface_hub import errors

    error = getattr(errors, name).__new__(getattr(errors, name))
    error.args = (f"{name}\nmore lines",)
    return error


@pytest.fixture
def one_set(tmp_path, monkeypatch):
    """A set in the Hub's layout, and a Hub that is this folder: what it says and what was asked of it."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = hub_folder(tmp_path / "set", train=[("a", 0), ("b", 1), ("c", 1)], validation=[("d", 0)])
    said = SimpleNamespace(licence="mit", commits={COMMIT}, error=None, asked=[], folder=folder)
    build = datasets.load_dataset_builder

    def dataset_info(repository, revision=None, timeout=None):
        said.asked.append((repository, revision))
        if said.error is not None:
            raise said.error
        if repository != "some/set":
            raise failure("RepositoryNotFoundError")
        if revision is not None and revision not in said.commits:
            raise failure("RevisionNotFoundError")
        return SimpleNamespace(sha=COMMIT, card_data=SimpleNamespace(license=said.licence))

    def load_dataset_builder(repository, revision=None, **chosen):
        return build(str(folder) if repository == "some/set" else repository, **chosen)

    monkeypatch.setattr(huggingface_hub, "dataset_info", dataset_info)
    monkeypatch.setattr(datasets, "load_dataset_builder", load_dataset_builder)
    return said
