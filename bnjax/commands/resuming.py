"""Continuing a run by its folder alone: its stored options, the study of that name.

Nothing that the folder says is executed: a study is looked up by its name among the shipped ones,
options are plain values that are checked, and files that would be run are refused.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

from bnjax.commands import command_line
from bnjax.errors import RunError, UsageError
from bnjax.frame import files, folder, stored_options
from bnjax.frame import study as studies
from bnjax.frame.run import run
from bnjax.report.publish import publish


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
      RunError: its `config.json` cannot be continued; says why.
    """
    path = Path(os.path.abspath(path))
    if not (path / folder.CONFIG).exists():
        raise UsageError(f"{path} is no run folder: give one that has a {folder.CONFIG}")
    files.refuse_links(path.parent, deep=False)
    files.refuse_links(path)
    record = folder.read_config(path)
    study = find_study(record.study)
    options = rebuild(path, record, study.options, data_dir, published)
    options = dataclasses.replace(
        options,
        data_devices=options.data_devices if data_devices is None else data_devices,
        probe_devices=options.probe_devices if probe_devices is None else probe_devices,
    )
    try:
        command_line.settle(study, options)
    except UsageError as error:
        raise RunError(
            f"the options of {path} do not serve ({error}): give the original command"
        ) from error
    run(study, options, publish)


def find_study(name: str) -> studies.Study:
    """A shipped study by the name that a folder gives.

    Raises:
      RunError: there is none.
    """
    try:
        return studies.find(name)
    except UsageError as error:
        raise RunError(str(error)) from error


def rebuild(
    path: Path,
    record: folder.Description,
    kind: type,
    data_dir: Path | None,
    published: Path | None,
) -> Any:
    """The configuration of a run, as its command line gave it.

    Args:
      path: absolute, of the run folder; the run continues there, wherever it was begun.
      record: its `config.json`.
      kind: the study's class of options.
      data_dir: folder of prepared data sets.
      published: CSV of published curves, if the person has said.

    Raises:
      RunError: the options are not all known here, not legal, or name files that would be run.
      UsageError: the data lie where the person has not said.
    """
    remedy = "give the original command"
    if record.plugins or record.options.get("plugins"):
        raise RunError(f"{path} was made with --plugins, files that would be run: {remedy}")
    try:
        options: Any = stored_options.build(kind, record.options)
        if options.data_dir is not None and data_dir is None:
            raise UsageError(
                f"{path} reads data from {options.data_dir}: if you know that folder, add "
                f"--data-dir {options.data_dir}"
            )
        options = dataclasses.replace(
            options,
            published=published or options.published,
            out=path.parents[1],
            data_dir=data_dir,
            fresh=False,
            redraw=False,
            distributed=False,  # a job's processes are started with the original command
        )
        if folder.digest(options) != path.name:
            raise ValueError(f"they are those of the run {folder.digest(options)}")
    except UsageError:
        raise
    except ValueError as error:
        raise RunError(f"the options of {path} do not serve ({error}): {remedy}") from error
    return options
