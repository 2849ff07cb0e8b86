"""What a run would take, as a table."""

from rich import box
from rich.table import Table

from bnjax.frame import cache, console, folder, planning
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.names import digest
from bnjax.frame.printable import printable


def show(experiment: Experiment, config: RunConfig) -> None:
    """Measure and print what a run would take; nothing is written but compiled programs."""
    cache.enable()
    terminal = console.terminal()
    path = config.out / experiment.name / digest(config)
    if folder.is_finished(path) and not config.fresh:
        terminal.print(f"finished before: {printable(path)}")
        return
    arms = []
    for arm in planning.plan(experiment, config):
        arms.append(arm)
        terminal.print(f"{printable(arm.label)}: {duration(arm.seconds)}")
    found = planning.conclude(config, tuple(arms))
    terminal.print(table(found))
    seeds = "" if config.seeds == 1 else f", {config.seeds} seeds"
    together = "" if found.at_a_time == 1 else f", {found.at_a_time} at a time"
    terminal.print(
        f"time: {duration(found.seconds)} ({len(arms)} arms{seeds}{together}), and what it takes "
        "to start and to draw"
    )
    terminal.print(f"memory: {size(found.memory_bytes)} at most while this was measured")
    terminal.print(f"disk: {size(found.disk_bytes)} in {printable(path)}")
    if path.exists():
        terminal.print("it was begun: what is done already is not taken off")


def table(found: planning.Plan) -> Table:
    """Each part of each arm, for one seed."""
    shown = Table("arm", "part", "times", "each", "compiling", "in all", box=box.SIMPLE_HEAVY)
    for arm in found.arms:
        for part in arm.parts:
            shown.add_row(
                printable(arm.label),
                printable(part.name.lstrip("_")),
                f"{part.times:,}",
                duration(part.seconds),
                duration(part.compile_seconds),
                duration(part.total),
            )
    return shown


def duration(seconds: float) -> str:
    """A time for a person.

    Example:
      >>> duration(0.0123), duration(75.0), duration(7300.0)
      ('12.3 ms', '75 s', '2.0 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes for a person.

    Example:
      >>> size(1500), size(3 * 2**30)
      ('1.5 KiB', '3 GiB')
    """
    for unit, bytes_each in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= bytes_each:
            return f"{count / bytes_each:.3g} {unit}"
    return f"{count / 1024:.2g} KiB"
