"""Does a run that was killed end with the bits of an unbroken one on this device?

    python tests/deterministic.py --deterministic     # promised, also on a GPU
    python tests/deterministic.py                     # promised on a CPU alone

Two arms of a small VGG, saved every five steps. Each trial kills the command at random moments
until a kill comes after a save and before the end, and then gives it again. Prints how many trials
ended with the very `probes.npz` and `metrics.jsonl` of the unbroken run.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
OPTIONS = (
    "--model vgg11 --width 0.25 --steps 60 --probe-every 6 --evaluate-every 20 "
    "--checkpoint-steps 5 --optimizer momentum --dropout 0.2"
)
COMMAND = (sys.executable, str(ROOT / "experiments" / "landscape.py"), *OPTIONS.split())
LONGEST = 300  # seconds
ATTEMPTS = 20  # to kill a run between its first save and its end


def start(out: Path, options: list[str]) -> subprocess.Popen[str]:
    """The command, as a process of its own that says what went wrong into a file."""
    out.mkdir(exist_ok=True)
    with (out / "stderr").open("w") as said:
        return subprocess.Popen(
            [*COMMAND, *options, "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=said,
            text=True,
        )


def wait(process: subprocess.Popen[str], out: Path, seconds: float) -> None:
    """Wait for an end, which must be a good one."""
    if process.wait(seconds):
        said = (out / "stderr").read_text()
        raise RuntimeError(f"the run ended with status {process.returncode}: {said}")


def finish(out: Path, options: list[str]) -> dict[str, bytes]:
    """The command to its end, and what it measured."""
    wait(start(out, options), out, LONGEST)
    (run,) = (out / "landscape").iterdir()
    return {name: (run / name).read_bytes() for name in ("probes.npz", "metrics.jsonl")}


def break_off(root: Path, options: list[str], life: float, generator: random.Random) -> Path:
    """A run that was killed after a save and before its end."""
    for attempt in range(ATTEMPTS):
        out = root / str(attempt)
        process = start(out, options)
        try:
            wait(process, out, generator.uniform(0.2, 1) * life)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if any(out.glob("landscape/*/checkpoints/*/[1-9]*")):
                return out
    raise RuntimeError(f"no kill in {ATTEMPTS} came between the first save and the end")


def main() -> int:
    """Try, and print the outcome; 1 if a trial ended with other bits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--deterministic", action="store_true", help="give the runs this option")
    arguments = parser.parse_args()
    options = ["--deterministic"] if arguments.deterministic else []
    generator = random.Random("deterministic")
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        finish(root / "first", options)  # compiles
        started = time.monotonic()
        expected = finish(root / "unbroken", options)
        life = time.monotonic() - started
        for trial in range(arguments.trials):
            place = root / f"trial{trial}"
            place.mkdir()
            broken = break_off(place, options, life, generator)
            same += finish(broken, options) == expected
    device = jax.devices()[0].device_kind
    print(
        f"{device}, jax {jax.__version__}, {' '.join(options) or 'no option'}: {same} of "
        f"{arguments.trials} killed runs ended with the bits of an unbroken one"
    )
    return int(same < arguments.trials)


if __name__ == "__main__":
    sys.exit(main())
