"""Runs made by hand, for rules that are to be seen on known numbers."""

import numpy as np
import xarray

from bnjax.frame.results import Run

S, N, U = "supported", "not supported", "inconclusive"
PROBES, STEPS = 8, 40
CHANCE = float(np.log(10))
CAPTION = {  # what captions say
    "depth": None,
    "width": 1.0,
    "dropout": 0.0,
    "hidden": [],
    "bias_init": 0.0,
    "pixel_scale": "standardised",
    "kernel_penalty": 0.0,
    "steps": STEPS,
    "batch_size": 32,
    "objective": "cross_entropy",
}
OPTIONS = {"lr": 0.1, "model": "vgg11", "optimizer": "sgd", "layers": [], "window": 3}
OPTIONS |= {"target_accuracy": 0.9, "target_loss": None}


def run(variables=None, *, norms=("none", "batch"), seeds=1, arms="norm", options=None, **coords):
    """A run whose arms train from 1.5 to 0.1, with further variables and axes.

    Args:
      variables: `{name: (axes, values)}`; values are broadcast to the axes, which are those of the
        run (norm, seed, step, probe_step) or of `coords`.
      norms: the arms.
      seeds: their number.
      arms: the axis that the arms lie along.
      options: in place of `OPTIONS`.
      coords: further axes.
    """
    axes = {
        arms: list(norms),
        "seed": list(range(seeds)),
        "step": list(range(STEPS)),
        "probe_step": list(range(0, STEPS, STEPS // PROBES)),
        **{name: list(values) for name, values in coords.items()},
    }
    lead = (*([arms] if arms in axes else []), *(["lr"] if "lr" in coords else []), "seed")
    given = {
        "train_loss": ((*lead, "step"), np.geomspace(1.5, 0.1, STEPS)),
        "train_finite": ((*lead, "step"), 1.0),
        **(variables or {}),
    }

    def filled(dims, values):
        shape = [len(axes[dim]) for dim in dims]
        return dims, np.array(np.broadcast_to(values, shape), dtype=float)

    data = {name: filled(*one) for name, one in given.items()}
    return Run(xarray.Dataset(data, axes), {**OPTIONS, **(options or {})}, {"chance_loss": CHANCE})


def column(values, axes_after):
    """Values along the first axis, e.g. one for each arm, ready to be broadcast."""
    return np.asarray(values, dtype=float).reshape(-1, *[1] * axes_after)


def dead(made, arm):
    """The run with one arm that ends at chance."""
    made.data["train_loss"].loc[{"norm": arm}] = 0.99 * CHANCE
    return made


def diverged(made, arm, step=7):
    """The run with one arm that diverged."""
    made.data["train_finite"].loc[{"norm": arm, "step": step}] = 0
    return made


def decided(made, claims):
    """Verdicts by their identifiers."""
    from bnjax.judge.kit import verdicts

    return {verdict.identifier: verdict for verdict in verdicts(made, claims)}


def drawable(made):
    """The run with what captions say of it."""
    options = {**CAPTION, **made.options}
    return Run(made.data, options, {**made.facts, "dataset": "made up"})


def rows_of(*drawings):
    """The rows of drawings, as `(x, y, low, high, value)` by panel, series and kind.

    Cells are numbers where they can be; empty ones at the end are left out.
    """
    found = {}
    for drawing in drawings:
        for *series, x, y, low, high, value in drawing.table():
            row = [x, y, low, high, value]
            while row[-1] == "":
                row.pop()
            found.setdefault(tuple(series), []).append(tuple(map(as_number, row)))
    return found


def as_number(text):
    try:
        return float(text)
    except ValueError:
        return text


def refusal(study, arguments, out, capsys):
    """The one line by which a command refuses a call before it writes anything."""
    from bnjax.commands import command_line

    before = [*out.rglob("*")], out.exists()
    assert command_line.main(study, [*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert ([*out.rglob("*")], out.exists()) == before
    return error
