"""The scripts for bash and zsh, sourced and asked as a shell asks them."""

import shutil
import subprocess

import pytest

from bnjax.commands import program
from bnjax.frame import study as studies

BASH = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_bnjax
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
# What completion of zsh calls, without a terminal: `compgen` stands for its list of matches.
ZSH = """
autoload -Uz compinit && compinit -u -D
source {script}
emulate -L sh
setopt kshglob noshglob braceexpand ksharrays
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_bnjax
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(params=["bash", "zsh"])
def complete(request, tmp_path, capsys):
    """The words that a shell offers at the end of a line."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"{request.param} is not installed here")
    assert program.main(["completion", request.param]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)

    def complete(*words):
        asked = BASH if request.param == "bash" else ZSH
        asked = asked.format(script=tmp_path / "script", words=" ".join(f"'{w}'" for w in words))
        flags = ["--norc"] if request.param == "bash" else ["-f"]
        done = subprocess.run(
            [shell, *flags, "-c", asked], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        # `compgen` of zsh leaves it to `compadd` to compare with the word that is begun.
        return [found for found in done.stdout.split() if found.startswith(words[-1])]

    return complete


def test_studies_commands_options_and_values_are_completed(complete):
    assert complete("bnjax", "land") == ["landscape"]
    assert complete("bnjax", "re") == ["report", "reproduce", "resume"]
    assert set(studies.names()) < set(complete("bnjax", ""))
    assert complete("bnjax", "landscape", "--lr") == ["--lr", "--lrs", "--lr-drops"]
    assert "--min-step" in complete("bnjax", "landscape", "")
    assert complete("bnjax", "landscape", "--conf") == ["--config"]
    assert complete("bnjax", "theory", "--no-fl") == ["--no-float64"]
    assert complete("bnjax", "landscape", "--norms", "none", "b") == ["batch"]
    assert complete("bnjax", "shift", "--lr", "1", "--model", "vgg1") == [
        "vgg11",
        "vgg13",
        "vgg16",
        "vgg19",
    ]
    assert complete("bnjax", "landscape", "--preset", "p") == ["paper", "published"]
    assert complete("bnjax", "landscape", "--statistics", "r") == ["running", "recalibrated"]
    assert complete("bnjax", "sigmoid_mnist", "--statistics", "r") == ["running"]
    assert complete("bnjax", "reproduce", "--pres") == ["--preset"]
    assert complete("bnjax", "help", "spec") == ["spectrum"]
    assert complete("bnjax", "completion", "") == ["bash", "zsh"]


def test_where_no_word_is_known_the_shell_offers_files(complete):
    assert complete("bnjax", "landscape", "--data-dir", "") == []
    assert complete("bnjax", "verify", "") == []
