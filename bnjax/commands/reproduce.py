"""All studies of Santurkar et al. 2018 at one preset, and one table of their claims.

    python experiments/reproduce.py
    python experiments/reproduce.py --dry-run
    python experiments/reproduce.py --preset paper --data-dir DIR --seeds 5 --published CSV
    python experiments/reproduce.py --dataset cifar10 --data-dir DIR --steps 1000 --probe-every 25

Each part has its own run folder: the same command skips finished parts and continues the others.
`quick` takes about 15 minutes on two CPU cores. The command ends with a table: claim, measured
(interval over seeds), published, verdict. OUT/reproduce.json has the same table.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bnjax.choices import LINEAR_DATASETS, did_you_mean
from bnjax.commands import command_line
from bnjax.commands.command_line import guarded
from bnjax.errors import UsageError
from bnjax.frame import files, folder, messages
from bnjax.frame import study as studies
from bnjax.frame.study import Study


class Part(NamedTuple):
    """One run: a study, the presets of which model, and options of its own."""

    study: Study
    model: str  # empty: that of the presets
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """How `--only` calls it: the study, and the model if it is not the usual one."""
        return "-".join(filter(None, (self.study.name, self.model)))


def parts() -> list[Part]:
    return [
        Part(study, model, options)
        for study in map(studies.find, studies.names())
        for model, options in study.reproduced.items()
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What to reproduce, and where."""

    preset: Literal["quick", "paper"] = "quick"
    """quick: minutes on two cores. paper: the setting of the publication."""
    only: tuple[str, ...] = ()
    """Names of parts to run; empty: all."""
    dry_run: bool = False
    """Say what would be run, and where, and stop."""
    plan: bool = False
    """Measure what every part would take (time, memory, disk), say so and stop."""
    seeds: int = 1
    """Number of seeds of every part."""
    dataset: Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"] | None = None
    """Data set of the VGG parts, in place of their preset's."""
    steps: int | None = None
    """Training steps of every part, in place of its preset's."""
    batch_size: int | None = None
    """Examples a step of the VGG parts, in place of their preset's."""
    probe_every: int | None = None
    """Steps between probes of every part, in place of its preset's."""
    evaluate_every: int | None = None
    """Steps between evaluations of every part, in place of its preset's."""
    data_dir: Path | None = None
    """Folder of prepared data sets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    published: Path | None = None
    """CSV of published curves to draw beside the measured ones (panel,series,step,low,high)."""
    out: Path = Path("runs")
    """Folder of all runs."""
    accept_changes: bool = False
    """Go on with parts, and take finished ones, though data, code, settings or versions have
    changed; the change is recorded."""
    debug: bool = False
    """Show tracebacks."""


def configure(part: Part, options: Options) -> tuple[Study, Any]:
    study = part.study
    names: tuple[str, ...] = ("steps", "probe_every", "evaluate_every")
    if not part.model:
        names += ("dataset", "batch_size")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    chosen = dataclasses.replace(study.preset(options.preset, part.model), **given)
    embedded = chosen.dataset in ("digits", *LINEAR_DATASETS)
    chosen = dataclasses.replace(
        chosen,
        seeds=options.seeds,
        data_dir=None if embedded else options.data_dir,
        published=options.published,
        out=options.out,
        accept_changes=options.accept_changes,
        debug=options.debug,
        **part.options,
    )
    return study, command_line.settle(study, chosen)


def reproduce(options: Options) -> None:
    from bnjax.commands import plan  # these load JAX, which `--help` does not need
    from bnjax.frame.run import run
    from bnjax.report.publish import publish

    every = parts()
    names = [part.name for part in every]
    if unknown := [name for name in options.only if name not in names]:
        near = did_you_mean(unknown[0], names)
        raise UsageError(f"--only {' '.join(unknown)}: choose from {' '.join(names)}{near}")
    chosen = [part for part in every if not options.only or part.name in options.only]
    configured = [(part.name, *configure(part, options)) for part in chosen]
    console = messages.terminal()
    verdicts = []
    for name, study, chosen_options in configured:
        path = options.out / study.name / folder.digest(chosen_options)
        state = "finished" if folder.is_finished(path) else "begun" if path.exists() else "new"
        console.print(f"{name}: {path} ({state})")
        if options.plan:
            plan.show(study, chosen_options)
        elif not options.dry_run:
            summary = folder.read_summary(run(study, chosen_options, publish))
            verdicts += [{"part": name, **verdict} for verdict in summary.verdicts]
    if not (options.dry_run or options.plan):
        files.write_json(options.out / "reproduce.json", {"verdicts": verdicts})
        messages.show_claims(verdicts)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = command_line.typed() if arguments is None else arguments

    def act() -> None:
        reproduce(command_line.parse_options(Options, arguments, "reproduce", __doc__ or ""))

    return guarded(act, arguments)
