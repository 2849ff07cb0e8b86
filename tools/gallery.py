"""Take the figures of finished runs into `figures/`, each with what made it.

    python tools/gallery.py runs/landscape/0123456789ab runs/shift/*

`figures/README.md` gets a row for each figure: the command, the device, how long it took, seeds,
commit and date. A figure of the same experiment on the same data replaces the one before. A run can
have its figures drawn anew first, by its command with `--published CSV`; its numbers stay.
"""

import datetime
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from bnjax.commands.command_line import guarded
from bnjax.errors import RunError
from bnjax.frame import folder
from bnjax.frame import study as studies
from bnjax.report.page import command

FIGURES = Path(__file__).parents[1] / "figures"
TABLE = FIGURES / "README.md"
HEAD = """# The gallery

Every figure is of a real run, by the command beside it; on each stands the network, the data and
the number of steps or of examples. Time is from the first file of the run to its summary, with
other runs beside it; the commit is the one that measured, and a later one may have drawn.

| figure | command | device | time | seeds | commit | date |
|---|---|---|---|---|---|---|
"""


def take(run: Path, rows: dict[str, str]) -> None:
    """Copy the figures of a run, and renew their rows."""
    if not folder.is_finished(run):
        raise RunError(f"{run} is not finished: give the command that made it again")
    if damage := folder.damaged_results(run):
        raise RunError(f"{run} is damaged ({', '.join(damage)}): give its command again")
    record, summary = folder.read_config(run), folder.read_summary(run)
    facts, options = record.fingerprint, record.options
    if record.continued or facts["commit"].endswith("+") or not facts["commit"]:
        raise RunError(f"{run} was not made by one commit: make it anew from a clean checkout")
    data = "dln" if options["model"] == "dln" else options["dataset"].removeprefix("binary_")
    line = command(record.study, options, studies.find(record.study))
    script = f"python experiments/{record.study}.py"
    line = line.replace(f"bnjax {record.study}", script, 1)
    ended = (run / folder.SUMMARY).stat().st_mtime
    seconds = ended - (run / folder.CONFIG).stat().st_mtime
    when = datetime.datetime.fromtimestamp(ended, datetime.UTC).date()
    figures = [name for name in summary.files if name.endswith(".png")]
    for name in figures:
        target = target_name(record.study, Path(name).stem, data, alone=len(figures) == 1)
        shutil.copyfile(run / name, FIGURES / target)
        rows[target] = (
            f"| [{target}]({target}) | `{line}` | {device(facts)} | {seconds / 60:.1f} min | "
            f"{options['seeds']} | {facts['commit']} | {when} |"
        )


def target_name(experiment: str, stem: str, data: str, *, alone: bool) -> str:
    """The name of a figure in the gallery: its experiment, which of its figures, and the data."""
    which = "" if alone else stem.removeprefix(experiment).strip("_")
    parts = [experiment.removesuffix(f"_{data}"), which, data]
    return "_".join(filter(None, parts)) + ".png"


def device(facts: Mapping[str, object]) -> str:
    """The device of a run, for a reader."""
    kind, cores = facts["device"], facts["cores"]
    many = "cores" if cores != 1 else "core"
    return f"{cores} CPU {many}" if kind == "cpu" else f"{facts['num_devices']} × {kind}"


def read_rows() -> dict[str, str]:
    """The rows that are there, by figure."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    return {line.split("[")[1].split("]")[0]: line for line in lines if line.startswith("| [")}


def main(names: list[str]) -> int:
    """Take in the runs of these folders; the exit status."""

    def act() -> None:
        rows = read_rows()
        for name in names:
            take(Path(name), rows)
        TABLE.write_text(HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows)))

    return guarded(act, names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
