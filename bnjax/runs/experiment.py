"""From a command line to a finished run folder: the frame that every experiment script fills."""

import dataclasses
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bnjax import data, losses, models
from bnjax.errors import UsageError
from bnjax.runs import arms, cache, checkpoints, console, folder, lock, plugins, records, results
from bnjax.runs.config import RunConfig
from bnjax.runs.fingerprint import fingerprint
from bnjax.runs.interrupts import Interrupted, stop_on_signals
from bnjax.runs.published import Published, read_published
from bnjax.training import Probe, TrainState
from bnjax.training.sweep import Sweep


class Experiment(NamedTuple):
    """What an experiment adds to the frame; each part knows nothing of the others."""

    name: str
    description: str
    presets: Mapping[str, RunConfig]
    probes: Callable[[Any, arms.Arm], Mapping[str, Probe]]
    dims: Mapping[str, Mapping[str, tuple[str, ...]]]  # of each probe's fields, after its steps
    axes: Callable[[Any], Mapping[str, Sequence[Any]]]  # values of the axes named in `dims`
    claims: Callable[[results.Results], Sequence[Any]]
    draw: Callable[[results.Results, Published, Path], Sequence[Path]]
    # Measurements after training, and the axis of the rows of each.
    after: Callable[[Any, arms.Arm], Mapping[str, Sweep]] = lambda config, arm: {}
    rows: Mapping[str, str] = {}
    # Arrays of the trained network, for a file of its own.
    keep: Callable[[Any, arms.Arm, TrainState], Mapping[str, np.ndarray]] | None = None
    # Refuses, before anything is written, what is wrong with this data set.
    check: Callable[[Any, data.Dataset], None] = lambda config, dataset: None


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from the command line.

    Args:
      experiment: the experiment.
      arguments: the command line without the program's name; by default the process's own.

    Returns:
      The exit status: 0, 2 for a wrong call, 1 for any other failure, 130 after a signal.
    """
    arguments = sys.argv[1:] if arguments is None else arguments

    def act() -> None:
        config = console.parse(experiment.presets, arguments, experiment.description)
        plugins.load(config.plugins)
        config.validate()
        run(experiment, config)

    return guarded(act, arguments)


def guarded(act: Callable[[], None], arguments: Sequence[str]) -> int:
    """Do something for a person: whatever goes wrong becomes one line and an exit status.

    Args:
      act: what to do.
      arguments: the command line, asked for `--debug`.

    Returns:
      The exit status, as `main` has it.
    """
    try:
        act()
    except UsageError as error:
        return fail(error, arguments, status=2)
    except Interrupted as error:
        print(
            f"interrupted {error}; everything is saved: the same command goes on", file=sys.stderr
        )
        return 130
    except KeyboardInterrupt:
        print(
            "interrupted at once: the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return 130
    except Exception as error:  # whatever it is, a person gets one line
        return fail(error, arguments, status=1)
    return 0


def fail(error: Exception, arguments: Sequence[str], status: int) -> int:
    """Say in one line what went wrong; with `--debug`, raise it instead."""
    if "--debug" in arguments:
        raise error
    known = type(error).__module__ == "bnjax.errors"
    message = " ".join(str(error).split())
    kind = "" if known else f"{type(error).__name__}: "
    hint = "" if known else " (--debug shows where)"
    print(f"error: {kind}{message}{hint}", file=sys.stderr)
    return status


def run(experiment: Experiment, config: RunConfig) -> Path:
    """Run all arms and seeds that are not done yet; write results, figure and claims.

    Returns:
      The run folder.
    """
    cache.enable()
    terminal = console.terminal()
    path = config.out / experiment.name / folder.digest(config)
    published = read_published(config.published) if config.published else {}
    if folder.is_finished(path) and not config.fresh:
        terminal.print(f"finished before: {path}")
        if published:
            experiment.draw(results.read(path), published, path)
    else:
        with lock.hold(path):
            complete(experiment, config, published, terminal)
    report(terminal, path)
    return path


def complete(
    experiment: Experiment, config: RunConfig, published: Published, terminal: console.Console
) -> None:
    """Run what is not done yet in a folder that no other process uses."""
    dataset = data.load(config.dataset, config.data_dir, seed=config.seed)
    factors = config.arm_axes
    planned = [
        dict(zip(factors, chosen, strict=True)) for chosen in itertools.product(*factors.values())
    ]
    for values in planned:  # refuses impossible batches before anything is written
        data.make_pipeline(dataset, config.for_arm(values).batch_size)
    experiment.check(config, dataset)
    chance = losses.chance(losses.OBJECTIVES[config.objective], dataset)
    facts = {**fingerprint(), "dataset": dataset.note, "chance_loss": chance}
    path = folder.open_folder(config.out, experiment.name, config, facts, fresh=config.fresh)
    terminal.print(f"{dataset.note}; {facts['device']}, jax {facts['jax']}; {path}")

    seeds = range(config.seed, config.seed + config.seeds)
    finished: list[records.Record] = []
    with stop_on_signals() as stop, console.display() as display:
        for values, seed in itertools.product(planned, seeds):
            own = config.for_arm(values)
            model = own.build_model(values.get("norm", own.norms[0]), dataset.num_classes)
            pipeline = data.make_pipeline(dataset, own.batch_size, augmented=own.augment)
            selection = own.select(shapes(model, dataset), seed)
            arm = arms.Arm(values, seed, model, dataset, pipeline, selection)
            probes = experiment.probes(own, arm)
            saved = checkpoints.Checkpoints(
                path / folder.CHECKPOINTS / arm.folder, f"{path.name}/{arm.folder}"
            )
            after, keep = experiment.after(own, arm), keeper(experiment, own, arm, path)
            finished.append(arms.run_arm(own, arm, probes, saved, display, stop, after, keep))
            if stop.received:
                raise Interrupted(f"after the arm {arm.label}")

    sizes = [len(values) for values in (*factors.values(), seeds)]
    stacked = records.stack(finished, sizes)
    layers = models.layer_names(model, dataset.train.pixels.shape[1:])
    measured = label(experiment, config, stacked, layers, facts)
    results.write(measured, path)
    figures = experiment.draw(results.read(path), published, path)
    claims = [claim._asdict() for claim in experiment.claims(results.read(path))]
    files = [folder.CONFIG, folder.METRICS, folder.PROBES, *(figure.name for figure in figures)]
    folder.write_json(path / folder.SUMMARY, {"claims": claims, "files": files})


def shapes(model: models.Model, dataset: data.Dataset) -> Any:
    """The shapes of a model's parameters; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, *dataset.train.pixels.shape[1:]), np.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def keeper(
    experiment: Experiment, config: RunConfig, arm: arms.Arm, path: Path
) -> Callable[[TrainState], None]:
    """What writes an arm's trained network, if the experiment keeps any."""

    def write(state: TrainState) -> None:
        if experiment.keep is not None:
            (path / folder.MODELS).mkdir(exist_ok=True)
            arrays = experiment.keep(config, arm, state)
            folder.write_npz(path / folder.MODELS / f"{arm.folder}.npz", arrays)

    return write


