"""Several processes on one run: one has it, the others say who, and a dead one's is free."""

import json
import os
import random
import signal
import socket
from pathlib import Path

import pytest

from faults.nursery import Process
from faults.toy import COMMON, PERCEPTRON
from faults.trials import counted, number

TRIALS = number("locks")
CHUNKS = max(1, TRIALS // 10)
LONGEST = 2.0  # seconds after its imports until a process that finds the run taken has ended
ENDLESS = [*COMMON, *PERCEPTRON, "--steps", "20000"]


def owner(out: Path) -> int:
    """The process that says of itself that it has the run; 0 if there is none."""
    for path in out.glob(".locks/*.owner"):
        try:
            return int(json.loads(path.read_text())["pid"])
        except ValueError:  # it is being written
            return 0
    return 0


def find_winner(processes: list[Process]) -> tuple[list[Process], list[Process]]:
    """Those that still run, and the others, as soon as one is left."""
    losers: list[Process] = []
    while len(losers) < len(processes) - 1:
        for process in processes:
            if process not in losers and process.wait(0.01) is not None:
                losers.append(process)
    return [process for process in processes if process not in losers], losers


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_one_process_wins_the_others_name_it_and_a_dead_one_blocks_nobody(nursery, tmp_path, chunk):
    generator = random.Random(f"locks {chunk}")
    last, taken_over = 0, []
    for count, _ in enumerate(range(chunk, TRIALS, CHUNKS)):
        with counted("locks"):
            out = tmp_path / str(count // 3)  # two of three find the lock of a dead process
            if count % 3:
                taken_over.append(owner(out) == last)
            command = [*ENDLESS, "--out", out]
            (winner,), losers = find_winner(
                [nursery.start(command) for _ in range(generator.randrange(2, 9))]
            )
            assert owner(out) == winner.pid
            named = f"in use by process {winner.pid} on {socket.gethostname()}: wait until"
            for loser in losers:
                ended = loser.end()
                assert ended.status == 1, ended
                assert ended.stderr.startswith("error: "), ended
                assert named in ended.stderr, ended
                assert ended.stderr.count("\n") == 1, ended
                # On a busy machine each of them waits its turn.
                share = (os.getloadavg()[0] + len(losers)) / (os.cpu_count() or 1)
                assert ended.seconds < LONGEST * max(1.0, share), ended
            winner.send(generator.choice([signal.SIGKILL, signal.SIGTERM]))
            ended = winner.end()
            assert ended.status in (-signal.SIGKILL, -signal.SIGTERM, 130), ended
            last = winner.pid
    # One that ends before it has made the folder leaves no lock.
    assert sum(taken_over) >= len(taken_over) / 2
