"""What an experiment is: the parts that each script adds to the frame that all share."""

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax import data
from bnjax.frame import arms, results
from bnjax.frame.config import RunConfig
from bnjax.frame.published_curves import Published
from bnjax.train import Probe, TrainState
from bnjax.train.sweep import Sweep

PACKAGE = Path(__file__).resolve().parents[1]
STUDIES = PACKAGE / "studies"


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
      E.g. `bnjax/studies/landscape 0123456789ab`; of a script elsewhere its name alone, also where
      it takes over most of one of these; of what was typed into an interpreter nothing. The digest
      is of the files of its options, probes, claims and figure.
    """
    preset = type(next(iter(experiment.presets.values())))
    found: dict[Path, bytes] = {}
    for part in (preset, experiment.probes, experiment.claims, experiment.draw):
        with contextlib.suppress(TypeError, OSError):
            path = Path(inspect.getfile(inspect.unwrap(getattr(part, "func", part)))).resolve()
            if STUDIES in path.parents or PACKAGE not in path.parents:
                found[path] = path.read_bytes()
    if not found:
        return ""
    path = next((path for path in found if STUDIES not in path.parents), next(iter(found)))
    own = STUDIES in path.parents
    name = f"bnjax/studies/{path.relative_to(STUDIES).parts[0]}" if own else path.name
    return f"{name} {hashlib.sha256(b''.join(found.values())).hexdigest()[:12]}"
