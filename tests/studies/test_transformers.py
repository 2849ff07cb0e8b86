"""Studies on a GPT and on a ViT at toy size: `--model` alone chooses data and presets."""

import math

import jax
import pytest
import xarray

import bnjax
from bnjax.commands import runs
from bnjax.errors import RunError
from bnjax.frame import folder

BLOCK = [f"block1/attention/{name}" for name in ("query", "key", "value", "out")]
BLOCK += ["block1/mlp/up", "block1/mlp/down"]
FIRST = {"gpt": "tokens", "vit": "patches"}
RUNS = {
    ("landscape", "gpt"): ["--norms", "layer", "skipinit", "--watch", "2"],
    ("shift", "gpt"): ["--place", "peri", "--qk-norm", "--optimizer", "muon", "--z-loss", "1e-4"],
    ("spectrum", "vit"): ["--norms", "none", "dyt"],
    ("landscape", "vit"): ["--optimizer", "adamw"],
    ("shift", "vit"): [],
    ("spectrum", "gpt"): [],
}
SLOW = [pytest.param(*run, marks=pytest.mark.full) for run in [*RUNS][1:]]


@pytest.mark.parametrize(("study", "model"), [*[*RUNS][:1], *SLOW])
def test_a_study_of_a_transformer_is_whole(study, model, tmp_path):
    text = tmp_path / "own.txt"
    text.write_text("To be, or not to be, that is the question.\n" * 200)
    own = ["--text", str(text), "--context", "8"] if model == "gpt" else []
    call = ["--preset", "toy", "--model", model, *own, *RUNS[study, model], "--seeds", "1"]
    with jax.numpy_dtype_promotion("standard"):  # of optax's schedules
        path = bnjax.start(study, *call, "--out", str(tmp_path / "runs"))
    summary = folder.read_summary(path)
    assert not summary.failed
    assert summary.verdicts
    found = folder.verify(path)
    assert found.finished
    assert not found.damage
    classes = 17 if model == "gpt" else 10
    with xarray.open_dataset(path / folder.RESULTS) as data:
        assert (data["complete"] == 1).all()
        assert bool(data["train_finite"].all())
        assert abs(float(data["test_loss"].isel(test_step=0).mean()) - math.log(classes)) < 1.5
        if study == "shift":
            assert data["layer"].values.tolist() == [FIRST[model], *BLOCK, "output"]
    assert folder.read_config(path).fingerprint["chance_loss"] == pytest.approx(math.log(classes))
    if model == "gpt":  # nobody's file is read because a folder says so
        with pytest.raises(
            RunError, match=r"was made with --text .*own\.txt, a file that would be"
        ):
            runs.resume(path, None, None, {})
