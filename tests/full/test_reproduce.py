"""All experiments in one call, on noise images with a network that compiles in a moment."""

import json

import pytest

from bnjax.commands import reproduce
from bnjax.errors import UsageError

PARTS = ("vgg_training", "lp_norms")
TOY = {"steps": 12, "probe_every": 6, "evaluate_every": 6}


def options(out, **given):
    return reproduce.Options(out=out, only=PARTS, debug=True, **TOY, **given)


def test_every_part_runs_once_and_all_claims_end_in_one_table(toy, tmp_path, capsys):
    reproduce.reproduce(options(tmp_path, batch_size=16))
    summaries = {
        part: json.loads(next((tmp_path / part).glob("*/summary.json")).read_text())
        for part in PARTS
    }
    expected = [{"part": part, **claim} for part in PARTS for claim in summaries[part]["claims"]]
    assert json.loads((tmp_path / "reproduce.json").read_text()) == {"claims": expected}
    assert "(new)" in capsys.readouterr().out
    reproduce.reproduce(options(tmp_path, batch_size=16))
    assert capsys.readouterr().out.count("(finished)") == len(PARTS)


def test_a_dry_run_says_where_and_writes_nothing(toy, tmp_path, capsys):
    reproduce.reproduce(options(tmp_path / "runs", dry_run=True))
    assert capsys.readouterr().out.count("(new)") == len(PARTS)
    assert not (tmp_path / "runs").exists()


def test_a_plan_measures_every_part_and_writes_nothing(toy, tmp_path, capsys):
    reproduce.reproduce(options(tmp_path / "runs", plan=True, batch_size=16))
    assert capsys.readouterr().out.count("memory: ") == len(PARTS)
    assert not (tmp_path / "runs").exists()


def test_what_is_given_takes_the_place_of_the_presets():
    parts = {part.name: part for part in reproduce.PARTS}
    given = reproduce.Options(dataset="mnist", steps=77, seeds=3)
    _, config = reproduce.configure(parts["landscape"], given)
    assert (config.dataset, config.steps, config.seeds) == ("mnist", 77, 3)
    assert config.norms == reproduce.ALL_NORMS
    _, linear = reproduce.configure(parts["landscape-dln"], given)
    assert (linear.model, linear.dataset, linear.steps) == ("dln", "gaussian_positive", 77)


def test_a_part_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(UsageError, match=r"--only nonsense: choose from vgg_training"):
        reproduce.reproduce(reproduce.Options(only=("nonsense",)))
