"""What a checkpoint costs: milliseconds, megabytes, and the share of a run's time.

    python benchmarks/checkpoints.py [options of experiments/landscape.py]

A real run, here of 40 steps with a checkpoint every other one. The share is that of the default
interval, and the work that is lost at most is one interval.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STEPS = ["--steps", "40", "--checkpoint-steps", "2", "--probe-every", "10"]


def measure(options: list[str], out: str) -> tuple[list[float], list[int]]:
    """Seconds and bytes of each save of a run."""
    sys.path[:0] = [str(ROOT), str(ROOT / "experiments")]
    from bnjax.commands.command_line import main
    from bnjax.frame import checkpoints
    from bnjax.studies.landscape import study as landscape

    seconds, sizes = [], []
    save = checkpoints.save

    def timed(saved: Any, step: int, tree: Any) -> None:
        import jax

        jax.block_until_ready(tree)
        begun = time.perf_counter()
        save(saved, step, tree)
        seconds.append(time.perf_counter() - begun)
        files = (saved.folder / str(step)).rglob("*")
        sizes.append(sum(path.stat().st_size for path in files if path.is_file()))

    checkpoints.save = timed
    if status := main(landscape.EXPERIMENT, [*STEPS, *options, "--out", out]):
        sys.exit(status)
    return seconds, sizes


def report(options: list[str]) -> None:
    """Print the costs."""
    from bnjax.frame.config import RunConfig

    with tempfile.TemporaryDirectory() as out:
        seconds, sizes = measure(options, out)
    interval = 60 * RunConfig().checkpoint_minutes
    typical, slowest = statistics.median(seconds), max(seconds)
    print(
        f"{len(seconds)} saves of {statistics.median(sizes) / 1e6:.2f} MB: median "
        f"{1e3 * typical:.0f} ms, slowest {1e3 * slowest:.0f} ms; {100 * typical / interval:.2f} % "
        f"of the time at one every {interval:g} s"
    )


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    report(sys.argv[1:])
