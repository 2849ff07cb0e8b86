"""From a command line to a finished run: whatever happens, a person gets one line."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bnjax.commands import catalogue, parsing, planned
from bnjax.errors import UsageError
from bnjax.frame import layout, plugins, processes
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.interrupts import INTERRUPTED, Interrupted
from bnjax.frame.messages import complain, hide_details
from bnjax.frame.run import run
from bnjax.report.page import write_page


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from the command line.

    Args:
      experiment: the experiment.
      arguments: the command line without the program's name; by default the process's own.

    Returns:
      The exit status: 0, 2 for a wrong call, 1 for any other failure, 130 after a signal.
    """
    arguments = sys.argv[1:] if arguments is None else arguments

    status = guarded(lambda: act(experiment, arguments), arguments)
    processes.leave(status)
    return status


def act(experiment: Experiment, arguments: Sequence[str]) -> None:
    """What `main` guards."""
    config = prepare(experiment, arguments)
    if config.plan:
        planned.show(experiment, config)
    else:
        run(experiment, config, write_page)


def start(experiment: str | Experiment, *arguments: str) -> Path:
    """Run an experiment from Python: what its command line does, but errors are raised.

    Args:
      experiment: its name, e.g. `landscape`, or one of your own.
      arguments: as on its command line.

    Returns:
      The run's folder.

    Raises:
      UsageError: a wrong call.
      RunError: no such experiment, or the run cannot go on.
      Interrupted: asked to stop; the same call goes on. A step that is under way is waited for.
      KeyboardInterrupt: asked a second time; the same call goes on from the last checkpoint.

    Example:
      >>> start("landscape", "--lr", "0.4")  # doctest: +SKIP
      PosixPath('runs/landscape/…')
    """
    if isinstance(experiment, str):
        experiment = catalogue.find_experiment(experiment)
    config = prepare(experiment, arguments)
    if config.plan:
        raise UsageError("--plan begins no run: give it on the command line, where it prints")
    return run(experiment, config, write_page, ends_process=False)


def prepare(experiment: Experiment, arguments: Sequence[str]) -> RunConfig:
    """The options of a command line, checked, and what they want settled before JAX starts."""
    config: RunConfig = parsing.parse(experiment.presets, arguments, experiment.description)
    config.validate_conduct()
    if config.deterministic:
        layout.make_deterministic()
    layout.prepare(config.data_devices, config.probe_devices)
    if config.distributed:
        processes.join(config.heartbeat_seconds)
    plugins.load(config.plugins)
    config.validate()
    return config


def guarded(act: Callable[[], int | None], arguments: Sequence[str]) -> int:
    """Do something for a person: whatever goes wrong becomes one line and an exit status.

    Args:
      act: what to do; may return an exit status other than 0.
      arguments: the command line, asked for `--debug`.

    Returns:
      The exit status, as `main` has it.
    """
    hide_details()
    try:
        return act() or 0
    except UsageError as error:
        return fail(error, arguments, status=2)
    except Interrupted as error:
        print(
            f"interrupted {error}; everything is saved: the same command goes on", file=sys.stderr
        )
        return INTERRUPTED
    except KeyboardInterrupt:
        print(
            "interrupted at once: the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return INTERRUPTED
    except Exception as error:  # whatever it is, a person gets one line
        return fail(error, arguments, status=1)


def fail(error: Exception, arguments: Sequence[str], status: int) -> int:
    """Say in one line what went wrong; with `--debug`, raise it instead."""
    if "--debug" in arguments:
        raise error
    known = type(error).__module__ == "bnjax.errors"
    message = " ".join(str(error).split())
    kind = "" if known else f"{type(error).__name__}: "
    hint = "" if known else " (--debug shows where)"
    if not known and processes.several():
        message = processes.explain(error)
    complain(f"{kind}{message}{hint}")
    return status
