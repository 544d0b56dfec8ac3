from pathlib import Path

import pytest
from reported_sweep import make_sweep

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "answer.ipynb"


def cells():
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_stored_executed():
    code = [cell for cell in cells().cells if cell.cell_type == "code"]
    assert len(code) >= 5 and [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert "/tmp" not in NOTEBOOK.read_text()
    assert 'load_results("quickstart", storage="runs")' in "".join(cell.source for cell in code)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    client = pytest.importorskip("nbclient")
    make_sweep(tmp_path / "runs" / "sweeps" / "quickstart", seeds=(0, 1, 2))
    notebook = cells()
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    page = notebook.cells[-1].outputs[0]["data"]["text/plain"]
    assert "answer.html" in page
