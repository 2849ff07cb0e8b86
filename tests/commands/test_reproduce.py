"""All studies in one call, on noise images with a network that compiles in a moment."""

import dataclasses
import json

import pytest
from toy_runs import STUDY

from bnjax.commands import reproduce
from bnjax.errors import UsageError
from bnjax.judge.verdict import Verdict
from bnjax.studies import lp_norms, shift, vgg_training

PARTS = ("lp_norms", "vgg_training")


def claim(run):
    loss = f"{run['train_loss'].mean().item():.3g}"
    return Verdict("a", "b", "c", "d", loss, "f", "supported", "", ())


@pytest.fixture
def cheap(toy, monkeypatch):
    """Two parts with one claim and one figure."""
    for module in (lp_norms, vgg_training):
        parts = {**STUDY.parts, "CLAIMS": (claim,)}
        monkeypatch.setattr(module, "STUDY", dataclasses.replace(module.STUDY, parts=parts))


def options(out, **given):
    toy = {"steps": 12, "probe_every": 6, "evaluate_every": 6, "batch_size": 16}
    return reproduce.Options(out=out, only=PARTS, debug=True, **toy, **given)


def test_every_part_runs_once_and_all_claims_end_in_one_table(cheap, tmp_path, capsys):
    for more in ({"dry_run": True}, {"plan": True}):
        reproduce.reproduce(options(tmp_path / "runs", **more))
        said = capsys.readouterr().out
        assert said.count("(new)") == len(PARTS)
        assert said.count("memory: ") == (len(PARTS) if "plan" in more else 0)
        assert not list(tmp_path.iterdir())
    reproduce.reproduce(options(tmp_path))
    assert "(new)" in capsys.readouterr().out
    summaries = {
        part: json.loads(next((tmp_path / part).glob("*/summary.json")).read_text())
        for part in PARTS
    }
    expected = [{"part": part, **one} for part in PARTS for one in summaries[part]["verdicts"]]
    assert {one["part"] for one in expected} == set(PARTS)
    assert json.loads((tmp_path / "reproduce.json").read_text()) == {"verdicts": expected}
    reproduce.reproduce(options(tmp_path))
    assert capsys.readouterr().out.count("(finished)") == len(PARTS)


def test_what_is_given_takes_the_place_of_the_presets():
    parts = {part.name: part for part in reproduce.parts()}
    given = reproduce.Options(dataset="mnist", steps=77, seeds=3)
    _, chosen = reproduce.configure(parts["landscape"], given)
    assert (chosen.dataset, chosen.steps, chosen.seeds) == ("mnist", 77, 3)
    assert chosen.norms == ("none", "batch", "l1", "l2", "linf")
    _, linear = reproduce.configure(parts["landscape-dln"], given)
    assert (linear.model, linear.dataset, linear.steps) == ("dln", "gaussian_positive", 77)
    assert parts["shift"].study is shift.STUDY
    assert not chosen.accept_changes
    accepting = dataclasses.replace(given, accept_changes=True)
    assert reproduce.configure(parts["shift"], accepting)[1].accept_changes


def test_a_part_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(UsageError, match=r"--only nonsense: choose from distributions"):
        reproduce.reproduce(reproduce.Options(only=("nonsense",)))
