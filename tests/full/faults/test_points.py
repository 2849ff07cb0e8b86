"""A fault before every single operation of the saves and of the publishing of a run.

A run of 20 steps is broken off after its second checkpoint, so that what is left of it holds two
saves (each of which deletes an older checkpoint), the archive, the rows, the figure and the
summary. Faults come at operation 1, 2, … until none is reached, as SQLite tests itself.
"""

import random
import signal
from pathlib import Path

import pytest

from faults import toy as toys
from faults.injection import KINDS
from faults.toy import Toy
from faults.trials import counted, number

TRIALS = number("points")
CHUNKS = max(4, TRIALS // 25)


class Start:
    """A run that was broken off, and the operations that end it."""

    def __init__(self, toy: Toy, place: Path) -> None:
        self.toy, self.broken, self.log = toy, place / "broken", place / "operations"
        process = toy.start(self.broken)
        second = "landscape/*/checkpoints/*/8"
        assert process.wait_until(lambda: bool(list(self.broken.glob(second)))) is None
        process.send(signal.SIGKILL)
        process.end()
        self.before = toys.progress(self.broken)
        self.toy.run(toys.copy(self.broken, place / "whole"), self.points(place / "whole", 0))
        self.operations = self.log.read_text().splitlines()
        self.whole = toys.files(place / "whole")

    def points(self, out: Path, at: int, kind: str = "kill") -> dict:
        """A fault at one operation below a root; at 0 there is none and they are only listed."""
        log = "" if at else str(self.log)
        return {"points": {"folder": str(out), "at": at, "kind": kind, "log": log}}


@pytest.fixture(scope="module")
def start(single, tmp_path_factory) -> Start:
    return Start(single, tmp_path_factory.mktemp("points"))


def chosen(count: int) -> list[tuple[str, int]]:
    """Kinds and operations: a kill at each, an error at each, and so on; few are spread."""
    operations = range(1, count + 1)
    every = [("kill", at) for at in operations]
    errors = KINDS[1:]
    every += [(errors[(at + turn) % 3], at) for turn in range(3) for at in operations]
    if 2 * count > TRIALS:
        return random.Random("points").sample(every, TRIALS)
    return every[:TRIALS]


def test_all_kinds_of_operations_are_counted(start):
    assert start.before == {"batch-0": 8}
    seen = {line.split()[1] for line in start.operations}
    assert seen == {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.fsync"}
    touched = " ".join(start.operations)
    for name in (".16.", ".20.", "MANIFEST", "results.nc", "metrics.jsonl", "png", "summary.json"):
        assert name in touched


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_fault_at_any_operation_costs_no_checkpoint_and_the_run_goes_on(start, tmp_path, chunk):
    for kind, at in chosen(len(start.operations))[chunk::CHUNKS]:
        with counted("points"):
            where = f"{kind} at {start.operations[at - 1]}"
            out = toys.copy(start.broken, tmp_path / "out")
            ended = start.toy.start(out, start.points(out, at, kind)).end()
            if kind == "kill":
                assert ended.status == -signal.SIGKILL or at > len(start.operations) - 8, where
            else:
                assert ended.status in (0, 1), (where, ended)
                if ended.status:
                    check_line(ended.stderr, where)
            toys.assert_not_worse(toys.progress(out), start.before)
            for name, content in toys.files(out).items():
                assert content == start.whole[name], f"{where}: {name} is there, but not whole"
            try:
                start.toy.finish(out)
            except AssertionError as error:
                raise AssertionError(f"{where}: {ended}: {error}") from error


def check_line(stderr: str, where: str) -> None:
    """One line says what went wrong; there is no traceback."""
    errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, (where, stderr)
    assert "Traceback" not in stderr, f"{where}: {stderr}"
