"""How far two layouts of the same run come apart, by step, and whether their verdicts agree.

    python benchmarks/layouts.py                      # the default landscape: one device, and two
    python benchmarks/layouts.py --arguments --seeds 1

Sums over a batch are added in another order when the batch is spread over devices. The first
gradient then agrees to rounding; training makes differences grow, as any perturbation does.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tyro

from bnjax.frame import folder, results

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ("line_loss", "line_gradient_distances", "line_smoothness")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run, twice."""

    study: str = "landscape"
    """Name of a study with a line probe."""
    arguments: tuple[str, ...] = ()
    """Options of both runs."""
    devices: int = 2
    """Devices of the second run, over which each batch is spread."""


def run(options: Options, place: Path, count: int) -> Path:
    """One run in a process of its own, whose CPU counts as so many devices; its folder."""
    script = str(ROOT / "experiments" / f"{options.study}.py")
    spread = ["--data-devices", str(count), "--out", str(place)]
    command = [sys.executable, script, *options.arguments, *spread]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(count)}
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=environment)
    (found,) = (place / options.study).iterdir()
    return found


def main(options: Options) -> None:
    """Print a table of relative differences, and the verdicts that differ."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        counts = (1, options.devices)
        folders = [run(options, place / str(count), count) for count in counts]
        one, other = map(results.read, folders)
        verdicts = [
            {v["identifier"]: v["verdict"] for v in folder.read_summary(path).verdicts}
            for path in folders
        ]
    print("| step | largest relative difference of " + " | of ".join(FIELDS) + " |")
    print("|---" * (len(FIELDS) + 1) + "|")
    steps = one["probe_step"].values
    for step in steps[np.unique(np.linspace(0, len(steps) - 1, 6).round().astype(int))]:
        cells = []
        for name in FIELDS:
            first, second = (found[name].sel(probe_step=step) for found in (one, other))
            cells.append(f"{float(abs(second / first - 1).max()):.1e}")
        print(f"| {step} | {' | '.join(cells)} |")
    differ = {name: (verdicts[0][name], verdicts[1].get(name)) for name in verdicts[0]}
    differ = {name: pair for name, pair in differ.items() if pair[0] != pair[1]}
    print(f"\n{len(verdicts[0])} verdicts, {len(differ)} differ: {differ or 'none'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
