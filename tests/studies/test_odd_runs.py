"""Every claim of every study is judged from odd arrays; those that failed once are drawn, too."""

import json

import pytest
from odd_arrays import KINDS, kept
from toy_runs import STUDY, TOY

import bnjax
from bnjax.commands import report
from bnjax.draw import quiet
from bnjax.frame import folder
from bnjax.frame import study as studies
from bnjax.judge import kit
from bnjax.report.publish import VERDICTS, plain_verdict


@pytest.mark.parametrize("name", studies.names())
def test_every_claim_has_a_verdict_whatever_was_measured(name):
    claims, run = studies.find(name).part("CLAIMS"), kept(name)
    for kind, make in KINDS.items():
        made = make(run)
        with quiet():
            found = [plain_verdict(one) for one in kit.verdicts(made, claims)]
        assert {one["verdict"] for one in found} <= {*VERDICTS}, kind
        assert all(one["reason"] for one in found if one["verdict"] == "inconclusive"), kind
        json.dumps(found, allow_nan=False)


TINY = ("--model", "lenet", "--width", "0.25", "--dataset", "digits16", "--batch-size", "16")
CALLS = {
    "shift": ("--steps", "4", "--probe-every", "2", "--layers", "conv1", "conv2"),
    "spectrum": (
        "--steps",
        "4",
        "--probe-every",
        "1",
        "--lr",
        "100",
        "--images",
        "16",
        "--chunk",
        "16",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_first_layer_among_several_and_a_spectrum_that_diverges_are_drawn(name, tmp_path):
    calls = [*TINY, *CALLS[name], "--evaluate-every", "4", "--seeds", "1", "--out", str(tmp_path)]
    summary = folder.read_summary(bnjax.start(name, *calls))
    assert not summary.failed
    assert f"{name}.png" in summary.files


def test_one_configuration_that_ran_in_two_places_is_compared_with_itself(toy, tmp_path):
    places = [bnjax.start(STUDY, *TOY, "--out", str(tmp_path / out)) for out in "ab"]
    assert places[0].name == places[1].name
    page = report.report(report.Options(compare=tuple(places), out=tmp_path / "both.html"))
    assert "A: lp_norms" in page.read_text(encoding="utf-8")
