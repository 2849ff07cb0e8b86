"""Finished run folders that nothing was trained for: made-up numbers, one real figure."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from bnjax.commands import catalogue
from bnjax.draw import numbers, style
from bnjax.frame import files, folder, names, results
from bnjax.frame.published_curves import Curve
from bnjax.frame.results import Results

STEPS, EVERY, POINTS = 40, 10, 5
PUBLISHED = {
    ("loss", norm): Curve(np.array([0.0, 50.0]), np.array([1.0, 0.5]), np.array([2.0, 1.5]))
    for norm in ("none", "batch")
}
CLAIMS = [
    {
        "identifier": f"claim-{verdict.split()[0]}",
        "sentence": "batch makes the loss smoother",
        "source": "Santurkar et al. 2018",
        "rule": "the ratio none/batch is above 1",
        "measured": "1.3 [1.1, 1.5] over 2 seeds",
        "published": "",
        "verdict": verdict,
        "reason": "",
    }
    for verdict in ("supported", "not supported", "inconclusive")
]
FACTS = {"dataset": "made up", "device": "cpu", "platform": "cpu", "jax": "0.12", "commit": "0abc"}


@functools.cache
def options() -> dict:
    """The plain options of a landscape run."""
    preset = catalogue.find_experiment("landscape").presets["quick"]
    return files.plain(
        dataclasses.asdict(
            dataclasses.replace(
                preset, steps=STEPS, probe_every=EVERY, evaluate_every=20, seeds=2, lr=0.4
            )
        )
    )


def measured(norms=("none", "batch"), steps=STEPS, factor=1.0, **changed) -> Results:
    """Made-up results of two seeds: curves, slices along a line, and a surface."""
    generator = np.random.default_rng(0)
    config = {**options(), "norms": list(norms), "steps": steps, **changed}
    axes = {
        "norm": np.array(norms),
        "seed": np.arange(2),
        "step": np.arange(steps),
        "test_step": np.array([0, steps]),
        "probe_step": np.arange(0, steps, EVERY),
        "layer": np.array(["conv1", "conv2", "output"]),
        "direction": np.array(["gradient"]),
        "step_size": np.array([0.2, 0.4, 0.8, 1.6], np.float32),
        "row": np.arange(POINTS),
        "column": np.arange(POINTS),
        "path": np.array(["principal"]),
        "plane_axis": np.array([1, 2]),
    }
    dims = {
        "train.loss": ("step",),
        "train.accuracy": ("step",),
        "train.finite": ("step",),
        "test.loss": ("test_step",),
        "test.accuracy": ("test_step",),
        "line.losses": ("probe_step", "direction", "step_size"),
        "line.smoothness": ("probe_step", "direction", "step_size"),
        "line.loss": ("probe_step", "direction"),
        "shift.cosines": ("probe_step", "layer"),
        "plane.losses": ("row", "column"),
        "plane.columns": ("row", "column"),
        "plane.row": ("row",),
        "trajectory.losses": ("row", "column"),
        "trajectory.columns": ("row", "column"),
        "trajectory.row": ("row",),
        "principal.coordinates": ("path", "probe_step", "plane_axis"),
    }
    dims = {name: ("norm", "seed", *inner) for name, inner in dims.items()}
    arrays = {
        name: (factor * generator.uniform(0.1, 2.0, [len(axes[a]) for a in own])).astype(np.float32)
        for name, own in dims.items()
    }
    arrays["train.finite"][:] = 1
    places = np.linspace(-1, 1, POINTS, dtype=np.float32)
    for view in ("plane", "trajectory"):
        arrays[f"{view}.columns"][:] = places
        arrays[f"{view}.row"][:] = places
    arrays["principal.coordinates"] -= factor  # on both sides of the trained network
    return Results(arrays, dims, axes, config, FACTS)


def draw(found: Results, published, place: Path) -> list[Path]:
    """One figure of lines, bands and published curves."""
    with style.figure(1, 2, size=(6.0, 3.0)) as (drawn, panels):
        for norm in map(str, found.axes["norm"]):
            look = style.LOOKS[norm]
            loss = found.select("train.loss", norm=norm)
            steps = found.axes["step"]
            panels[0].plot(steps, loss[0], color=look.colour, label=look.label)
            low, high = loss.min(axis=0), loss.max(axis=0)
            panels[1].fill_between(
                steps, low, high, color=look.colour, label=numbers.hidden(look.label)
            )
        style.overlay(panels[0], found.axes["norm"], published, "loss")
        panels[0].set(title="a  Loss", ylabel="loss")
        panels[1].set(title="b  Range", ylabel="loss")
        panels[0].legend()
        return style.save(drawn, place, "training")


def write(root: Path, found: Results | None = None, claims=CLAIMS, published=None) -> Path:
    """A finished run below a root; returns its folder."""
    found = measured() if found is None else found
    path = root / "landscape" / names.digest_of(found.config, [])
    path.mkdir(parents=True)
    folder.write_config(path, folder.Description("landscape", found.config, [], found.facts, 4, []))
    results.write(found, path)
    drawn = draw(found, published or {}, path)
    names_of = [folder.METRICS, folder.PROBES, *(figure.name for figure in drawn)]
    folder.write_summary(path, claims, names_of)
    return path
