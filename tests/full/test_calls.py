"""Command lines with a bad value of any option of any study: one line, nothing written."""

import dataclasses
import os
import random
import types
import typing
from pathlib import Path

import hostile
import pytest
from conftest import time_limit
from faults.trials import counted, number

from bnjax.commands import command_line
from bnjax.frame import study as studies

TRIALS = number("inputs")
BLOCKS = 10  # of trials, one test each
TEXTS = [text for text in hostile.TEXTS if text not in ("", "é" * 50)]
# Legal for few options, and then refused or accepted before anything of that size is made.
LARGE = ["3000", "65537", "2000000", "100000000", "2147483647"]
INTEGERS = ["-1", "1.5", "x", "", "1e3", "0x10", "9" * 30, "9" * 5000, "nan", "-" + "9" * 30]
FLOATS = ["nan", "-inf", "inf", "-1", "1e999", "x", "", "0x10", "9" * 5000]
SHARED = ("debug", "out", "fresh", "preset")


class Accepted(Exception):
    """A value is legal after all."""


def bad_values(generator: random.Random, hint: typing.Any) -> list[str]:
    """Words after an option that its type, or good sense, does not allow."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in inner if kind is not type(None)]
        return bad_values(generator, generator.choice(kinds))
    if origin is tuple:
        rounds = range(generator.choice([1, 2]))
        words = [word for _ in rounds for word in bad_values(generator, inner[0])]
        return generator.choice([words, words * 2, []]) if inner[-1] is Ellipsis else words
    if hint is bool:
        return generator.choice([["maybe"], ["1"], ["yes", "no"]])
    if hint is int:
        return [generator.choice([*INTEGERS, *INTEGERS, *LARGE])]
    if hint is float:
        return [generator.choice(FLOATS)]
    if hint is Path:
        return [generator.choice([*TEXTS, "/nonexistent/x", "/dev/null", "/", "x" * 5000])]
    return [generator.choice(TEXTS)]


@pytest.fixture
def only_checked(monkeypatch):
    """Nothing is trained: what comes so far is accepted."""

    def accept(*arguments):
        raise Accepted

    monkeypatch.setattr("bnjax.frame.run.complete", accept)
    for name in ("XLA_FLAGS", "NPROC"):  # --deterministic and --data-devices add to them
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.mark.parametrize("block", range(BLOCKS))
@counted("inputs", TRIALS // BLOCKS)
def test_a_bad_value_gives_one_line_and_writes_nothing(
    only_checked, tmp_path, monkeypatch, capsys, block
):
    monkeypatch.chdir(tmp_path)
    refused = 0
    trials = range(block, TRIALS, BLOCKS)
    for trial in trials:
        generator = random.Random(f"calls {trial}")
        study = studies.find(generator.choice(studies.names()))
        hints = typing.get_type_hints(study.options)
        names = [f.name for f in dataclasses.fields(study.options) if f.name not in SHARED]
        name = generator.choice(names)
        words = bad_values(generator, hints[name])
        option = f"--{name.replace('_', '-')}"
        call = [f"{option}={words[0]}"] if len(words) == 1 else [option, *words]
        with time_limit():
            status = command_line.main(study, [*call, "--out", "runs"])
        captured = capsys.readouterr()
        done = (trial, study.name, call, captured.err)
        assert captured.err.startswith("error: "), done
        assert captured.err.count("\n") == 1, done
        assert captured.err[:-1].isprintable(), done
        assert len(captured.err) < 5000, done
        assert captured.out == "", done
        if "error: Accepted" in captured.err:
            assert not any(len(word) >= 30 and word.isdigit() for word in words), done
            continue
        refused += 1
        assert status == 2, done
        assert "--debug shows" not in captured.err, done
        assert list(tmp_path.iterdir()) == [], done
    assert refused >= 0.5 * len(trials)  # of values that may be legal by chance
