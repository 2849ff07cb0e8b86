"""The shift experiment: claims on known numbers, and the whole at toy size."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnjax import probes, train
from bnjax.commands import command_line as frame
from bnjax.frame import results
from bnjax.frame.results import Results
from bnjax.studies.shift import claims
from bnjax.studies.shift import study as shift
from bnjax.studies.shift.measure import make_shift
from bnjax.train import optimizers

STEPS = np.arange(0, 40, 4)


def synthetic(factor, loss_none=1.0, finite=1.0):
    """Two arms, one learning rate, one seed: the shift of `batch` is `factor` that of `none`."""
    loss = np.stack([np.full(40, loss_none), np.full(40, 1.0)]).reshape(2, 1, 1, 40)
    base = np.ones((1, 1, len(STEPS), 3))
    outer = ("norm", "lr", "seed")
    arrays = {
        "train.loss": loss,
        "train.finite": np.full((2, 1, 1, 40), finite),
        "shift.relative_distances": np.stack([base, factor * base]),
        "shift.cosines": np.stack([base, base]),
    }
    dims = {
        "train.loss": (*outer, "step"),
        "train.finite": (*outer, "step"),
        "shift.relative_distances": (*outer, "probe_step", "layer"),
        "shift.cosines": (*outer, "probe_step", "layer"),
    }
    axes = {
        "norm": np.array(["none", "batch"]),
        "lr": np.array([0.1]),
        "seed": np.array([0]),
        "step": np.arange(40),
        "probe_step": STEPS,
        "layer": np.array(["conv1", "conv2", "output"]),
    }
    config = {"lr": 0.5, "model": "vgg11", "layers": ["conv2"]}
    return Results(arrays, dims, axes, config, {"chance_loss": 2.3})


@pytest.mark.parametrize(
    ("factor", "verdict"), [(3.0, "supported"), (1.05, "supported"), (0.5, "not supported")]
)
def test_a_shift_that_is_not_smaller_supports_the_claim(factor, verdict):
    [claim] = claims.claims(synthetic(factor))
    assert claim.verdict == verdict
    assert claim.identifier == "fig3-batch-lr0.1"
    assert f"equal step {factor:.3g} (one seed)" in claim.measured


def test_a_claim_on_an_arm_that_does_not_train_is_inconclusive():
    [claim] = claims.claims(synthetic(3.0, loss_none=2.3))
    assert claim.verdict == "inconclusive"
    assert "none does not train" in claim.reason
    [claim] = claims.claims(synthetic(3.0, finite=0.0))
    assert "diverged at step 0" in claim.reason


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_the_layers_below_take_the_optimisers_actual_update(
    problem, batch, name, standard_promotion
):
    _, params, batch_stats, loss = problem
    optimizer = optimizers.by_name(name, 0.1)
    gradient = jax.grad(loss)(params)
    # An optimiser that has seen another gradient already: its update is not −lr times this one.
    earlier = jax.tree.map(jnp.ones_like, params)
    opt_state = optimizer.update(earlier, optimizer.init(params), params)[1]
    state = train.TrainState(jnp.zeros((), jnp.int32), params, batch_stats, opt_state)
    computed = train.Gradient(loss(params), jnp.zeros(()), gradient, batch_stats)
    measured = make_shift(lambda state, batch: loss, optimizer)(state, batch, computed)
    updates, _ = optimizer.update(gradient, opt_state, params)
    expected = probes.shift(loss, params, optax.apply_updates(params, updates))
    np.testing.assert_allclose(measured.distances, expected.distances, rtol=1e-9, atol=1e-12)
    assert (np.asarray(measured.distances)[1:] > 0).all()


def test_two_learning_rates_end_to_end(tmp_path, monkeypatch, toy):
    monkeypatch.setattr(shift, "require_layers", lambda *_: None)
    arguments = ["--steps", "6", "--batch-size", "16", "--probe-every", "2", "--lrs", "0.1", "0.01"]
    arguments += ["--layers", "conv2", "--out", str(tmp_path), "--debug"]
    assert frame.main(shift.EXPERIMENT, arguments) == 0
    (path,) = (tmp_path / "shift").iterdir()
    measured = results.read(path)
    assert measured.axes["layer"].tolist() == ["conv1", "conv2", "output"]
    assert measured.dims["shift.cosines"] == ("norm", "lr", "seed", "probe_step", "layer")
    first = measured.select("shift.distances", layer="conv1")
    np.testing.assert_array_equal(first, np.zeros((2, 2, 1, 3)))
    slow, fast = (
        measured.select("shift.relative_distances", lr=lr, layer="output").mean()
        for lr in (0.01, 0.1)
    )
    assert 0 < slow < fast
    assert measured.at(lr=0.01).config["lr"] == 0.01
    assert (path / "shift.png").stat().st_size > 10_000
    assert len(list((path / "checkpoints").iterdir())) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "conv12"], "--layers conv12: the model has conv1"),
        (["--lr", "0.1"], "--lr 0.1 is not for this experiment: give --lrs 0.1"),
        (["--model", "dln", "--lr", "1e-06"], "--lr 1e-06 is not for this experiment"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_runs(tmp_path, capsys, arguments, message):
    assert frame.main(shift.EXPERIMENT, [*arguments, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
