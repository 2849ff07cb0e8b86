"""The transformers against their formulas, and what holds of them whatever stands where."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast

from bnjax import losses, models
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.models import layer_names, norms

VOCABULARY, LENGTH = 11, 6
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (3, LENGTH)).astype(np.int32)
IMAGES = np.random.default_rng(1).normal(size=(3, 8, 8, 2))


def small(norm="layer", make=models.gpt, classes=VOCABULARY, **options):
    return make(norm=norms.by_name(norm), num_classes=classes, width=0.125, heads=2, **options)


def variables_of(model, inputs=TOKENS, seed=0):
    """Parameters in float64, each moved a little, so that no bias, γ or factor is at its start."""
    params = cast(model.init(jax.random.key(seed), jnp.asarray(inputs))["params"])
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [
        leaf + 0.1 * jax.random.normal(key, leaf.shape, jnp.float64)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def logits_of(model, params, inputs=TOKENS):
    return np.asarray(model.apply(params, {}, jnp.asarray(inputs), train=True)[0])


def rms(x, params):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * params["scale"]


def standardise(x, params):
    x = x - x.mean(-1, keepdims=True)
    return rms(x, params) + params["bias"]


def by_hand(params, place, causal, x):
    """The blocks and the output of a transformer with LayerNorm, one example and head at a time."""

    def dense(own, x):
        return x @ own["kernel"] + own.get("bias", 0.0)

    def attention(own, x):
        mixed = []
        for head in np.split(np.arange(x.shape[-1]), 2):
            query, key, value = (dense(own[n], x)[:, head] for n in ("query", "key", "value"))
            if "query_norm" in own:
                query, key = rms(query, own["query_norm"]), rms(key, own["key_norm"])
            scores = np.exp(query @ key.T / math.sqrt(len(head)))
            scores = np.tril(scores) if causal else scores
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value)
        return dense(own["out"], np.concatenate(mixed, -1))

    def perceptron(own, x):
        up = dense(own["up"], x)
        cubic = math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)
        return dense(own["down"], up * (1 + np.tanh(cubic)) / 2)

    for block in (params["block1"], params["block2"]):
        for branch, own in ((attention, block["attention"]), (perceptron, block["mlp"])):
            y = branch(own, x if place == "post" else standardise(x, own["norm"]))
            x = x + (standardise(y, own["norm_behind"]) if place == "peri" else y)
            x = standardise(x, own["norm"]) if place == "post" else x
    x = x if place == "post" else standardise(x, params["norm"])
    return dense(params["output"], x if causal else x.mean(0))


@pytest.mark.parametrize("place", ["pre", "post", "peri"])
@pytest.mark.parametrize("qk", ["none", "rms"])
def test_a_gpt_is_its_formula(place, qk):
    model = small(depth=2, place=place, qk_norm=norms.by_name(qk))
    params = variables_of(model)
    table, own = params["tokens"]["embedding"], jax.tree.map(np.asarray, params)
    streams = np.asarray(table)[TOKENS] + own["positions"]
    expected = [by_hand(own, place, causal=True, x=x) for x in streams]
    np.testing.assert_allclose(logits_of(model, params), expected, rtol=1e-9, atol=1e-11)


def test_a_vit_is_its_formula_on_the_patches_of_images():
    model = small(make=models.vit, depth=2)
    params = variables_of(model, IMAGES)
    own = jax.tree.map(np.asarray, params)
    expected = []
    for image in IMAGES:
        patches = [image[i : i + 2, j : j + 2].ravel() for i in (0, 2, 4, 6) for j in (0, 2, 4, 6)]
        x = np.stack(patches) @ own["patches"]["kernel"] + own["patches"]["bias"]
        expected.append(by_hand(own, "pre", causal=False, x=x + own["positions"]))
    np.testing.assert_allclose(logits_of(model, params, IMAGES), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("place", ["pre", "post", "peri"])
@pytest.mark.parametrize("norm", ["layer", "derf", "skipinit"])
def test_a_later_token_changes_no_earlier_logits(norm, place):
    model = small(norm, depth=2, place=place, qk_norm=norms.rms_norm())
    params = variables_of(model)
    changed = TOKENS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % VOCABULARY
    before, after = logits_of(model, params), logits_of(model, params, changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (np.abs(before - after)[:, 3:].max(-1) > 1e-6).all()


def test_patches_may_be_permuted_with_their_positions_and_not_alone():
    model = small(make=models.vit, depth=1)
    params = variables_of(model, IMAGES)
    turned = np.concatenate([IMAGES[:, 4:], IMAGES[:, :4]], axis=1)  # two rows of patches up
    positions = jnp.roll(params["positions"], 8, axis=0)
    expected = logits_of(model, params, IMAGES)
    with_them = logits_of(model, {**params, "positions": positions}, turned)
    np.testing.assert_allclose(with_them, expected, rtol=1e-10)
    assert np.abs(logits_of(model, params, turned) - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("make", "shape", "dtype", "parameters"),
    [
        # 76 · 128 and 64 · 128; of a block four products of 128 · 128 + 128, 128 · 512 + 512 and
        # 512 · 128 + 128, two γ and two β; one more of each; 128 · 76 + 76.
        (models.gpt, (64,), jnp.int32, 9728 + 8192 + 4 * 198_272 + 256 + 9804),
        (models.vit, (8, 8, 1), jnp.float32, 640 + 2048 + 4 * 198_272 + 256 + 1290),
    ],
)
def test_parameter_counts_are_exact(make, shape, dtype, parameters):
    shapes = make(norm=norms.layer_norm()).shapes(shape, dtype)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters


def test_layers_are_named_in_the_order_of_use_whatever_the_normaliser():
    block = [f"attention/{name}" for name in ("query", "key", "value", "out")]
    block += ["mlp/up", "mlp/down"]
    expected = ("tokens", *(f"block1/{name}" for name in block), "output")
    for norm in ("none", "layer", "dyt", "skipinit", "weight_norm", "batch"):
        for place in ("pre", "peri"):
            model = small(norm, depth=1, place=place)
            assert layer_names(model, (LENGTH,), jnp.int32) == expected


@pytest.mark.parametrize(("norm", "place"), [("none", "pre"), ("layer", "post"), ("dyt", "peri")])
def test_a_network_begins_near_the_loss_of_chance_with_a_stream_of_variance_1(norm, place):
    tokens = jax.random.randint(jax.random.key(0), (12, 64), 0, 76, jnp.int32)
    model = models.gpt(norm=norms.by_name(norm), place=place, width=0.25)
    params = model.init(jax.random.key(1), tokens)["params"]
    stream = params["tokens"]["embedding"][tokens] + params["positions"][None]
    assert 0.9 < float(stream.var()) < 1.1
    loss = losses.on_batch(model, {}, Batch(tokens, jnp.roll(tokens, -1, axis=1)))
    assert -0.01 < float(jax.jit(loss)(params)) - math.log(76) < 0.9


def test_skipinit_begins_as_the_identity():
    model = small("skipinit", depth=2)
    params = cast(model.init(jax.random.key(0), jnp.asarray(TOKENS))["params"])
    factors = [name for name in trees.leaf_names(params) if name.endswith("norm_behind/scale")]
    assert len(factors) == 4
    x = params["tokens"]["embedding"][TOKENS] + params["positions"][None]
    expected = x @ params["output"]["kernel"] + params["output"]["bias"].reshape(1, 1, -1)
    np.testing.assert_allclose(logits_of(model, params), expected, rtol=1e-12)


def test_kernels_that_end_a_branch_are_drawn_smaller():
    params = models.gpt(norm=norms.none(), depth=2).init(jax.random.key(0), jnp.asarray(TOKENS))
    own = params["params"]["block2"]["attention"]
    shrink = float(own["out"]["kernel"].std() / own["query"]["kernel"].std())
    assert shrink == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, r"heads=3 must divide the 128 channels of width 1: give a divisor"),
        ({"heads": 0}, r"heads=0 must divide"),
        ({"depth": 0}, r"depth 0 must be 1 or more: give the number of blocks"),
        (
            {"name": "vgg5", "qk_norm": True},
            r"vgg5 has no attention: leave qk_norm True out, .*gpt",
        ),
        ({"name": "mlp", "heads": 2}, r"mlp has no attention: leave heads 2 out"),
        ({"name": "resnet", "place": "peri"}, r"no residual branches with a place .*gpt, vit$"),
        ({"dropout": 0.5}, r"gpt has no dropout"),
        ({"num_classes": 1}, r"num_classes=1 must be 2 or more"),
    ],
)
def test_impossible_transformers_are_refused_with_the_remedy(options, message):
    default = {"name": "gpt", "norm": norms.none(), "num_classes": 10, "initializer": "zeros"}
    with pytest.raises(UsageError, match=message):
        models.by_name(**(default | options))


def test_images_that_cannot_be_cut_and_a_factor_without_branch_are_refused():
    with pytest.raises(UsageError, match=r"cuts them into 4×4 patches: pad them"):
        small(make=models.vit).shapes((28, 30, 1))
    with pytest.raises(UsageError, match=r"'skipinit' scales the end of a residual branch"):
        models.vgg5(norm=norms.skip_init(), width=0.05).shapes((16, 16, 3))
