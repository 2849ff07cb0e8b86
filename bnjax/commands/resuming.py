"""Going on with a run by its folder alone: its stored options, the experiment of that name.

Nothing that the folder says is executed: an experiment is looked up by its name among those beside
the package, options are plain values that are checked, and files that would be run are refused.
"""

import dataclasses
import os
from pathlib import Path

from bnjax.commands import catalogue
from bnjax.errors import RunError, UsageError
from bnjax.frame import folder, inventory, layout, options
from bnjax.frame.config import RunConfig
from bnjax.frame.names import digest
from bnjax.frame.run import run
from bnjax.report.page import write_page


def resume(
    path: Path,
    data_dir: Path | None = None,
    published: Path | None = None,
    data_devices: int | None = None,
    probe_devices: int | None = None,
) -> None:
    """Run what is not done yet of the run in a folder, as its own command would.

    Args:
      path: the folder.
      data_dir: folder of prepared data sets.
      published: CSV of published curves; None: that of the original command.
      data_devices: devices over which a batch is spread; None: as many as before.
      probe_devices: devices over which the points of a probe are spread; None: as many as before.

    Raises:
      UsageError: the path is no run folder.
      RunError: its `config.json` cannot be gone on with; says why.
    """
    path = Path(os.path.abspath(path))
    if not (path / folder.CONFIG).exists():
        raise UsageError(f"{path} is no run folder: give one that has a {folder.CONFIG}")
    inventory.refuse_links(path.parent, deep=False)
    inventory.refuse_links(path)
    record = folder.read_config(path)
    experiment = catalogue.find_experiment(record.experiment)
    kind = type(next(iter(experiment.presets.values())))
    config = rebuild(path, record, kind, data_dir, published)
    config = dataclasses.replace(
        config,
        data_devices=config.data_devices if data_devices is None else data_devices,
        probe_devices=config.probe_devices if probe_devices is None else probe_devices,
    )
    config.validate_conduct()
    if config.deterministic:
        layout.make_deterministic()
    layout.prepare(config.data_devices, config.probe_devices)
    run(experiment, config, write_page)


def rebuild(
    path: Path,
    record: folder.Description,
    kind: type[RunConfig],
    data_dir: Path | None,
    published: Path | None,
) -> RunConfig:
    """The configuration of a run, as its command line gave it.

    Args:
      path: absolute, of the run folder; the run goes on there, wherever it was begun.
      record: its `config.json`.
      kind: the experiment's class of options.
      data_dir: folder of prepared data sets.
      published: CSV of published curves, if the person has said.

    Raises:
      RunError: the options are not all known here, not legal, or name files that would be run.
      UsageError: the data lie where the person has not said.
    """
    remedy = "give the original command"
    if record.plugins or record.config.get("plugins"):
        raise RunError(f"{path} was made with --plugins, files that would be run: {remedy}")
    try:
        config = options.build(kind, record.config)
        if config.data_dir is not None and data_dir is None:
            raise UsageError(
                f"{path} reads data from {config.data_dir}: if you know that folder, add "
                f"--data-dir {config.data_dir}"
            )
        config = dataclasses.replace(
            config,
            published=published or config.published,
            out=path.parents[1],
            data_dir=data_dir,
            fresh=False,
            redraw=False,
            distributed=False,  # a job's processes are started with the original command
        )
        if digest(config) != path.name:
            raise ValueError(f"they are those of the run {digest(config)}")
    except UsageError:
        raise
    except ValueError as error:
        raise RunError(f"the options of {path} do not serve ({error}): {remedy}") from error
    try:
        config.validate()
    except UsageError as error:
        raise RunError(f"the options of {path} do not serve ({error}): {remedy}") from error
    return config