def label(
    experiment: Experiment,
    config: Any,
    stacked: records.Record,
    layers: Sequence[str],
    facts: dict[str, Any],
) -> results.Results:
    """Name the axes of stacked records."""
    every_step = range(config.steps + 1)
    probe_steps = [step for step in every_step[:-1] if step % config.probe_every == 0]
    test_steps = [
        step for step in every_step if step % config.evaluate_every == 0 or step == config.steps
    ]
    axes = {
        **config.arm_axes,
        "seed": range(config.seed, config.seed + config.seeds),
        "step": every_step[:-1],
        "test_step": test_steps,
        "probe_step": probe_steps,
        "layer": layers,
        **experiment.axes(config),
    }
    outer = {"train": ("step",), "test": ("test_step",)}
    dims = {}
    for name in stacked:
        group, _, field = name.partition(".")
        rows = experiment.rows.get(group, "probe_step")
        inner = outer.get(group, (rows, *experiment.dims.get(group, {}).get(field, ())))
        dims[name] = (*config.arm_axes, "seed", *(inner if field else ()))
    return results.Results(
        arrays=stacked,
        dims=dims,
        axes={axis: np.array(list(values)) for axis, values in axes.items()},
        config=folder.plain(dataclasses.asdict(config)),
        facts=facts,
    )


def report(terminal: console.Console, path: Path) -> None:
    """Print the claims table and the paths of what a finished run wrote."""
    summary = folder.read_json(path / folder.SUMMARY)
    terminal.print(console.claims_table(summary["claims"]))
    for name in summary["files"]:
        terminal.print(f"  {path / name}")
