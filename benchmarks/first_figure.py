"""From typing to the picture: `python experiments/landscape.py` beside a plain PyTorch script.

    python benchmarks/first_figure.py --torch-python PYTHON     # a quarter of an hour
    python benchmarks/first_figure.py --only quick              # today's default alone

Each row is a process of its own, from its imports to its last file, as a user starts it. A cold run
has an empty compile cache; the warm run after it has the cache of the cold one. Rows take turns,
and medians are printed. One more run of each job gives the times of its parts.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]
# The default of the first version, fixed: one seed of VGG-11 at a quarter of the width.
FIXED = {
    "model": "vgg11", "width": 0.25, "dataset": "digits", "lr": 0.1, "batch-size": 128,
    "steps": 200, "probe-every": 3, "min-step": 0.5, "max-step": 4, "points": 4,
    "limits-every": 1, "evaluate-every": 50, "seeds": 1,
}  # fmt: skip
JOBS: dict[str, list[str]] = {
    "fixed": [f"--{name}={value}" for name, value in FIXED.items()],
    "quick": [],
}
LABELS = {"fixed": "VGG-11 ×¼, 200 steps, one seed", "quick": "the default, three seeds"}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    torch_python: str = ""
    """Interpreter with torch, matplotlib and scikit-learn; empty: no PyTorch rows."""
    only: tuple[str, ...] = tuple(JOBS)
    """Jobs: fixed, quick."""
    repeats: int = 3
    """Runs of each row; the median is printed."""
    arguments: tuple[str, ...] = ()
    """Further options of every landscape run."""
    out: Path | None = None
    """Write all seconds as JSON here."""


def bnjax(job: str, place: Path, cache: Path, extra: tuple[str, ...]) -> float:
    """Seconds of one landscape run."""
    out = place / f"runs-{time.monotonic_ns()}"
    command = [sys.executable, "experiments/landscape.py", *JOBS[job], *extra, "--out", str(out)]
    return timed(command, {**os.environ, "BNJAX_CACHE_DIR": str(cache)})


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Seconds of a process."""
    begun = time.perf_counter()
    subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=900
    )
    return time.perf_counter() - begun


def rows(options: Options, place: Path) -> dict[str, list[float]]:
    """Seconds of every row, in turn."""
    found: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for job in options.only:
            cache = place / f"cache-{time.monotonic_ns()}"
            for state in ("cold", "warm"):
                seconds = bnjax(job, place, cache, options.arguments)
                found.setdefault(f"bnjax, {LABELS[job]}, {state}", []).append(seconds)
        if options.torch_python and "fixed" in options.only:
            for limits in ("exact", "none"):
                script = str(ROOT / "benchmarks/first_figure_torch.py")
                picture = str(place / "torch.png")
                command = [options.torch_python, script, picture, "--limits", limits]
                seconds = timed(command, dict(os.environ))
                found.setdefault(f"PyTorch, the same, limits {limits}", []).append(seconds)
    return found


def parts(job: str, place: Path) -> dict[str, float]:
    """Seconds of the parts of one cold run, by a child that times them."""
    command = [sys.executable, str(ROOT / "benchmarks/first_figure_parts.py"), *JOBS[job]]
    environment = {**os.environ, "BNJAX_CACHE_DIR": str(place / "cache-of-parts")}
    run = subprocess.run(
        [*command, "--out", str(place / "parts")],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    seconds: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return seconds


def main(options: Options) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = rows(options, place)
        print("| row | seconds, median | all |\n|---|---|---|")
        for name, seconds in found.items():
            each = " ".join(f"{one:.1f}" for one in seconds)
            print(f"| {name} | **{statistics.median(seconds):.1f}** | {each} |", flush=True)
        split = {}
        for job in options.only:
            split[job] = parts(job, place)
            shown = ", ".join(f"{name} {value:.1f}" for name, value in split[job].items())
            print(f"\nParts of one cold run, {LABELS[job]}: {shown}", flush=True)
    if options.out:
        options.out.write_text(json.dumps({"seconds": found, "parts": split}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
