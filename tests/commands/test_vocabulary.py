"""Help pages, the nearest legal words, and names that are found without loading what they name."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from bnjax import choices, models
from bnjax.commands import command_line, program, vocabulary
from bnjax.frame import study as studies
from bnjax.studies import landscape, spectrum

ROOT = Path(__file__).parents[2]


def page(capsys, *arguments, study=landscape.STUDY):
    """A study's help page."""
    with pytest.raises(SystemExit) as ended:
        command_line.prepare(study, arguments)
    assert not ended.value.code
    return capsys.readouterr().out


def flags(text):
    return re.findall(r"^  (--[a-z0-9-]+)", text, re.MULTILINE)


def paragraph(text, flag):
    """What a page says of an option."""
    found = re.search(rf"^  {flag}\b.*?(?=^  -|^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found[0].split())


def test_help_shows_a_studys_own_options_first_then_the_most_used(capsys):
    shown = flags(page(capsys, "--help"))
    own = [f"--{field.name}".replace("_", "-") for field in dataclasses.fields(landscape.Line)]
    own.remove("--probe-precision")  # of a group that studies share
    used = vocabulary.MOST_USED
    assert len(used) == 15
    assert sorted(shown[: len(own)]) == sorted(own)
    assert shown[len(own) :] == used


@pytest.mark.parametrize("name", studies.names())
def test_help_all_shows_every_option_of_every_study_by_groups(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    study = studies.find(name)
    text = page(capsys, "--help-all", study=study)
    fields = [f"--{field.name}".replace("_", "-") for field in dataclasses.fields(study.options)]
    assert sorted(flags(text)) == sorted([*fields, "--config"])
    assert "How a run is carried out, kept and shown:" in " ".join(text.split())
    undocumented = [
        option.name for option in vocabulary.options_of(study.options) if not option.text
    ]
    assert not undocumented
    short = page(capsys, "--help", study=study)
    assert set(flags(short)) < set(flags(text))
    assert f"These are {len(flags(short))} of {len(flags(text))} options" in short
    assert all(len(line) <= 60 for line in short.splitlines() if line.startswith("  -"))


@pytest.mark.parametrize(
    ("called", "expected"),
    [
        ("/usr/local/bin/bnjax", "bnjax landscape"),
        ("/lib/bnjax/__main__.py", "python -m bnjax landscape"),
        ("experiments/landscape.py", "python experiments/landscape.py"),
        (str(ROOT / "experiments/landscape.py"), "python experiments/landscape.py"),
        ("/elsewhere/my_study.py", "python my_study.py"),
    ],
)
def test_usage_names_what_was_typed(called, expected, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [called])
    text = page(capsys, "--help")
    assert text.startswith(f"usage: {expected} [OPTIONS]\n")
    assert f"    {expected} --lr 0.4\n" in text


def test_help_says_which_defaults_another_model_has(capsys):
    text = page(capsys, "--help")
    others = "another --model, --model dln, --model gpt or --model vit"
    assert f"(default: 3; with {others}: 1)" in paragraph(text, "--seeds")
    others = "another --model, --model gpt or --model vit"
    expected = f"default: 0.05; with {others}: 0.1; with --model dln: 1e-06"
    assert expected in paragraph(text, "--lr")
    assert "(default: vgg5)" in paragraph(text, "--model")
    text = page(capsys, "--help", "--model", "vgg11")
    assert "(default: 1)" in paragraph(text, "--seeds")
    assert "--model dln" not in text[text.index("Most used:") :]


def test_help_of_a_switch_says_how_it_is_switched_off(capsys):
    found = paragraph(page(capsys, "--help", study=studies.find("theory")), "--float64")
    assert found.endswith("(default: on; --no-float64 switches it off)")


def test_every_command_has_a_help_page_and_help_is_a_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bnjax"])
    for name in (*program.COMMANDS, *program.MODULES):
        for call in ([name, "--help"], ["help", name]):
            with pytest.raises(SystemExit):
                program.main(call)
            assert capsys.readouterr().out.startswith(f"usage: bnjax {name} [OPTIONS]")
    assert program.main(["help"]) == 0
    assert "bnjax help landscape" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        program.main(["help", "spectrum"])
    assert "--lanczos-steps" in capsys.readouterr().out
    assert program.main(["help", "spectrun"]) == 2
    assert "; did you mean spectrum?" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    assert program.main(["--version"]) == 0
    said = capsys.readouterr().out
    assert f'\nversion = "{said.split()[1]}"\n' in (ROOT / "pyproject.toml").read_text()


def test_another_name_of_an_option_sets_it():
    given = command_line.prepare(landscape.STUDY, ["--learning-rate", "0.1", "0.2"])
    assert given == command_line.prepare(landscape.STUDY, ["--lr", "0.1", "0.2"])
    given = command_line.prepare(spectrum.STUDY, ["--learning_rate=0.2"])
    assert given.lr == 0.2


def test_the_names_for_completion_are_those_that_are_registered():
    assert set(choices.NORMS) <= set(models.norms.REGISTRY)
    assert set(choices.MODELS) <= set(models.FAMILIES)
    shipped = "import bnjax.models as m; print(*m.norms.REGISTRY, *m.FAMILIES)"
    call = [sys.executable, "-c", shipped]
    done = subprocess.run(call, capture_output=True, text=True, check=True, cwd=ROOT, timeout=120)
    assert done.stdout.split() == [*choices.NORMS, *choices.MODELS]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("layernorm", choices.NORMS, "layer"),
        ("GroupNorm", choices.NORMS, "group"),
        ("LN", choices.NORMS, "layer"),
        ("vanilla", choices.NORMS, "none"),
        ("rmsnorm", choices.NORMS, "rms"),
        ("vgg-16", choices.MODELS, "vgg16"),
        ("ResNet-50", choices.MODELS, "resnet"),
        ("batch-size", studies.names(), "batch_size"),
        ("hessian", studies.names(), "spectrum"),
        ("--wd", ["--width", "--weight-decay"], "--weight-decay"),
    ],
)
def test_the_nearest_name_is_named(word, known, meant):
    assert choices.did_you_mean(word, known) == f"; did you mean {meant}?"


def test_every_other_name_leads_to_a_name_that_there_is():
    options = {
        option.name
        for name in studies.names()
        for option in vocabulary.options_of(studies.find(name).options)
    }
    known = options | {*choices.NORMS, *choices.MODELS, *studies.names()}
    assert set(choices.ALSO_CALLED.values()) <= known


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (float, "a number"),
        (int | None, "a whole number or None"),
        (tuple[float, float], "2 numbers"),
        (tuple[int, ...], "whole numbers"),
        (tuple[Path, ...], "paths"),
        (tuple[Literal["a", "b"], ...], "some of a b"),
        (tuple[Path, Path] | None, "2 paths"),
        (Literal["a", "b"] | None, "one of a b or None"),
    ],
)
def test_what_an_option_takes_is_said_in_words(kind, said):
    assert vocabulary.described(kind) == said
