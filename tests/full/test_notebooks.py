"""Each notebook is what jupytext makes of its Python file, and runs from first to last cell."""

import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="pip install 'bnjax[notebooks]'")
nbformat = pytest.importorskip("nbformat", reason="pip install 'bnjax[notebooks]'")

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
LARGEST = 300_000  # bytes
TINY = ["--model", "mlp", "--width", "0.1", "--steps", "8", "--probe-every", "2"]
TINY += ["--batch-size", "32", "--evaluate-every", "8"]
# What stands behind the cell tagged `parameters`, as papermill would put it there.
TOY = {
    "add_a_normaliser": {"options": TINY},
    "figure_in_five_cells": {"options": TINY},
    "flight_recorder": {"examples": 32, "width": 8, "steps": 12},
    "probe_your_own_model": {"examples": 32, "width": 8, "steps": 5},
}


def cells(notebook) -> list[tuple[str, str, list[str]]]:
    """What a notebook says, without what running it added."""
    return [
        (cell.cell_type, cell.source, list(cell.metadata.get("tags", ())))
        for cell in notebook.cells
    ]


def with_parameters(notebook, values):
    """The notebook with a cell of other parameters behind its own."""
    tags = [cell.metadata.get("tags", ()) for cell in notebook.cells]
    (position,) = [i for i, found in enumerate(tags) if "parameters" in found]
    source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    notebook.cells.insert(position + 1, nbformat.v4.new_code_cell(source))
    return notebook


def test_every_script_has_a_notebook_and_every_notebook_a_script():
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == {path.stem for path in SCRIPTS} == set(TOY)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_is_what_jupytext_makes_of_its_script(script):
    path = script.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert cells(notebook) == cells(jupytext.read(script))
    assert path.stat().st_size < LARGEST


def test_the_figure_takes_five_cells():
    notebook = jupytext.read(ROOT / "notebooks" / "figure_in_five_cells.py")
    assert sum(cell.cell_type == "code" for cell in notebook.cells) == 5


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the kernel's client, not of ours
def test_a_notebook_runs(script, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install 'bnjax[notebooks]'")
    pytest.importorskip("ipykernel", reason="pip install 'bnjax[notebooks]'")
    if "equinox" in script.read_text():
        pytest.importorskip("equinox", reason="pip install 'bnjax[notebooks]'")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = with_parameters(jupytext.read(script), TOY[script.stem])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code" and ("plt.show()" in cell.source or "display(" in cell.source):
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), (
                cell.source
            )
    printed = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    assert not [output for output in printed if output.output_type == "error"]
    assert not [output for output in printed if "minibatch loss" in output.get("text", "")]
    for cell in notebook.cells:
        if "bnjax.start(" in cell.source and cell.cell_type == "code":
            texts = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
            (bars,) = [text for text in texts if "all arms" in text]
            assert re.search(r"all arms .* (\d+)/\1 ", bars)
