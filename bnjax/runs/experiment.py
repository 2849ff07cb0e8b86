"""What an experiment is: the parts that each script adds to the frame that all share."""

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax import data
from bnjax.runs import arms, results
from bnjax.runs.config import RunConfig
from bnjax.runs.published_curves import Published
from bnjax.training import Probe, TrainState
from bnjax.training.sweep import Sweep

# In an installed package the scripts lie inside it, in a checkout beside it.
PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / "experiments", PACKAGE.parent / "experiments")


class Experiment(NamedTuple):
    """What an experiment adds to the frame; each part knows nothing of the others."""

    name: str
    description: str
    presets: Mapping[str, RunConfig]  # `quick`, `paper`, and of a model, e.g. `quick dln`
    probes: Callable[[Any, arms.Arm], Mapping[str, Probe]]
    dims: Mapping[str, Mapping[str, tuple[str, ...]]]  # of each probe's fields, after its steps
    axes: Callable[[Any], Mapping[str, Sequence[Any]]]  # values of the axes named in `dims`
    claims: Callable[[results.Results], Sequence[Any]]
    draw: Callable[[results.Results, Published, Path], Sequence[Path]]
    # Arrays whose newest values a terminal shows on the way; empty: the first few of each probe.
    shown: tuple[str, ...] = ()
    # Measurements after training, and the axis of the rows of each.
    after: Callable[[Any, arms.Arm], Mapping[str, Sweep]] = lambda config, arm: {}
    rows: Mapping[str, str] = {}
    # Arrays of the trained network, for a file of its own.
    keep: Callable[[Any, arms.Arm, TrainState], Mapping[str, np.ndarray]] | None = None
    # Refuses, before anything is written, what is wrong with this data set.
    check: Callable[[Any, data.Dataset], None] = lambda config, dataset: None


def script(experiment: Experiment) -> str:
    """The file that an experiment is written in, and twelve digits of the SHA-256 of its code.

    Returns:
      E.g. `experiments/landscape.py 0123456789ab`; of a script elsewhere its name alone, also where
      it takes over most of one of these; of what was typed into an interpreter nothing. The digest
      is of the files of its options, probes, claims and figure that are not of the package.
    """
    preset = type(next(iter(experiment.presets.values())))
    found: dict[Path, bytes] = {}
    for part in (preset, experiment.probes, experiment.claims, experiment.draw):
        with contextlib.suppress(TypeError, OSError):
            path = Path(inspect.getfile(inspect.unwrap(getattr(part, "func", part)))).resolve()
            if path.parent in PLACES or PACKAGE not in path.parents:
                found[path] = path.read_bytes()
    if not found:
        return ""
    path = next((path for path in found if path.parent not in PLACES), next(iter(found)))
    name = f"experiments/{path.name}" if path.parent in PLACES else path.name
    return f"{name} {hashlib.sha256(b''.join(found.values())).hexdigest()[:12]}"
