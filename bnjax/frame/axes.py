"""The names and values of the axes of what a run measures, and whether its arrays have them.

`norm` and other factors, `seed`, `step`, `test_step`, `probe_step` and `layer` are named here, for
every experiment; further axes are its own.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnjax import data, models
from bnjax.errors import UsageError
from bnjax.frame import records, results, units
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.files import plain


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


def check(
    experiment: Experiment,
    config: RunConfig,
    axes: Mapping[str, np.ndarray],
    record: records.Record,
) -> None:
    """Refuse a record of one arm whose arrays have other axes than the experiment says.

    Args:
      experiment: names the axes of each field of its probes in `dims`.
      config: the options of the run; its factors are axes of all arrays.
      axes: values of all axes, see `name_axes`.
      record: of an arm, empty or not.

    Raises:
      UsageError: naming the field, its shape and the axes.
    """
    outer, kept = (*config.arm_axes, "seed"), records.kept(record)
    groups = {name.partition(".")[0] for name in kept}
    for group, fields in experiment.dims.items():
        unknown = [field for field in fields if f"{group}.{field}" not in kept]
        if unknown and group in groups:
            raise UsageError(
                f"dims of the experiment {experiment.name} name {group}.{unknown[0]}, which is not "
                f"measured: choose from {' '.join(sorted(set(kept)))}"
            )
    for name, values in kept.items():
        group, _, field = name.partition(".")
        if not field or group in ("train", "test"):
            continue
        names = inner_dims(experiment, name)
        if unknown := [axis for axis in names if axis not in axes]:
            raise UsageError(
                f"dims of the experiment {experiment.name} give {name} the axis {unknown[0]!r}, "
                f"which is not known: choose from {', '.join(axes)}, or give its values in axes"
            )
        if len({*outer, *names}) < len(outer) + len(names):
            raise UsageError(
                f"dims of the experiment {experiment.name} give {name} the axes {' '.join(names)} "
                f"beside {' '.join(outer)}: each must be another one"
            )
        rows, *inner = (len(axes[axis]) for axis in names)
        if values.shape[0] != rows:
            raise UsageError(
                f"{name} is measured {values.shape[0]} times, its axis {names[0]} has {rows}: a "
                "probe is due at every(config.probe_every), the axis of a sweep is named in rows"
            )
        if values.shape[1:] != tuple(inner):
            raise UsageError(
                f"{name} has shape {values.shape[1:]} at each step, the axes "
                f"{' '.join(names[1:]) or 'of a scalar'} have {tuple(inner)}: name them in dims of "
                f"the experiment {experiment.name}, e.g. {{'{group}': {{'{field}': ('layer',)}}}}"
            )
