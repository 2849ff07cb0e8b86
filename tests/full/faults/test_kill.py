"""A run that is killed at any moments ends, by the same command, as if it had never been."""

import random
import signal
import time
from pathlib import Path

import pytest

from faults import toy as toys
from faults.nursery import Process
from faults.toy import Toy
from faults.trials import counted, number

KILLS = number("kill")
IN_A_ROW = 8  # kills before a run may end; some runs end earlier by themselves
ROWS = [min(IN_A_ROW, KILLS - first) for first in range(0, KILLS, IN_A_ROW)]
AIMED = 0.4  # share of the kills that wait for a file that is about to be published


def wait_for_moment(process: Process, toy: Toy, out: Path, generator: random.Random) -> bool:
    """Wait for the moment to kill; whether the process has not ended before."""
    if generator.random() >= AIMED:
        return process.wait(generator.uniform(0, toy.life)) is None
    wanted = generator.choice([".*[0-9].*.tmp", ".*.tmp", ".*.jsonl.*", ".results*", ".summary*"])
    skipped, seen = generator.randrange(4) if wanted.endswith("tmp") else 0, set()

    def appeared() -> bool:
        seen.update(toys.find(out, wanted))
        return len(seen) > skipped

    if process.wait_until(appeared) is not None:
        return False
    time.sleep(generator.choice([0, generator.uniform(0, 0.03)]))
    return process.wait(0) is None


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_killed_again_and_again_it_ends_bit_for_bit_the_same(toy, tmp_path, row):
    generator = random.Random(f"kill {row}")
    out, runs = tmp_path / "0", 0
    saved: dict[str, int] = {}
    for _ in range(ROWS[row]):
        with counted("kill"):
            while True:
                process = toy.start(out)
                if wait_for_moment(process, toy, out, generator):
                    break
                ended = process.end()
                assert ended.status == 0, ended
                toy.check(out)
                runs, saved = runs + 1, {}
                out = tmp_path / str(runs)
            process.send(signal.SIGKILL)
            ended = process.end()
            assert ended.status in (-signal.SIGKILL, 0), ended
            now = toys.progress(out)
            toys.assert_not_worse(now, saved)
            saved = now
    toy.finish(out)


def test_killed_with_the_real_figure_half_drawn(toy, tmp_path):
    process = toy.start(tmp_path, {"hooks": []})
    assert process.wait_until(lambda: any(toys.find(tmp_path, "*difference*"))) is None
    process.send(signal.SIGKILL)
    assert process.end().status == -signal.SIGKILL
    ended = toy.run(tmp_path, {"hooks": []})
    assert "gradient_difference.pdf" in ended.stdout
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".locks"]
