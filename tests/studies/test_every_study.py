"""Every study at toy size: it runs, resumes bit for bit, judges, draws, and its numbers match."""

import csv
import dataclasses
import html
import json
import math

import jax
import numpy as np
import pytest
import recomputed
import xarray
from toy_runs import stop_at

import bnjax
from bnjax.commands import command_line
from bnjax.frame import folder, options, results
from bnjax.frame import study as studies
from bnjax.frame.interrupts import INTERRUPTED

NAMES = studies.names()
DECIDED = ("supported", "not supported", "inconclusive")


@pytest.fixture(scope="module", autouse=True)
def as_a_person_runs_it():
    """optax's schedules need JAX's usual promotion of dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module", params=NAMES)
def made(request, tmp_path_factory):
    """A study and the folder of its toy run."""
    out = tmp_path_factory.mktemp(request.param)
    return studies.find(request.param), bnjax.start(
        request.param, "--preset", "toy", "--out", str(out)
    )


def test_a_toy_run_is_whole(made, monkeypatch, capsys):
    study, path = made
    assert_results_are_declared(study, path)
    summary = folder.read_summary(path)
    assert not summary.failed
    assert_verdicts_are_whole(summary.verdicts)
    again = recomputed.recompute(study.name, recomputed.open_run(path))
    assert recomputed.differences(again, summary.verdicts) == []
    assert_figures_have_numbers(path, summary.files)
    page = (path / "report.html").read_text()
    assert study.question in html.unescape(page)
    for verdict in summary.verdicts:
        assert verdict["identifier"] in page
    found = folder.verify(path)
    assert found.finished
    assert not found.damage
    assert_resumed_alike(study, path, monkeypatch)


def assert_results_are_declared(study, path):
    """Every array has named axes, a label and numbers; whoever has xarray can read it."""
    with xarray.open_dataset(path / folder.RESULTS) as data:
        assert set(data.dims) == set(data.coords)
        for name, values in data.data_vars.items():
            assert name == "complete" or values.attrs["long_name"], name
            assert np.isfinite(values.values).any() or name in MAY_BE_EMPTY, name
        assert (data["complete"] == 1).all()
    run = results.read(path)
    rows = [json.loads(line) for line in (path / folder.METRICS).read_text().splitlines()]
    assert {row["norm"] for row in rows if "norm" in row} <= set(run.norms)
    assert len([row for row in rows if "train_loss" in row]) == run["train_loss"].size


# What a toy run of perceptrons has none of: kernels behind BatchNorm in every arm, and the like;
# and what a study does not measure along its lines.
MAY_BE_EMPTY = {
    "earth_mover_norm_bound",
    "line_curvature_limit",
    "line_derivative_mode",
    "line_smoothness_limit",
    "line_rounding_noise",
}


def assert_verdicts_are_whole(verdicts):
    assert verdicts
    names = [verdict["identifier"] for verdict in verdicts]
    assert len(set(names)) == len(names)
    for verdict in verdicts:
        assert verdict["verdict"] in DECIDED
        assert verdict["sentence"]
        assert verdict["rule"]
        assert verdict["reason"] or verdict["verdict"] != "inconclusive", verdict["identifier"]


def assert_figures_have_numbers(path, files):
    """Each figure has its three pictures, and a table whose cells are numbers or names."""
    names = {name.rpartition(".")[0] for name in files if name.endswith(".png")}
    assert names
    for name in names:
        assert {f"{name}.pdf", f"{name}.svg", f"{name}.csv"} <= set(files)
        with open(path / f"{name}.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert all(row["panel"] and row["kind"] for row in rows)
        values = [row[key] for row in rows for key in ("y", "low", "high", "value") if row[key]]
        assert any(math.isfinite(float(value)) for value in values if is_number(value))


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def assert_resumed_alike(study, path, monkeypatch):
    """A run that is stopped in the middle ends with the very arrays of one that was not."""
    out = path.parents[1] / "stopped"
    call = ["--preset", "toy", "--checkpoint-steps", "1", "--out", str(out)]
    bare = dataclasses.replace(study, parts={"CLAIMS": (), "FIGURES": ()})
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert command_line.main(bare, call) == INTERRUPTED
    assert command_line.main(bare, call) == 0
    (again,) = (out / study.name).iterdir()
    assert results.read(again).data.identical(results.read(path).data)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_described_and_its_presets_are_legal(name):
    study = studies.find(name)
    assert study.name == name
    assert study.is_shipped
    assert study.question.endswith("?")
    assert study.script.startswith(f"bnjax/studies/{name} ")
    assert {"quick", "paper", "toy"} <= set(study.presets)
    for preset in study.presets:
        chosen = study.preset(*preset.split(" "))
        assert isinstance(chosen, study.options)
        options.check(chosen)
