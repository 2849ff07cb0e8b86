"""Seconds that the quick landscape compiles, at its first start and at its second.

    python benchmarks/second_start.py [options of experiments/landscape.py]

Both starts are processes of their own that share an empty folder for compiled programs.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHILD = "--in-this-process"


def start(options: list[str]) -> None:
    """Run the experiment here, and print what JAX says of its time."""
    from jax import monitoring

    seconds: Counter[str] = Counter()

    def record(event: str, duration: float, **_: object) -> None:
        seconds[event] += duration

    monitoring.register_event_duration_secs_listener(record)
    sys.path.insert(0, str(ROOT / "experiments"))
    from bnjax.commands.command_line import main
    from bnjax.studies.landscape import study as landscape

    begun = time.perf_counter()
    sys.argv = ["landscape.py", *options]
    status = main(landscape.EXPERIMENT)
    whole = time.perf_counter() - begun
    names = ("jaxpr_trace", "jaxpr_to_mlir_module", "backend_compile")
    parts = [seconds[f"/jax/core/compile/{name}_duration"] for name in names]
    told = ", ".join(f"{name} {part:.1f}" for name, part in zip(names, parts, strict=True))
    print(f"compile {sum(parts):.1f} s ({told}) of {whole:.1f} s")
    sys.exit(status)


def compare(options: list[str]) -> None:
    """Both starts, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second"):
            out = ["--out", str(Path(folder, name))]
            done = subprocess.run(
                [sys.executable, __file__, CHILD, *options, *out],
                env={**os.environ, "BNJAX_CACHE_DIR": str(Path(folder, "cache"))},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            print(f"{name} start: {done.stdout.splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    start(arguments[1:]) if arguments[:1] == [CHILD] else compare(arguments)
