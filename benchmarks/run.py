"""Times bnjax's probes beside PyTorch's plain loops and naive JAX, in turn, on this machine.

    make bench                                    # everything; about half an hour on two CPU cores
    python benchmarks/run.py --only landscape     # some rows
    python benchmarks/run.py --toy                # seconds; to see that it runs

Needs no data and no network. PyTorch runs as a process of its own (`--torch-python`), because its
versions and JAX's seldom suit one interpreter. Every repetition runs bnjax, then PyTorch, then
naive JAX, so the ratios hold when the machine's speed drifts; medians after a warm-up are printed,
compilation apart.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from jobs import BnjaxJobs, NaiveJobs, matrix_product_rate
from rich import box
from rich.console import Console
from rich.table import Table

from bnjax.runs.fingerprint import fingerprint


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time, and against what."""

    torch_python: str = ""
    """Interpreter with torch installed; empty: no PyTorch column."""
    only: tuple[str, ...] = ()
    """Keep the rows whose name contains one of these words."""
    repeats: int = 5
    """Counted repetitions of each row, after one that is not counted."""
    naive: bool = True
    """Time JAX written naively too (native convolutions, vmap over the points)."""
    precision: str = "highest"
    """Matrix-product precision of bnjax and PyTorch alike: highest, or default (TF32 on GPUs)."""
    toy: bool = False
    """Tiny networks and batches."""
    out: Path | None = None
    """Write the table as JSON here."""


class Row(NamedTuple):
    """One job on one network."""

    name: str
    job: str
    model: str
    norm: str
    width: float
    batch: int = 128
    points: int = 7
    layers: int = 0

    def request(self) -> dict[str, Any]:
        """What the PyTorch process is asked for."""
        return {key: value for key, value in self._asdict().items() if key != "name"}


def rows(toy: bool) -> list[Row]:
    """All rows, in order."""
    if toy:
        return [
            Row(f"{job} toy", job, "vgg11", "batch", 1 / 32, batch=8, points=2, layers=1)
            for job in ("train_step", "landscape", "losses", "shift", "curvature")
        ]
    networks = [("vgg11", 1.0), ("vggA", 1.0), ("vgg16", 1.0), ("vgg16", 0.25)]
    each = [
        Row(
            f"{title}, {model} ×{width:g}, {norm}",
            job,
            model,
            norm,
            width,
            layers=layers,
            points=points,
        )
        for job, title, layers, points in (
            ("train_step", "training step", 0, 0),
            ("landscape", "landscape step, 1 + 7 points", 0, 7),
            ("shift", "shift of two layers", 2, 0),
            ("shift", "shift of all layers", 0, 0),
            ("losses", "line of 8 losses", 0, 8),
        )
        for model, width in networks
        for norm in ("batch", "none")
    ]
    scaling = [
        *(
            Row(f"scaling, {n} points", "landscape", "vgg11", "batch", 0.25, points=n)
            for n in (4, 16, 64)
        ),
        *(
            Row(f"scaling, batch {n}", "landscape", "vgg11", "batch", 0.25, batch=n)
            for n in (32, 512)
        ),
        *(Row(f"scaling, width ×{w:g}", "landscape", "vgg11", "batch", w) for w in (0.125, 0.5)),
        *(Row(f"scaling, depth {d}", "landscape", f"vgg{d}", "batch", 0.25) for d in (13, 19)),
    ]
    curvature = [
        Row(
            f"top eigenvalue, 5 products, vgg11 ×0.25, {norm}",
            "curvature",
            "vgg11",
            norm,
            0.25,
            points=5,
        )
        for norm in ("batch", "none")
    ]
    return [*each, *scaling, *curvature]


class TorchProcess:
    """PyTorch's loops in another interpreter, asked over a pipe."""

    def __init__(self, python: str, precision: str) -> None:
        script = str(Path(__file__).with_name("torch_loops.py"))
        self.process = subprocess.Popen(
            [python, script, precision], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = self.read()

    def read(self) -> dict[str, Any]:
        """One answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the PyTorch process ended: its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds(self, row: Row) -> float:
        """One repetition of a row."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(row.request()) + "\n")
        self.process.stdin.flush()
        return float(self.read()["seconds"])


def timed(run: Callable[[], Any]) -> float:
    """Seconds until everything that `run` started is done."""
    started = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - started


def measure(row: Row, options: Options, torch: TorchProcess | None) -> dict[str, Any]:
    """Time one row in turn."""
    contestants: dict[str, Callable[[], float]] = {}
    ours = BnjaxJobs(row, options.precision)
    compile_seconds = ours.compile()
    contestants["bnjax"] = lambda: timed(ours.run)
    if torch is not None:
        contestants["PyTorch"] = lambda: torch.seconds(row)
    if options.naive and row.job == "landscape":
        naive = NaiveJobs(row, options.precision)
        naive.compile()
        contestants["naive JAX"] = lambda: timed(naive.run)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repetition in range(options.repeats + 1):
        for name, run in contestants.items():
            seconds = run()
            if repetition:
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result: dict[str, Any] = {"name": row.name, "seconds": medians, "compile": compile_seconds}
    if "PyTorch" in times:
        pairs = zip(times["bnjax"], times["PyTorch"], strict=True)
        result["ratio"] = statistics.median(a / b for a, b in pairs)
    result["temporary_mebibytes"] = ours.temporary_mebibytes()
    result["rate"] = ours.flops() / medians["bnjax"]
    return result


def main(options: Options) -> None:
    """Time all rows and print the table."""
    console = Console()
    torch = TorchProcess(options.torch_python, options.precision) if options.torch_python else None
    peak = matrix_product_rate(options.precision, size=256 if options.toy else 2048)
    about = {**fingerprint(), "matrix product FLOP/s": peak, "precision": options.precision}
    about |= torch.about if torch else {"torch": "not measured"}
    console.print(about)
    table = Table(
        "job",
        "bnjax",
        "PyTorch",
        "bnjax / PyTorch",
        "naive JAX",
        "compile",
        "temporary",
        "of peak",
        box=box.SIMPLE,
    )
    results = []
    for row in rows(options.toy):
        if options.only and not any(word in row.name for word in options.only):
            continue
        result = measure(row, options, torch)
        results.append(result)
        seconds = result["seconds"]
        cells = [
            f"{seconds[name]:.3f} s" if name in seconds else "" for name in ("bnjax", "PyTorch")
        ]
        ratio = f"{result['ratio']:.2f}" if "ratio" in result else ""
        naive = f"{seconds['naive JAX']:.3f} s" if "naive JAX" in seconds else ""
        share = f"{result['rate'] / peak:.0%}"
        memory = f"{result['temporary_mebibytes']:.0f} MiB"
        table.add_row(row.name, *cells, ratio, naive, f"{result['compile']:.1f} s", memory, share)
        print(row.name, *cells, ratio, naive, share, flush=True)
        if options.out is not None:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps({"about": about, "rows": results}, indent=2) + "\n")
        jax.clear_caches()
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
