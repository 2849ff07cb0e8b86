"""Each notebook is what jupytext makes of its Python file, and runs from first to last cell."""

import os
import re
import signal
import threading
import time
import tomllib
from pathlib import Path

import pytest
import xarray

jupytext = pytest.importorskip("jupytext", reason="pip install 'bnjax[notebooks]'")
nbformat = pytest.importorskip("nbformat", reason="pip install 'bnjax[notebooks]'")

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
LARGEST = 300_000  # bytes
TINY = ["--model", "mlp", "--width", "0.1", "--steps", "8", "--probe-every", "2"]
TINY += ["--batch-size", "32", "--evaluate-every", "8"]
# What stands behind the cell tagged `parameters`, as papermill would put it there.
TPU = "paper_on_a_tpu"
TOY = {
    "add_a_normaliser": {"options": TINY},
    "figure_in_five_cells": {"options": TINY},
    "flight_recorder": {"examples": 32, "width": 8, "steps": 12},
    "probe_your_own_model": {"examples": 32, "width": 8, "steps": 5},
    TPU: {"smaller": ["--dataset", "digits", *TINY]},
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


def make_client(nbclient, script, parameters, place, monkeypatch):
    """What executes a notebook with these parameters in a folder."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(place / "ipython"))
    return nbclient.NotebookClient(
        with_parameters(jupytext.read(script), parameters),
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": place}},
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the kernel's client, not of ours
def test_a_notebook_runs(script, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install 'bnjax[notebooks]'")
    pytest.importorskip("ipykernel", reason="pip install 'bnjax[notebooks]'")
    if "equinox" in script.read_text():
        pytest.importorskip("equinox", reason="pip install 'bnjax[notebooks]'")
    client = make_client(nbclient, script, TOY[script.stem], tmp_path, monkeypatch)
    notebook = client.execute()
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


@pytest.mark.filterwarnings("default")
def test_the_tpu_notebook_continues_after_its_session_was_lost(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="pip install 'bnjax[notebooks]'")
    pytest.importorskip("ipykernel", reason="pip install 'bnjax[notebooks]'")
    steps = 3000
    smaller = ["--dataset", "digits", *TINY, "--steps", str(steps), "--evaluate-every", str(steps)]
    smaller += ["--probe-every", "500", "--checkpoint-steps", "100", "--norms", "none"]
    parameters = {"folder": str(tmp_path / "drive"), "smaller": smaller}
    script = ROOT / "notebooks" / f"{TPU}.py"
    lost = make_client(nbclient, script, parameters, tmp_path, monkeypatch)

    def lose_the_session():
        latest = time.monotonic() + 200
        while time.monotonic() < latest:
            if [*tmp_path.glob("drive/runs/landscape/*/checkpoints/*/[0-9]*/MANIFEST.json")]:
                return os.kill(lost.km.provisioner.pid, signal.SIGKILL)
            time.sleep(0.01)

    watching = threading.Thread(target=lose_the_session)
    watching.start()
    with pytest.raises(nbclient.exceptions.DeadKernelError):
        lost.execute()
    watching.join()
    (run,) = (tmp_path / "drive" / "runs" / "landscape").glob("*")
    assert not (run / "summary.json").exists()

    found = make_client(nbclient, script, parameters, tmp_path, monkeypatch).execute()
    printed = "".join(
        output.get("text", "") for cell in found.cells for output in cell.get("outputs", ())
    )
    (step,) = re.findall(r"unfinished: 0 of 1 done, step (\d+)", printed)
    assert 0 < int(step) < steps
    assert "step 0 begins" not in printed
    with xarray.open_dataset(run / "results.nc") as results:  # those before from the checkpoint
        assert results["train_loss"].notnull().sum() == steps


def test_the_tpu_notebook_refuses_the_paper_preset_where_there_is_no_accelerator():
    cells = [cell.source for cell in jupytext.read(ROOT / "notebooks" / f"{TPU}.py").cells]
    (devices,) = [source for source in cells if "jax.devices()" in source]
    with pytest.raises(RuntimeError, match="no TPU and no GPU"):
        exec(devices, {"smaller": []})


def test_the_address_of_the_repository_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = project.get("urls", {}).get("Repository", "")
    (line,) = [
        line
        for line in (ROOT / "notebooks" / f"{TPU}.py").read_text().splitlines()
        if line.startswith("repository = ")
    ]
    assert line in ('repository = ""', f'repository = "{known}"')
