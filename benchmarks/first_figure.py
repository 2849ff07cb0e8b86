"""From typing to the picture: studies as a user starts them, beside a plain PyTorch script.

    python benchmarks/first_figure.py --torch-python PYTHON       # half an hour
    python benchmarks/first_figure.py --only quick                # today's default alone
    python benchmarks/first_figure.py --only shift theory --repeats 1   # other studies' defaults

Each row is a process of its own, from its imports to its last file, as a user starts it. A cold run
has an empty compile cache; the warm run after it has the cache of the cold one. Rows take turns,
and medians are printed. One more cold and warm run of the landscape gives the times of its parts.
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
JOBS = {
    "fixed": ("landscape", [f"--{name}={value}" for name, value in FIXED.items()]),
    "quick": ("landscape", []),
}
LABELS = {"fixed": "VGG-11 ×¼, 200 steps, one seed", "quick": "landscape, the default"}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    torch_python: str = ""
    """Interpreter with torch, matplotlib and scikit-learn; empty: no PyTorch rows."""
    only: tuple[str, ...] = tuple(JOBS)
    """Jobs: fixed, quick, or the name of a study for its default."""
    repeats: int = 3
    """Runs of each row; the median is printed."""
    arguments: tuple[str, ...] = ()
    """Further options of every run of a study."""
    parts: bool = True
    """Whether to take a cold and a warm run of fixed and quick apart."""
    out: Path | None = None
    """Write all seconds as JSON here."""


def bnjax(job: str, place: Path, cache: Path, extra: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of one run, and to its first line with a loss."""
    out = place / f"runs-{time.monotonic_ns()}"
    study, options = JOBS.get(job, (job, []))
    command = [sys.executable, f"experiments/{study}.py", *options, *extra, "--out", str(out)]
    return timed(command, {**os.environ, "BNJAX_CACHE_DIR": str(cache)})


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of a process, and to its first line with a loss (NaN: there is none)."""
    begun, first = time.perf_counter(), float("nan")
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "minibatch loss" in line and first != first:
                first = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - begun, first


def rows(options: Options, place: Path) -> dict[str, list[tuple[float, float]]]:
    """Seconds of every row, in turn."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        for job in options.only:
            cache = place / f"cache-{time.monotonic_ns()}"
            for state in ("cold", "warm"):
                seconds = bnjax(job, place, cache, options.arguments)
                found.setdefault(f"{LABELS.get(job, job)}, {state}", []).append(seconds)
        if options.torch_python and "fixed" in options.only:
            for limits in ("exact", "none"):
                script = str(ROOT / "benchmarks/first_figure_torch.py")
                picture = str(place / "torch.png")
                command = [options.torch_python, script, picture, "--limits", limits]
                seconds = timed(command, dict(os.environ))
                found.setdefault(f"PyTorch, the same, limits {limits}", []).append(seconds)
    return found


def parts(job: str, place: Path) -> dict[str, float]:
    """Seconds of the parts of one run, by a child that times them."""
    command = [sys.executable, str(ROOT / "benchmarks/first_figure_parts.py"), *JOBS[job][1]]
    environment = {**os.environ, "BNJAX_CACHE_DIR": str(place / f"cache-of-{job}")}
    run = subprocess.run(
        [*command, "--fresh", "--out", str(place / "parts")],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    seconds: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return seconds


def main(options: Options) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        found = rows(options, place)
        print("| row | seconds, median | all | first loss, median |\n|---|---|---|---|")
        for name, each in found.items():
            whole, first = (statistics.median(column) for column in zip(*each, strict=True))
            shown = " ".join(f"{one[0]:.1f}" for one in each)
            print(f"| {name} | **{whole:.1f}** | {shown} | {first:.1f} |", flush=True)
        split: dict[str, dict[str, float]] = {}
        for job in options.only if options.parts else ():
            for state in ("cold", "warm") if job in JOBS else ():
                split[f"{job}, {state}"] = taken = parts(job, place)
                shown = ", ".join(f"{name} {value:.1f}" for name, value in taken.items())
                print(f"\nParts of one {state} run, {LABELS[job]}: {shown}", flush=True)
    if options.out:
        options.out.write_text(json.dumps({"seconds": found, "parts": split}, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
