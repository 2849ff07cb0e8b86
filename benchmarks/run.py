"""Times bnjax's probes beside PyTorch's plain loops and naive JAX, in turn, on this machine.

    make bench                                    # everything; about half an hour on two CPU cores
    python benchmarks/run.py --only landscape     # some rows
    python benchmarks/run.py --toy                # seconds; to see that it runs

Needs no data and no network. PyTorch runs as a process of its own (`--torch-python`), because its
versions and JAX's seldom suit one interpreter. Every repetition runs bnjax, then PyTorch, then
naive JAX, so the ratios hold when the machine's speed drifts; medians after a warm-up are printed,
compilation apart.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from jax.experimental.compilation_cache import compilation_cache
from jobs import BnjaxJobs, NaiveJobs, matrix_product_rate

from bnjax.frame.fingerprint import fingerprint


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
    """Time JAX written naively too (native convolutions, vmap over the points), up to ×0.25."""
    precision: str = "highest"
    """Of bnjax and PyTorch alike: highest, default (TF32 on GPUs), or bfloat16 (weights stay in 32
    bits; PyTorch by autocast)."""
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

    def __init__(
        self,
        python: str,
        precision: str,
        *,
        denormals: bool = False,
        script: str = "torch_loops.py",
    ) -> None:
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script)), precision],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "FLUSH_DENORMAL": "0" if denormals else "1"},
        )
        atexit.register(self.process.kill)  # one that stands still sees no end of its input
        self.about = self.read()

    def read(self) -> dict[str, Any]:
        """One answer, after which the process stands still: its idle threads spin on otherwise."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the PyTorch process ended: its message stands above")
        self.process.send_signal(signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds(self, row: Row, job: str = "") -> float:
        """One repetition of a row, by its own job or another of the same kind."""
        return float(self.ask(row.request() | ({"job": job} if job else {}))["seconds"])

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What it answers to a request."""
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()


def timed(run: Callable[[], Any]) -> float:
    """Seconds until everything that `run` started is done."""
    started = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - started


def contestants(
    row: Row, ours: BnjaxJobs, options: Options, torch: TorchProcess | None
) -> dict[str, Callable[[], float]]:
    """Who takes turns at a row: each runs it once and returns its seconds."""
    runners: dict[str, Callable[[], float]] = {"bnjax": lambda: timed(ours.run)}
    if torch is not None:
        runners["PyTorch"] = lambda: torch.seconds(row)
    if torch is not None and row.job == "landscape" and torch.about["cuda"]:
        runners["PyTorch, one graph"] = lambda: torch.seconds(row, "landscape_at_best")
    if torch is not None and row.job == "landscape" and row.norm == "none":
        # Without this the network without normalisation meets denormals, which XLA flushes.
        kept = TorchProcess(options.torch_python, options.precision, denormals=True)
        runners["PyTorch, denormals kept"] = lambda: kept.seconds(row)
    if options.naive and row.job == "landscape" and row.width <= 0.25 and row.points <= 7:
        naive = NaiveJobs(row, options.precision)
        naive.compile()
        runners["naive JAX"] = lambda: timed(naive.run)
    return runners


def measure(row: Row, options: Options, torch: TorchProcess | None) -> dict[str, Any]:
    """Time one row in turn."""
    ours = BnjaxJobs(row, options.precision)
    compile_seconds = ours.compile()
    jax.clear_caches()
    again = BnjaxJobs(row, options.precision).compile()  # from the cache on disk
    runners = contestants(row, ours, options, torch)
    times: dict[str, list[float]] = {name: [] for name in runners}
    for repetition in range(options.repeats + 1):
        for name, run in runners.items():
            seconds = run()
            if repetition:
                times[name].append(seconds)
    result: dict[str, Any] = {
        "name": row.name,
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratio": {
            name: statistics.median(a / b for a, b in zip(times["bnjax"], other, strict=True))
            for name, other in times.items()
            if name != "bnjax"
        },
        "compile": compile_seconds,
        "compile_again": again,
        "temporary_mebibytes": ours.temporary_mebibytes(),
    }
    result["rate"] = ours.flops() / result["seconds"]["bnjax"]
    return result


def cells(result: dict[str, Any], peak: float) -> list[str]:
    """A row of the table."""
    ratios = result["ratio"]
    others = [f"{name} {ratio:.2f}" for name, ratio in ratios.items() if name != "PyTorch"]
    return [
        result["name"],
        f"{result['seconds']['bnjax']:.3f}",
        f"{result['seconds']['PyTorch']:.3f}" if "PyTorch" in ratios else "",
        f"{ratios['PyTorch']:.2f}" if "PyTorch" in ratios else "",
        ", ".join(others),
        f"{result['compile']:.1f} / {result['compile_again']:.1f}",
        f"{result['temporary_mebibytes']:.0f}",
        f"{result['rate'] / peak:.0%}" if result["rate"] else "",
    ]


@contextlib.contextmanager
def empty_compilation_cache() -> Iterator[None]:
    """Compiled programs go to a folder that is empty at first and gone at the end."""
    settings = {
        "jax_compilation_cache_dir": None,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with tempfile.TemporaryDirectory() as folder:
        for name, value in (settings | {"jax_compilation_cache_dir": folder}).items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # the folder is read once, at the first compilation
        try:
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()


def main(options: Options) -> None:
    """Time all rows and print the table."""
    torch = TorchProcess(options.torch_python, options.precision) if options.torch_python else None
    large = 2048 if jax.default_backend() == "cpu" else 8192  # what fills the device
    peak = matrix_product_rate(options.precision, size=256 if options.toy else large)
    about = {**fingerprint(), "matrix product FLOP/s": peak, "precision": options.precision}
    about |= torch.about if torch else {"torch": "not measured"}
    print(about)
    headings = ("job", "bnjax s", "PyTorch s", "bnjax / PyTorch", "bnjax / others")
    headings += ("compile / again s", "temporary MiB", "of peak")
    print(" | ".join(headings))
    results = []
    with empty_compilation_cache():
        for row in rows(options.toy):
            if options.only and not any(word in row.name for word in options.only):
                continue
            results.append(measure(row, options, torch))
            print(" | ".join(cells(results[-1], peak)), flush=True)
            if options.out is not None:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                whole = json.dumps({"about": about, "rows": results}, indent=2)
                options.out.write_text(whole + "\n")
            jax.clear_caches()


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
