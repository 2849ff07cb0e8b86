"""Finished run folders that nothing was trained for: made-up numbers, one real figure."""

import math
from pathlib import Path

import numpy as np
import xarray

from bnjax import draw
from bnjax.frame import files, folder, results
from bnjax.frame import study as studies
from bnjax.frame.published_curves import Curve
from bnjax.frame.results import Run
from bnjax.judge.verdict import Number, Verdict
from bnjax.report import page

STEPS, EVERY, POINTS = 40, 10, 5
PUBLISHED = {
    ("loss", norm): Curve(np.array([0.0, 50.0]), np.array([1.0, 0.5]), np.array([2.0, 1.5]))
    for norm in ("none", "batch")
}
NUMBERS = (
    Number("ratio", 1.3, 1.1, 1.5, 2, "", 1.0),
    Number("gap", 0.05, math.nan, math.nan, 1, "points"),
)
VERDICTS = [
    Verdict(
        f"claim-{verdict.split()[0]}", "batch makes the loss smoother", "Santurkar et al. 2018",
        "the ratio none/batch is above 1", "1.3 [1.1, 1.5] over 2 seeds", "", verdict, "", NUMBERS,
    )
    for verdict in ("supported", "not supported", "inconclusive")
]  # fmt: skip
FACTS = {"dataset": "made up", "device": "cpu", "platform": "cpu", "jax": "0.12", "commit": "0abc"}
FACTS["script"] = "bnjax/studies/landscape 0123456789ab"
# Label and inner axes of each measured variable.
VARIABLES = {
    "train_loss": ("Minibatch loss", "step"),
    "train_accuracy": ("Minibatch accuracy", "step"),
    "train_finite": ("train_finite", "step"),
    "test_loss": ("Test loss", "test_step"),
    "test_accuracy": ("Test accuracy", "test_step"),
    "line_losses": ("Loss L(θ − ηd)", "probe_step direction step_size"),
    "line_smoothness": ("Effective smoothness β(η)", "probe_step direction step_size"),
    "line_loss": ("Loss L(θ) on the probed batch", "probe_step direction"),
    "shift_cosines": ("Cosine of G and G′ of the layers", "probe_step layer"),
    "plane_losses": ("Loss", "row column"),
    "plane_columns": ("second direction", "row column"),
    "plane_row": ("first direction", "row"),
    "trajectory_losses": ("Loss", "row column"),
    "trajectory_columns": ("first component", "row column"),
    "trajectory_row": ("second component", "row"),
    "principal_coordinates": ("The path's coordinates", "path probe_step plane_axis"),
}
LABELS = {name: label for name, (label, _) in VARIABLES.items()}
AXES = {"norm": "normaliser", "step_size": "step size η", "rank": "rank of the eigenvalue"}
AXES |= dict.fromkeys(("step", "test_step", "probe_step"), "training step")


def verdicts(changed=()) -> list[dict]:
    """The verdicts as plain values, some of them with another decision."""
    numbers = [number._asdict() for number in NUMBERS]
    made = [one._asdict() | {"numbers": numbers} for one in VERDICTS]
    return files.plain([one | dict(changed).get(place, {}) for place, one in enumerate(made)])


def options(**changed) -> dict:
    """The plain options of a landscape run."""
    own = {"steps": STEPS, "probe_every": EVERY, "evaluate_every": 20, "seeds": 2, "lr": 0.4}
    return {**files.plain(vars(studies.find("landscape").preset("quick"))), **own, **changed}


def variable(name: str, dims, values: np.ndarray) -> xarray.Variable:
    probe = name.partition("_")[0]
    attrs = {"long_name": LABELS.get(name, name), "units": "", "probe": probe}
    bounded = int("accuracy" in name or "cosine" in name)
    return xarray.Variable(
        dims, values, attrs | {"definition": f"On the {probe}.", "bounded": bounded}
    )


def measured(norms=("none", "batch"), steps=STEPS, factor=1.0, **changed) -> Run:
    """Made-up results of two seeds: curves, slices along a line, and surfaces."""
    generator = np.random.default_rng(0)
    axes = {
        "norm": np.array(norms, object),
        "seed": np.arange(2),
        "step": np.arange(steps),
        "test_step": np.array([0, steps]),
        "probe_step": np.arange(0, steps, EVERY),
        "layer": np.array(["conv1", "conv2", "output"], object),
        "direction": np.array(["gradient"], object),
        "step_size": np.array([0.2, 0.4, 0.8, 1.6], np.float32),
        "row": np.arange(POINTS),
        "column": np.arange(POINTS),
        "path": np.array(["principal"], object),
        "plane_axis": np.array([1, 2]),
    }
    places = np.linspace(-1, 1, POINTS, dtype=np.float32)
    variables = {}
    for name, (_, inner) in VARIABLES.items():
        own = ("norm", "seed", *inner.split())
        values = factor * generator.uniform(0.1, 2.0, [len(axes[axis]) for axis in own])
        if name.endswith(("columns", "row")):
            values[:] = places
        if name == "train_finite":
            values[:] = 1
        if name == "principal_coordinates":
            values -= factor  # on both sides of the trained network
        variables[name] = variable(name, own, values.astype(np.float32))
    used = {axis for one in variables.values() for axis in one.dims}
    coords = {
        axis: (axis, values, {"long_name": AXES.get(axis, axis)})
        for axis, values in axes.items()
        if axis in used
    }
    own = options(norms=list(norms), steps=steps, **changed)
    return Run(xarray.Dataset(variables, coords), own, FACTS)


def figure(run: Run, published) -> draw.Drawing:
    """One figure of lines, bands and published curves."""
    words = {"title": "Training curves", "text": "The loss.", "source": "Santurkar 2018"}
    drawing = draw.Drawing("training", (1, 2), (6.0, 3.0), **words)
    for norm in run.norms:
        look, loss = draw.LOOKS[norm], run["train_loss"].sel(norm=norm)
        drawing.panels[0].line(loss["step"], loss.isel(seed=0), look.label, look)
        drawing.panels[1].band(loss["step"], loss.min("seed"), loss.max("seed"), look.label, look)
    drawing.panels[0].published(published, "loss", run.norms)
    drawing.panels[0].set(title="a  Loss", ylabel="loss")
    drawing.panels[1].set(title="b  Range", ylabel="loss")
    return drawing


def write(root: Path, run: Run | None = None, judged=None, published=None) -> Path:
    """A finished run below a root; returns its folder."""
    run = measured() if run is None else run
    path = root / "landscape" / folder.digest_of(run.options, [])
    path.mkdir(parents=True)
    record = folder.Description("landscape", dict(run.options), [], dict(run.facts), 4, [])
    folder.write_config(path, record)
    results.write(run, path)
    drawing = figure(run, published or {})
    saved = drawing.save(path)
    names = [folder.METRICS, folder.RESULTS, *(one.name for one in saved)]
    about = {
        "figures": [page.describe(drawing, saved)],
        "question": "Why?",
        "source": "A paper",
    }
    folder.write_summary(path, verdicts() if judged is None else judged, {}, names, **about)
    return path
