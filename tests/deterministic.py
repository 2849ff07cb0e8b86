"""Does a run that was killed end with the bits of an unbroken one on this device?

    python tests/deterministic.py --kills 5 --deterministic     # promised, also on a GPU
    python tests/deterministic.py --kills 5                     # promised on a CPU alone

Two arms of a small VGG, saved every five steps. Each trial kills the command once or twice, at
random moments, and gives it again until it ends. Prints how many trials ended with the very
`probes.npz` and `metrics.jsonl` of the unbroken run.
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


def start(out: Path, options: list[str]) -> subprocess.Popen[str]:
    """The command, as a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *options, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(out: Path, options: list[str]) -> dict[str, bytes]:
    """The command to its end, and what it measured."""
    process = start(out, options)
    _, said = process.communicate(timeout=LONGEST)
    if process.returncode:
        raise RuntimeError(f"the run ended with status {process.returncode}: {said}")
    (run,) = (out / "landscape").iterdir()
    return {name: (run / name).read_bytes() for name in ("probes.npz", "metrics.jsonl")}


def kill(out: Path, options: list[str], seconds: float) -> bool:
    """Start the command and kill it so much later; whether it had not ended before."""
    process = start(out, options)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode == -9


def main() -> int:
    """Try, and print the outcome; 1 if a trial ended with other bits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5, help="trials (default: %(default)s)")
    parser.add_argument("--deterministic", action="store_true", help="give the runs this option")
    arguments = parser.parse_args()
    options = ["--deterministic"] if arguments.deterministic else []
    generator = random.Random("deterministic")
    same, killed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        finish(root / "first", options)  # compiles
        started = time.monotonic()
        expected = finish(root / "unbroken", options)
        life = time.monotonic() - started
        for trial in range(arguments.kills):
            out = root / str(trial)
            for _ in range(generator.randint(1, 2)):
                killed += kill(out, options, generator.uniform(0.3, 1) * life)
            same += finish(out, options) == expected
    device = jax.devices()[0].device_kind
    flags = " ".join(options) or "no flags"
    print(
        f"{device}, jax {jax.__version__}, {flags}: {same} of {arguments.kills} runs, killed "
        f"{killed} times, ended with the bits of an unbroken one"
    )
    return int(same < arguments.kills)


if __name__ == "__main__":
    sys.exit(main())
