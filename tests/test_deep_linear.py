"""The deep linear network: its data, its loss, and its edge of stability."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import data, losses, models
from bnjax.commands import command_line
from bnjax.errors import UsageError
from bnjax.frame import options, results
from bnjax.frame.arm import require_layers
from bnjax.studies import landscape


def test_the_network_is_the_product_of_its_matrices():
    model = models.deep_linear(norm=models.norms.none(), depth=4, width=3)
    x = jax.random.normal(jax.random.key(0), (5, 1, 1, 3), jnp.float64)
    params = model.init(jax.random.key(1), x)["params"]
    logits, _ = model.apply(params, {}, x, train=True)
    expected = np.asarray(x).reshape(5, 3)
    for index in range(1, 5):
        expected = expected @ np.asarray(params[f"dense{index}"]["kernel"])
    np.testing.assert_allclose(logits, expected, rtol=1e-12)
    assert set(params["dense1"]) == {"kernel"}


def test_targets_are_one_matrix_times_the_inputs():
    dataset = data.load("gaussian", seed=3)
    (x, y), held_out = (
        [np.asarray(array, np.float64).reshape(1000, 10) for array in split]
        for split in (dataset.train, dataset.test)
    )
    matrix, *_ = np.linalg.lstsq(x, y, rcond=None)
    np.testing.assert_allclose(x @ matrix, y, atol=1e-4)
    np.testing.assert_allclose(held_out[0] @ matrix, held_out[1], atol=1e-4)
    assert dataset.is_regression
    assert not np.array_equal(dataset.train.labels, data.load("gaussian", seed=4).train.labels)


def test_the_loss_is_summed_over_the_batch_and_chance_is_the_variance_of_the_targets():
    outputs, targets = jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[0.0, 0.0], [2.0, 0.0]])
    assert float(losses.summed_squared_error(outputs, targets)) == 1 + 4 + 4
    assert float(losses.squared_error(outputs, targets)) == 0.25 * (1 + 4 + 4)
    assert np.isnan(losses.accuracy(outputs, targets))
    dataset = data.load("gaussian")
    expected = 0.5 * np.asarray(dataset.train.labels, np.float64).var(axis=0).sum()
    for objective, share in ((losses.squared_error, 1), (losses.summed_squared_error, 2000)):
        np.testing.assert_allclose(losses.chance(objective, dataset), share * expected, rtol=1e-5)


@pytest.mark.full  # many compiles
def test_batchnorm_trains_at_the_edge_of_stability(tmp_path, monkeypatch):
    """Published: β settles at 2.02e6 = 2/lr, with ‖g(lr) − g‖/‖g‖ = 1.99 (Fig. 10 and 11)."""
    # Six layers show it as 25 do, and compile in a quarter of the time.
    monkeypatch.setattr(
        "bnjax.frame.arm.build_model",
        lambda options, norm, classes: models.deep_linear(norm=models.norms.by_name(norm), depth=6),
    )
    jax.config.update("jax_enable_x64", False)
    try:
        arguments = ["--model", "dln", "--steps", "300", "--probe-every", "10", "--norms", "batch"]
        arguments += ["--lr", "3e-6", "--out", str(tmp_path), "--debug"]
        assert command_line.main(landscape.STUDY, arguments) == 0
    finally:
        jax.config.update("jax_enable_x64", True)
    (path,) = (tmp_path / "landscape").iterdir()
    measured = results.read(path)
    beta = measured["line_smoothness"].sel(norm="batch", seed=0, direction="gradient")
    late = beta.sel(step_size=3e-6, method="nearest")[-10:].median()
    assert 1.8 < float(late) * 3e-6 < 2.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Those of any study."""


def test_the_deep_linear_network_needs_its_own_data():
    for given in (
        {"model": "dln"},
        {"dataset": "gaussian"},
        {"model": "dln", "dataset": "gaussian", "objective": "cross_entropy"},
    ):
        with pytest.raises(UsageError, match=r"(?i)gaussian"):
            options.check(Options(**given))


def test_unknown_layers_are_answered_with_those_there_are():
    with pytest.raises(UsageError, match=r"--layers conv9: the model has conv1 conv2 .* output"):
        require_layers("--layers", ["conv2", "conv9"], Options())
    require_layers("--layers", ["dense25"], Options(model="dln", dataset="gaussian"))
