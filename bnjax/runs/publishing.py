"""From the records of all units to the files of a finished run."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bnjax import data, models
from bnjax.runs import folder, records, results, units
from bnjax.runs.config import RunConfig
from bnjax.runs.experiment import Experiment
from bnjax.runs.published_curves import Published
from bnjax.storage.files import plain


class Drawn(NamedTuple):
    """What the page of a run is made of."""

    experiment: Experiment
    results: results.Results
    claims: Sequence[Mapping[str, str]]
    figures: Sequence[Path]
    published: Published


# Writes a page into a run's folder; returns its path, or None where there is to be none.
WritePage: TypeAlias = Callable[[Drawn, Path], Path | None]


def no_page(drawn: Drawn, folder: Path) -> None:
    """Write none."""


def name_results(
    experiment: Experiment,
    config: RunConfig,
    dataset: data.Dataset,
    facts: dict[str, Any],
    finished: Sequence[records.Record],
) -> results.Results:
    """The records of all units as arrays with named axes."""
    sizes = [*map(len, config.arm_axes.values()), config.seeds]
    axes = name_axes(experiment, config, dataset)
    return label(experiment, config, records.stack(finished, sizes), axes, facts)


def publish(
    experiment: Experiment, published: Published, write_page: WritePage, path: Path
) -> None:
    """Draw and judge what a folder holds; its summary, written last, marks the run finished."""
    with warnings.catch_warnings():  # what an arm that diverged did not measure is NaN
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty|invalid value", RuntimeWarning)
        figures = experiment.draw(results.read(path), published, path)
        claims = [claim._asdict() for claim in experiment.claims(results.read(path))]
        page = write_page(Drawn(experiment, results.read(path), claims, figures, published), path)
    kept = sorted(f"{folder.MODELS}/{file.name}" for file in path.glob(f"{folder.MODELS}/*.npz"))
    drawn = [*figures, *([page] if page else [])]
    files = [folder.METRICS, folder.PROBES, *(file.name for file in drawn), *kept]
    folder.write_summary(path, claims, files)


def label(
    experiment: Experiment,
    config: Any,
    stacked: records.Record,
    axes: dict[str, np.ndarray],
    facts: dict[str, Any],
) -> results.Results:
    """Name the axes of stacked records."""
    outer = (*config.arm_axes, "seed")
    return results.Results(
        arrays=stacked,
        dims={name: (*outer, *inner_dims(experiment, name)) for name in stacked},
        axes=axes,
        config=plain(dataclasses.asdict(config)),
        facts=facts,
    )


def inner_dims(experiment: Experiment, name: str) -> tuple[str, ...]:
    """The axes of what one arm measured for one seed, by its name `<group>.<field>`."""
    group, _, field = name.partition(".")
    if not field:
        return ()
    if group in ("train", "test"):
        return ("step",) if group == "train" else ("test_step",)
    rows = experiment.rows.get(group, "probe_step")
    return (rows, *experiment.dims.get(group, {}).get(field, ()))


def name_axes(
    experiment: Experiment, config: RunConfig, dataset: data.Dataset
) -> dict[str, np.ndarray]:
    """The values of all axes of a run's results."""
    own = config.for_arm(units.plan(config)[-1].values)
    model = own.build_model(own.norms[0], dataset.num_classes)
    every_step = range(config.steps + 1)
    axes = {
        **config.arm_axes,
        "seed": range(config.seed, config.seed + config.seeds),
        "step": every_step[:-1],
        "test_step": [
            step for step in every_step if step % config.evaluate_every == 0 or step == config.steps
        ],
        "probe_step": [step for step in every_step[:-1] if step % config.probe_every == 0],
        "layer": models.layer_names(model, dataset.train.pixels.shape[1:]),
        **experiment.axes(config),
    }
    return {axis: np.array(list(values)) for axis, values in axes.items()}
