"""`bnjax audit`: a table or data on the networks of bnjax and of plugins, or one line."""

import json

import jax
import pytest

from bnjax.commands import program

SMALL = ["audit", "--model", "mlp", "--depth", "3", "--width", "0.1", "--dataset", "binary_digits"]


@pytest.fixture(autouse=True)
def plain_jax():
    """As a command has it."""
    ranks, dtypes = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    with ranks, dtypes, jax.enable_x64(False):
        yield


def data_of(capsys, *arguments):
    assert program.main([*SMALL, "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def kinds(found):
    return {row["parameter"]: row["kind"] for row in found["groups"][::-1]}


def test_batchnorm_makes_the_columns_of_dense_layers_invariant_and_nothing_does_without(capsys):
    found = data_of(capsys, "--norm", "batch", "--lr", "0.1", "--weight-decay", "1e-3")
    assert found["epsilon"] < 1e-15  # float64
    invariant = [row for row in found["groups"] if row["kind"] == "scale-invariant"]
    assert {row["parameter"] for row in invariant} == {"dense1/kernel", "dense2/kernel"}
    for row in invariant:
        assert (row["broken_by"], row["parts"]) == ("ε", "filters [:, j]")
        assert row["effective_rate"] == pytest.approx(0.1 / row["norm"] ** 2)
        assert row["angle"] == pytest.approx((2 * 0.1 * 1e-3) ** 0.5)
    assert "scale-invariant" not in kinds(data_of(capsys, "--norm", "none")).values()


def test_a_table_is_printed(capsys):
    assert program.main([*SMALL, "--norm", "layer"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("parameter")
    assert "dense#/kernel × 2" in said or "dense1/kernel" in said


def test_a_norm_of_a_plugin_is_audited(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("bnjax.models.norms.registry.REGISTRY", {})
    file = tmp_path / "own.py"
    file.write_text(
        "import flax.linen as nn, jax.numpy as jnp\n"
        "from bnjax.models import norms\n"
        "class Own(nn.Module):\n"
        "    @nn.compact\n"
        "    def __call__(self, x, *, train):\n"
        "        return x / jnp.sqrt(jnp.mean(x**2, axis=0, keepdims=True))\n"
        "norms.register('own', lambda: norms.Norm('own', Own, batch_statistics=True))\n"
    )
    found = data_of(capsys, "--plugins", str(file), "--norm", "own")
    # It leaves the mean, so that a kernel is scale-invariant together with its bias alone.
    assert kinds(found)["dense1/kernel"] == "not scale-invariant"
    assert kinds(found)["dense1/bias [i], dense1/kernel [:, j]"] == "rescaling"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--norm", "bach"], "norm 'bach' is not known: choose from none, batch"),
        (["--model", "vgg12"], "model 'vgg12' is not known: choose from vgg5"),
        (["--draws", "1"], "--draws 1: must be 2 or more"),
        (["--batches", "0"], "--batches 0: must be 1 or more"),
        (["--batches", "100000"], "--batches 100000: must be at most 89"),
        (["--batch-size", "0"], "batch_size=0 must be from 1 to 1437"),
        (["--lr", "0"], "learning_rate 0.0: must be above 0"),
        (["--b1", "0.9"], "--lr None: must be given with --weight-decay, --momentum or --b1"),
        (["--bogus"], "--bogus: audit has no such option"),
    ],
)
def test_a_wrong_call_gives_one_line(capsys, arguments, message):
    assert program.main([*SMALL, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1
