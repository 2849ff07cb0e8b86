"""The audit finds the symmetries of a loss: exact lists in float64, nothing where there is none."""

import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast
from made_transformers import (
    BLOCKS,
    TOKENS,
    TRANSFORMERS,
    VOCABULARY,
    WIDTH,
    make_loss,
    make_params,
    rms,
    unit,
)

import bnjax
from bnjax import losses, models, probes
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.models import norms

KEY = jax.random.key(0)
PAGE = Path(__file__).parents[2] / "docs" / "scale_invariance.md"


@pytest.fixture(autouse=True)
def plain_jax():
    """As for a user, whose losses broadcast."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


EACH_BLOCK = {
    "QK-norm": {"query/kernel": "heads [:, j, :]", "key/kernel": "heads [:, j, :]"},
    # Around a branch without biases, all that is linear in it: values, too.
    "peri-LN": dict.fromkeys(("value/kernel", "out/kernel", "down/kernel"), "whole"),
    "nGPT": {
        "query/kernel": "filters [:, j, k]",
        "key/kernel": "filters [:, j, k]",
        "value/kernel": "filters [:, j, k]",
        "out/kernel": "[i, j, :]",
        "up/kernel": "filters [:, j]",
        "down/kernel": "[i, :]",
    },
}
OUTSIDE = {"nGPT": {"tokens": "[i, :]", "head/kernel": "filters [:, j]"}}


@pytest.fixture(scope="module")
def audited():
    """The audit of each transformer, made once."""
    found = {}

    def of(name):
        if name not in found:
            loss, params = TRANSFORMERS[name]()
            found[name] = probes.audit(loss, params, KEY, batches=[TOKENS])
        return found[name]

    return of


def rows(found, kind):
    return {group.parameter: group for group in found.groups if group.kind == kind}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_exactly_the_scale_invariant_weights_of_a_transformer_are_found(audited, name):
    expected = dict(OUTSIDE.get(name, {}))
    for block in range(BLOCKS):
        expected |= {
            f"block{block}/{own}": parts for own, parts in EACH_BLOCK.get(name, {}).items()
        }
    found = rows(audited(name), "scale-invariant")
    assert {parameter: group.parts for parameter, group in found.items()} == expected
    assert set(audited(name).scale_invariant) == set(expected)
    for group in found.values():
        assert group.number == group.total
        assert max(group.kappa, group.change) < 1e-12
        assert group.broken_by == ""


@pytest.mark.parametrize("name", ["pre-LN", "post-LN", "DyT", "RMSNorm", "none", "peri-LN"])
def test_the_bias_of_a_key_has_no_effect(audited, name):
    found = rows(audited(name), "no effect")
    assert found.keys() == {f"block{block}/key/bias" for block in range(BLOCKS)}
    assert all(group.parts == "whole" and group.change < 1e-12 for group in found.values())


@pytest.mark.parametrize("name", [name for name in TRANSFORMERS if name != "nGPT"])
def test_logits_may_be_shifted(audited, name):
    found = rows(audited(name), "shift-invariant")
    assert found["head/bias"].parts == "whole"
    assert found["head/kernel"].parts == "[i, :]"
    assert found["head/kernel"].number == WIDTH


def test_what_writes_to_a_stream_that_layernorm_reads_may_be_shifted(audited):
    writers = {
        "tokens": "[i, :]",
        "positions": "[i, :]",
        "head/bias": "whole",
        "head/kernel": "[i, :]",
    }
    for block in range(BLOCKS):
        writers |= {f"block{block}/out/kernel": "[i, j, :]", f"block{block}/down/kernel": "[i, :]"}
        writers |= {f"block{block}/{layer}/bias": "whole" for layer in ("out", "down")}
    found = rows(audited("pre-LN"), "shift-invariant")
    assert {name: group.parts for name, group in found.items()} == writers
    assert rows(audited("RMSNorm"), "shift-invariant").keys() == {"head/bias", "head/kernel"}


def test_scale_and_shift_of_a_normaliser_are_paired_with_all_their_readers(audited):
    found = rows(audited("pre-LN"), "rescaling")
    expected = {"norm/bias [i], norm/scale [i] ↔ head/kernel [i, :]"}
    for block in range(BLOCKS):
        own = f"block{block}"
        readers = ", ".join(f"{own}/{name}/kernel [i, :, :]" for name in ("key", "query", "value"))
        expected |= {
            f"{own}/norm1/bias [i], {own}/norm1/scale [i] ↔ {readers}",
            f"{own}/norm2/bias [i], {own}/norm2/scale [i] ↔ {own}/up/kernel [i, :]",
            f"{own}/key/kernel [:, j, k] ↔ {own}/query/bias [i, j], {own}/query/kernel [:, j, k]",
            f"{own}/out/kernel [i, j, :] ↔ {own}/value/bias [i, j], {own}/value/kernel [:, j, k]",
        }
    assert found.keys() == expected
    assert all(group.change < 1e-12 and group.number == group.total for group in found.values())


def test_gammas_of_queries_and_keys_are_paired(audited):
    found = rows(audited("QK-norm"), "rescaling")
    for block in range(BLOCKS):
        assert f"block{block}/key_norm/scale [i] ↔ block{block}/query_norm/scale [i]" in found


# The transformers of the zoo: place and normaliser, then exactly what is scale-invariant.
ZOO = {
    "peri-LN, QK-norm": (
        {"norm": norms.layer_norm(0.0), "place": "peri", "qk_norm": norms.rms_norm(0.0)},
        {
            **dict.fromkeys(("attention/query", "attention/key"), "[:, 8 at a time]"),  # heads
            **dict.fromkeys(("attention/out", "mlp/down"), "whole"),
        },
    ),
    "pre-LN": ({"norm": norms.layer_norm(0.0)}, {}),
    "DyT": ({"norm": norms.dyt()}, {}),
    "Derf": ({"norm": norms.derf(), "place": "peri"}, {}),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_gpt_of_the_zoo_has_exactly_the_symmetries_of_its_normalisers(name):
    options, invariant = ZOO[name]
    options = {"num_classes": VOCABULARY, "width": 0.125, "heads": 2, "depth": 1, **options}
    model = models.gpt(**options)
    params = cast(model.init(KEY, TOKENS[:, :-1].astype(jnp.int32))["params"])

    def loss(params, tokens):
        batch = Batch(tokens[:, :-1], tokens[:, 1:])
        return losses.on_batch(model, {}, batch)(params)

    found = probes.audit(loss, params, KEY, batches=[TOKENS.astype(jnp.int32)])
    scales = rows(found, "scale-invariant")
    expected = {f"block1/{layer}/kernel": parts for layer, parts in invariant.items()}
    assert {parameter: group.parts for parameter, group in scales.items()} == expected
    for group in scales.values():
        assert (group.number, group.broken_by) == (group.total, "")
        assert max(group.kappa, group.change) < 1e-12
    assert {"output/bias", "output/kernel"} <= rows(found, "shift-invariant").keys()
    without_effect = set() if "qk_norm" in options else {"block1/attention/key/bias"}
    assert rows(found, "no effect").keys() == without_effect
    if name == "pre-LN":  # γ and β against the weights that read them
        own = "block1/attention"
        readers = ", ".join(f"{own}/{layer}/kernel [i, :]" for layer in ("key", "query", "value"))
        pairs = rows(found, "rescaling")
        assert f"{own}/norm/bias [i], {own}/norm/scale [i] ↔ {readers}" in pairs
        assert "norm/bias [i], norm/scale [i] ↔ output/kernel [i, :]" in pairs


def test_each_leaf_has_one_row_on_its_scale(audited):
    _, params = TRANSFORMERS["post-LN"]()
    kinds = ("scale-invariant", "not scale-invariant", "no effect", "undetermined")
    of_scale = [group.parameter for group in audited("post-LN").groups if group.kind in kinds]
    assert of_scale == trees.leaf_names(params)


def test_a_missing_norm_is_told_by_its_twins():
    params = make_params("layer", ("value", "out", "up", "down"), qk_blocks=(0, 2))
    found = probes.audit(make_loss("layer", "pre"), params, KEY, batches=[TOKENS])
    marked = {group.parameter: group for group in found.groups if group.broken_by}
    assert marked.keys() == {"block1/query/kernel", "block1/key/kernel"}
    for group in marked.values():
        assert (group.kind, group.broken_by) == ("not scale-invariant", "missing norm")
        assert group.kappa > 1e-3
        assert group.note == "2 of 2 like it are scale-invariant"


def test_a_bias_before_a_norm_is_no_missing_norm():
    params = make_params("layer", ("query", "key"), qk_blocks=(0, 1, 2))
    del params["block1"]["key"]["bias"], params["block2"]["key"]["bias"]
    found = probes.audit(make_loss("layer", "pre"), params, KEY, batches=[TOKENS])
    keys = [f"block{block}/key/kernel" for block in range(3)]
    assert rows(found, "scale-invariant").keys() == {*keys[1:]}
    broken = {group.parameter: group.broken_by for group in found.groups if group.broken_by}
    queries = [f"block{block}/query/kernel" for block in range(3)]
    assert broken == dict.fromkeys([keys[0], *queries], "bias")


def test_a_small_leaf_that_breaks_invariance_by_its_square_is_no_epsilon():
    def loss(params):
        size = jnp.sqrt(jnp.sum(params["w"] ** 2) + params["b"] ** 2)
        return jnp.sum(jnp.sin(jnp.arange(1.0, 4.0) * params["w"] / size))

    found = probes.audit(loss, {"w": jnp.array([1.0, 2.0, 2.0]), "b": jnp.array(0.1)}, KEY)
    w = next(group for group in found.groups if group.parameter == "w")
    assert (w.kind, w.broken_by) == ("not scale-invariant", "b")
    assert 1e-5 < w.kappa < 0.1


# Convolutions


def two_convolutions(norm, **_):
    glorot = models.layers.initializer("glorot_uniform")
    return models.Model(models.VGG((1, 1), (4, 6), 10, (), norm, glorot))


def network(norm, dtype=jnp.float64, make=two_convolutions, **options):
    model = make(norm=norm, num_classes=10, width=0.125, **options)
    images = jax.random.normal(jax.random.key(1), (8, 16, 16, 3), dtype)
    variables = cast(model.init(KEY, images), dtype)

    def loss(params, images):
        batch = Batch(images, jnp.arange(8, dtype=jnp.int32))
        return losses.on_batch(model, variables["batch_stats"], batch)(params)

    return loss, variables["params"], [images]


def convolutions(params):
    return {name for name in trees.leaf_names(params) if re.fullmatch(r"conv\d/kernel", name)}


@pytest.mark.parametrize(("make", "options"), [(models.vgg5, {}), (models.resnet, {"depth": 8})])
def test_convolutions_with_batchnorm_are_invariant_by_filter(make, options):
    loss, params, batches = network(norms.batch_norm(epsilon=0.0), make=make, **options)
    found = probes.audit(loss, params, KEY, batches=batches)
    invariant = rows(found, "scale-invariant")
    kernels = {name for name, one in probes.describe(params).items() if one.kind == "kernel"}
    assert invariant.keys() == kernels - {"output/kernel"}
    for name, group in invariant.items():
        assert group.parts == "filters [:, :, :, l]"
        assert (group.number, group.broken_by) == (group.total, "")
        assert group.total == trees.at(params, name).shape[-1]


def test_an_epsilon_is_told_from_other_small_kappas_and_a_smaller_one_breaks_less():
    kappas = []
    for epsilon in (1e-3, 1e-5):
        loss, params, batches = network(norms.batch_norm(epsilon=epsilon))
        found = probes.audit(loss, params, KEY, batches=batches)
        invariant = rows(found, "scale-invariant")
        assert invariant.keys() == convolutions(params)
        for group in invariant.values():
            assert (group.broken_by, group.parts) == ("ε", "filters [:, :, :, l]")
            assert 1e-8 < group.kappa < 0.1
            assert group.change > 1e-9
        kappas.append(invariant["conv1/kernel"].kappa)
    assert 80 < kappas[0] / kappas[1] < 120


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_float32_has_wider_limits_and_the_same_answer(norm):
    with jax.enable_x64(False):
        loss, params, batches = network(norms.by_name(norm), jnp.float32)
        found = probes.audit(loss, params, KEY, batches=batches)
    assert found.epsilon == float(np.finfo(np.float32).eps)
    assert found.exact == pytest.approx(2.4e-5, rel=0.02)
    invariant = rows(found, "scale-invariant").keys()
    assert invariant == (convolutions(params) if norm == "batch" else set())


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_without_normalisation_nothing_is_scale_invariant(activation, dtype):
    model = models.mlp(norm=norms.none(), width=0.2, activation=activation, initializer="he_normal")
    inputs = jax.random.normal(jax.random.key(1), (32, 4, 4, 1), dtype)
    params = cast(model.init(KEY, inputs)["params"], dtype)
    loss = losses.on_batch(model, {}, Batch(inputs, jnp.arange(32, dtype=jnp.int32) % 10))
    found = probes.audit(loss, params, KEY)
    assert not rows(found, "scale-invariant")
    paired = rows(found, "rescaling")
    assert len(paired) == (3 if activation == "relu" else 0)


def test_layers_before_and_behind_a_relu_are_paired_with_the_power_of_their_unit():
    inputs, targets = jax.random.normal(KEY, (2, 20, 5))
    w = jax.random.normal(jax.random.key(1), (2, 5, 5))
    params = {"first": {"bias": w[0, 0], "kernel": w[0]}, "second": {"kernel": w[1]}}

    def loss(params):
        hidden = jax.nn.relu(inputs @ params["first"]["kernel"] + params["first"]["bias"]) ** 2
        return jnp.mean((hidden @ params["second"]["kernel"] - targets) ** 2)

    found = rows(probes.audit(loss, params, KEY), "rescaling")
    expected = "first/bias [i], first/kernel [:, j] ↔ second/kernel [i, :] (power 2)"
    assert found.keys() == {expected}
    assert found[expected].change < 1e-12


# Parts


def test_heads_in_a_fused_kernel_are_found_as_blocks_of_it():
    """Of six blocks of four columns the first four, queries and keys, are normalised."""
    kernel = jax.random.normal(KEY, (5, 24))
    inputs, readers = jax.random.normal(jax.random.key(1), (7, 5)), jnp.arange(1.0, 25.0)

    def loss(params):
        outputs = (inputs @ params["qkv"]).reshape(7, 6, 4)
        outputs = outputs.at[:, :4].set(rms(outputs[:, :4]))
        return jnp.mean(jnp.sin(outputs.reshape(7, 24)) @ readers)

    found = probes.audit(loss, {"qkv": kernel}, KEY)
    (group,) = found.groups
    assert (group.kind, group.parts) == ("scale-invariant", "[:, 4 at a time]")
    assert (group.number, group.total) == (4, 6)
    assert found.scale_invariant == ()


def test_parts_that_no_batch_uses_have_no_effect_and_those_that_some_use_do():
    table = jax.random.normal(KEY, (6, 4))
    batches = [jnp.array([0, 1, 2]), jnp.array([1, 2, 3])]
    found = probes.audit(
        lambda p, t: jnp.sum(jnp.sin(p["table"][t])), {"table": table}, KEY, batches=batches
    )
    unused = rows(found, "no effect")["table"]
    assert (unused.parts, unused.number, unused.total) == ("[i, :]", 2, 6)
    assert rows(found, "not scale-invariant").keys() == {"table"}


def test_unused_parts_do_not_spoil_the_invariance_of_a_leaf():
    table = jax.random.normal(KEY, (6, 4))

    def loss(params):
        return jnp.sum(jnp.arange(4.0) * unit(params["table"])[:3] ** 2)

    found = probes.audit(loss, {"table": table}, KEY)
    assert rows(found, "scale-invariant")["table"].number == 3
    assert found.scale_invariant == ("table",)


# No gradient, and what the finite check is for


def test_a_leaf_without_gradient_has_no_effect_or_is_undetermined_but_never_invariant():
    params = {
        "gate": jnp.zeros(()),
        "gated": jnp.arange(1.0, 4.0),
        "idle": jnp.ones(3),
        "stopped": jnp.ones(3),
        "used": jnp.arange(1.0, 6.0),
    }

    def loss(params):
        opened = jax.nn.relu(params["gate"]) * jnp.sum(jnp.sin(params["gated"]))
        return (
            opened
            + jnp.sum(params["used"] ** 3)
            + jax.lax.stop_gradient(jnp.sum(params["stopped"] ** 3))
        )

    kinds = {group.parameter: group for group in probes.audit(loss, params, KEY).groups}
    assert kinds["idle"].kind == "no effect"
    assert (kinds["stopped"].kind, kinds["stopped"].note) == (
        "undetermined",
        "no gradient, but the loss changes",
    )
    assert kinds["gated"].kind == "undetermined"
    assert re.fullmatch(r"no gradient at [1-7] of 8 draws", kinds["gated"].note)
    assert kinds["used"].kind == "not scale-invariant"


def test_a_symmetry_of_the_gradient_alone_does_not_pass_the_finite_check():
    def loss(w):
        return jnp.sum(jnp.arange(3.0) * unit(w)) + jax.lax.stop_gradient(jnp.linalg.norm(w))

    (group,) = probes.audit(loss, jnp.array([1.0, 2.0, 2.0]), KEY).groups
    assert group.kind == "undetermined"
    assert group.kappa < 1e-12
    assert group.change > 0.1


# What is said of leaves that are no parameters, and of numbers that are none


def test_leaves_that_cannot_be_audited_are_said_in_the_table():
    shared = jnp.arange(1.0, 4.0)
    params = {
        "count": jnp.arange(3),
        "empty": jnp.zeros((0, 2)),
        "one": shared,
        "other": shared,
        "python": 3,
    }

    def loss(params):
        return jnp.sum(params["one"] ** 2) + jnp.sum(params["other"] ** 3) * params["count"][1]

    found = probes.audit(loss, params, KEY)
    notes = {group.parameter: (group.kind, group.note) for group in found.groups}
    assert notes == {
        "count": ("no parameter", "int64, not differentiated"),
        "empty": ("no parameter", "empty"),
        "one": ("not scale-invariant", ""),
        "other": ("not scale-invariant", "the same array as one, moved by itself"),
        "python": ("no parameter", "a Python int, not differentiated"),
    }
    assert all(note in repr(found) for _, note in notes.values())


def test_numbers_that_are_not_finite_are_said_in_the_table():
    params = {"bad": jnp.array([1.0, jnp.nan]), "good": jnp.ones(2)}
    found = probes.audit(lambda p: jnp.sum(p["good"] ** 2) + jnp.sum(p["bad"]), params, KEY)
    assert [(group.kind, group.note) for group in found.groups] == [
        ("undetermined", "1 of its 2 numbers are not finite"),
        ("undetermined", "loss or gradient is not finite at any draw"),
    ]
    assert found.draws == 0
    kept = probes.audit(lambda p: jnp.sum(p["good"] ** 2), params, KEY)
    assert [group.kind for group in kept.groups] == ["undetermined", "not scale-invariant"]


def test_draws_without_a_finite_loss_do_not_count():
    found = probes.audit(lambda w: jnp.sum(jnp.log(w[0])) + w[1], jnp.array([0.01, 1.0]), KEY)
    assert 0 < found.draws < 8


def test_the_limits_follow_the_coarsest_arithmetic_of_the_loss():
    def loss(w):
        return jnp.sum(w.astype(jnp.bfloat16).astype(jnp.float64) ** 2)

    assert probes.audit(loss, jnp.arange(1.0, 9.0), KEY).epsilon == 2**-7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 1}, "draws=1 must be a whole number, 2 or more"),
        ({"learning_rate": 0.0}, "learning_rate 0.0: must be above 0"),
        ({"momentum": 0.9}, "learning_rate None: must be given with weight_decay, momentum or b1"),
        ({"learning_rate": 0.1, "momentum": 1.0}, "momentum 1.0: must be 0 or more and below 1"),
        ({"learning_rate": 0.1, "b1": -1.0}, "b1 -1.0: must be 0 or more and below 1"),
        ({"learning_rate": 0.1, "weight_decay": -1.0}, "weight_decay -1.0: must be 0 or more"),
    ],
)
def test_impossible_numbers_are_refused(options, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        probes.audit(lambda w: jnp.sum(w**2), jnp.ones(2), KEY, **options)


@pytest.mark.parametrize(
    ("loss", "params", "message"),
    [
        (lambda p: p["w"], {"w": jnp.ones(2)}, "it must return one scalar"),
        (lambda p: p["w"].sum(), {"w": jnp.ones(2, jnp.bfloat16)}, "has bfloat16 at w"),
        (lambda p: 1.0, {"w": jnp.arange(2)}, "params has no arrays"),
    ],
)
def test_what_no_probe_can_measure_is_refused(loss, params, message):
    with pytest.raises(UsageError, match=message):
        probes.audit(loss, params, KEY)


# Rates and angles


def test_effective_rate_and_angle_stand_beside_scale_invariant_weights():
    params = {"v": jnp.ones(3), "w": jnp.array([3.0, 4.0, 0.0])}
    options = {"learning_rate": 0.1, "weight_decay": 0.02, "momentum": 0.9}
    found = probes.audit(lambda p: jnp.sum(p["v"] * unit(p["w"])), params, KEY, **options)
    by_name = {group.parameter: group for group in found.groups}
    assert by_name["v"].effective_rate is None
    assert by_name["w"].norm == 5.0
    assert by_name["w"].effective_rate == pytest.approx(0.1 / 25)
    assert by_name["w"].angle == pytest.approx(math.sqrt(2 * 0.1 * 0.02 / 1.9))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {"momentum": 0.0}),
        ("sgd", {"momentum": 0.9}),
        ("adamw", {"b1": 0.9}),
    ],
)
def test_the_angle_is_that_of_scale_invariant_weights_under_noise(name, options):
    """Random gradients at right angles to the weights, until their norm settles."""
    rate, decay, size = 0.1 if name == "sgd" else 0.01, 0.02 if name == "sgd" else 0.1, 2000
    b = options.get("momentum", options.get("b1", 0.0))

    def step(carry, key):
        w, trace = carry
        gradient = jax.random.normal(key, (size,))
        gradient = (gradient - unit(w) * jnp.dot(unit(w), gradient)) / jnp.linalg.norm(w)
        if name == "sgd":
            trace = b * trace + gradient + decay * w
            new = w - rate * trace
        else:  # the second moment is that of white noise, alike for all weights
            trace = b * trace + (1 - b) * gradient * jnp.linalg.norm(w)
            new = w - rate * (trace + decay * w)
        cosine = jnp.dot(w, new) / jnp.linalg.norm(w) / jnp.linalg.norm(new)
        return (new, trace), jnp.arccos(cosine)

    start = (jnp.ones(size), jnp.zeros(size))
    _, angles = jax.lax.scan(step, start, jax.random.split(KEY, 6000))
    expected = probes.equilibrium_angle(rate, decay, **options)
    assert angles[-1000:].mean() == pytest.approx(expected, rel=0.03)


# What one gets


def test_an_audit_is_a_table_and_a_data_frame(audited):
    found = audited("QK-norm")
    lines = repr(found).splitlines()
    assert lines[0].split()[:2] == ["parameter", "parts"]
    (query,) = (line for line in lines if line.startswith("block#/query/kernel × 2"))
    assert re.search(r"2 of 2 heads \[:, j, :\] +scale-invariant", query)
    assert any(
        "8 draws, ε of the arithmetic 2.2e-16: κ up to 3.7e-11 is rounding" in line
        for line in lines
    )
    frame = found.to_dataframe()
    assert list(frame.columns) == list(probes.Group._fields)
    assert (frame.kind == "scale-invariant").sum() == 2 * BLOCKS


def test_pairs_that_too_few_draws_can_show_are_said(audited):
    loss, params = TRANSFORMERS["none"]()
    few = probes.audit(loss, params, KEY, batches=[TOKENS], draws=2)
    assert any("draws=" in note for note in few.notes)
    assert "not looked for: rescalings along axes of length 2" in repr(few)


def test_the_same_key_gives_the_same_audit():
    loss, params = TRANSFORMERS["none"]()
    one, other = (probes.audit(loss, params, KEY, batches=[TOKENS], draws=2) for _ in range(2))
    assert one == other


def test_the_audit_is_a_name_of_bnjax():
    assert bnjax.audit is probes.audit


def masked(text):
    """Numbers at the size of rounding, and the spaces that depend on them, are not compared."""
    return [re.sub(r"\d(\.\d+)?e-\d+", "…", line).split() for line in text.splitlines()]


def test_the_page_shows_what_its_programs_print(capsys):
    blocks = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    with jax.enable_x64(False):
        for program, shown in blocks:
            exec(program, names)
            assert masked(capsys.readouterr().out) == masked(shown)
    assert len(blocks) == 2
