"""The networks: exact parameter counts, layers named alike, initialisers, pooling, scans."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import cast, tiny_model
from jax import lax

from bnjax import losses, models
from bnjax.arithmetic.equations import programs_inside
from bnjax.arithmetic.trees import leaf_names, named_leaves
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.models import norms
from bnjax.models.interception import at_norms, at_outputs, channels_of_norms
from bnjax.models.layers import max_pool, mean_pool
from bnjax.models.resnet import unstack

NONE, BATCH = norms.none(), norms.batch_norm()


def shapes(model, images=(2, 32, 32, 3)):
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(images))["params"]


def count(model, kind=""):
    params = shapes(model)
    named = zip(leaf_names(params), jax.tree.leaves(params), strict=True)
    return sum(leaf.size for name, leaf in named if kind in name)


def by_name(name, **options):
    default = {"norm": NONE, "num_classes": 10, "initializer": "he_normal"}
    return models.by_name(name, **(default | options))


CONVOLUTIONS = 25 * 3 * 64 + 25 * 64 * 192 + 9 * (192 * 384 + 384 * 256 + 256 * 256)
DENSE = 4 * 4 * 256 * 1024 + 1024 * 1024 + 1024 * 10
BIASES = 64 + 192 + 384 + 256 + 256 + 1024 + 1024 + 10
# Of ResNet-14: 3×3 convolutions of three stages.
STAGES = 9 * (3 * 16 + 4 * 16 * 16 + 16 * 32 + 3 * 32 * 32 + 32 * 64 + 3 * 64 * 64)


@pytest.mark.parametrize(
    ("make", "options", "parameters"),
    [
        # Convolutions as in Simonyan & Zisserman's Table 1 with biases, one classifier of
        # 512 × 10 + 10, and two normalisation parameters for each channel.
        (models.vgg, {"depth": 11}, 9_225_610),
        (models.vgg, {"depth": 11, "norm": BATCH}, 9_231_114),
        (models.vgg, {"depth": 13}, 9_410_122),
        (models.vgg, {"depth": 13, "norm": BATCH}, 9_416_010),
        (models.vgg, {"depth": 16}, 14_719_818),
        (models.vgg, {"depth": 16, "norm": BATCH}, 14_728_266),
        (models.vgg, {"depth": 19}, 20_029_514),
        (models.vgg, {"depth": 19, "norm": BATCH}, 20_040_522),
        (models.vgg11, {"hidden": (512, 512)}, 9_750_922),  # VGG-A of the replications
        # By hand: 5·5·3·6 + 6, 5·5·6·16 + 16, 8·8·16·120 + 120, 120·84 + 84, 84·10 + 10.
        (models.lenet, {}, 456 + 2416 + 123_000 + 10_164 + 850),
        (models.alexnet, {}, CONVOLUTIONS + DENSE + BIASES),
        (models.mlp, {}, 3072 * 100 + 2 * 100 * 100 + 1000 + 310),
        (models.vgg38, {}, 9 * 3 * 32 + 36 * 9 * 32 * 32 + 37 * 32 + 4 * 4 * 32 * 10 + 10),
        # Two 1×1 shortcuts, the classifier, γ and β.
        (models.resnet, {"depth": 14, "norm": BATCH}, STAGES + 16 * 32 + 32 * 64 + 650 + 1120),
    ],
)
def test_parameter_counts_are_exact(make, options, parameters):
    assert count(make(**({"norm": NONE} | options))) == parameters


# Frankle et al. 2020, Table 1.
@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(14, 1120), (32, 2464), (56, 4256), (110, 8288), (218, 16352), (434, 32480), (866, 64736)],
)
def test_resnets_have_the_published_number_of_normalisation_parameters(depth, parameters):
    assert count(models.resnet(depth, norm=BATCH), "/norm/") == parameters


def test_a_resnet_halves_its_images_twice_and_projects_its_shortcuts():
    model, images = models.resnet(14, norm=BATCH), jnp.zeros((2, 32, 32, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    found = jax.eval_shape(lambda v: model.preactivations(**v, images=images), variables)
    assert found["conv5"].shape == (2, 32, 32, 16)
    assert found["conv6"].shape == found["shortcut3"].shape == (2, 16, 16, 32)
    assert found["conv13"].shape == found["shortcut5"].shape == (2, 8, 8, 64)


def test_width_channels_and_classes_are_options():
    params = shapes(models.vgg11(norm=NONE, width=0.5, num_classes=7), (2, 40, 32, 1))
    assert params["conv1"]["kernel"].shape == (3, 3, 1, 32)
    assert params["output"]["kernel"].shape == (256, 7)
    layers = [*(f"conv{index}" for index in range(1, 38)), "output"]
    assert sorted(shapes(models.vgg38(norm=NONE))) == sorted(layers)


@pytest.mark.parametrize("name", [name for name in models.FAMILIES if name not in ("dln", "gpt")])
def test_arms_name_their_layers_alike_and_apply(name):
    found, images = [], jnp.zeros((2, 32, 32, 3))
    for norm in ("none", "batch", "layer", "weight_norm"):
        model = by_name(name, norm=norms.by_name(norm), num_classes=7, width=0.25)
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
        apply = lambda v, m=model: m.apply(**v, images=images, train=True)  # noqa: E731
        assert jax.eval_shape(apply, variables)[0].shape == (2, 7)
        found.append(models.layer_names(model, (32, 32, 3)))
    assert all(layers == found[0] for layers in found)


@pytest.mark.parametrize("name", ["vgg5", "resnet", "mlp", "lenet"])
def test_biases_of_weight_layers_may_start_elsewhere_and_nothing_else_does(name):
    images, norm = jnp.zeros((2, 32, 32, 3), jnp.float32), norms.by_name("batch")
    plain, moved = (
        leaf_names_and_values(by_name(name, norm=norm, width=0.1, bias_init=value), images)
        for value in (0.0, 0.1)
    )
    own = {key for key in plain if key.endswith("bias") and "norm" not in key.split("/")}
    assert own
    for key, value in plain.items():
        np.testing.assert_array_equal(moved[key], np.full_like(value, 0.1) if key in own else value)
    changed = by_name(name, norm=norm, width=0.1, bias_init=0.1)
    assert changed.initialised == by_name(name, norm=norm, width=0.1).initialised


def leaf_names_and_values(model, images):
    return named_leaves(model.init(jax.random.key(0), images)["params"])


@pytest.mark.parametrize("pooling", ["max", "mean", "max_but_last"])
def test_a_stage_ends_with_the_pooling_that_is_asked_for(pooling):
    model = models.vgg5(norm=NONE, width=0.05, pooling=pooling)
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3), jnp.float32)
    variables = model.init(jax.random.key(1), images)
    found = model.preactivations(**variables, images=images, train=False)
    x = images
    for place in range(1, 5):
        layer = variables["params"][f"conv{place}"]
        x = lax.conv_general_dilated(
            x, layer["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + layer["bias"].reshape(1, 1, 1, -1))
        if pooling != "max_but_last" or place < 4:
            x = mean_pool(x, 2) if pooling == "mean" else max_pool(x, 2)
    logits = x.reshape(2, -1) @ variables["params"]["output"]["kernel"]
    np.testing.assert_allclose(found["output"], logits, rtol=1e-4, atol=1e-6)
    assert x.shape[1] == (2 if pooling == "max_but_last" else 1)


def test_a_head_has_the_hidden_layers_that_are_asked_for():
    model = by_name("vgg19", width=0.25, hidden=(40, 30))
    found = shapes(model)
    sizes = [found[layer]["kernel"].shape for layer in ("dense1", "dense2", "output")]
    assert sizes == [(128, 40), (40, 30), (30, 10)]


def test_arms_start_from_the_same_kernels():
    images = jnp.zeros((2, 8, 8, 3), jnp.float32)
    none, batch = (
        tiny_model(norm).init(jax.random.key(0), images)["params"] for norm in ("none", "batch")
    )
    assert len(none) == 3
    for layer in none:
        chex.assert_trees_all_equal(none[layer]["kernel"], batch[layer]["kernel"])


def test_apply_is_explicit_about_statistics(problem, batch):
    model, params, batch_stats, _ = problem
    logits, same = model.apply(params, batch_stats, batch.images, train=False)
    assert same is batch_stats
    assert logits.shape == (16, 10)
    _, advanced = model.apply(params, batch_stats, batch.images, train=True)
    pairs = zip(*map(jax.tree.leaves, (advanced, batch_stats)), strict=True)
    changed = [bool((a != b).any()) for a, b in pairs]
    assert all(changed)
    assert bool(changed) == bool(batch_stats)


def test_a_network_computes_in_bfloat16_and_keeps_32_bits_around():
    model = tiny_model("batch")
    narrow = dataclasses.replace(model, compute_dtype="bfloat16")
    images = jax.random.normal(jax.random.key(1), (16, 8, 8, 3), jnp.float32)
    batch = Batch(images, jnp.arange(16, dtype=jnp.int32) % 10)
    variables = narrow.init(jax.random.key(0), images)
    chex.assert_trees_all_equal(variables, model.init(jax.random.key(0), images))
    _, advanced = narrow.apply(**variables, images=images, train=True)
    gradients = []
    for network in (model, narrow):
        loss = losses.on_batch(network, variables["batch_stats"], batch)
        gradients.append(jax.jit(jax.grad(loss))(variables["params"]))
        products = [
            equation.invars[0].aval.dtype
            for equation in equations(jax.make_jaxpr(loss)(variables["params"]).jaxpr)
            if equation.primitive.name in ("conv_general_dilated", "dot_general")
        ]
        expected = jnp.bfloat16 if network is narrow else jnp.float32
        assert len(products) >= 3
        assert set(products) == {jnp.dtype(expected)}
    for leaf in jax.tree.leaves((advanced, gradients)):
        assert leaf.dtype == jnp.float32
    exact, rounded = gradients
    apart = optax.tree.norm(optax.tree.sub(rounded, exact)) / optax.tree.norm(exact)
    assert 2**-10 < apart < 2**-4


def equations(jaxpr):
    """Those of a program and of all programs inside."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in programs_inside(equation):
            yield from equations(inner)


@pytest.mark.parametrize(
    ("name", "std"), [("glorot_uniform", (2 / 1152) ** 0.5), ("he_normal", (2 / 576) ** 0.5)]
)
def test_initialisers_have_their_deviation(name, std):
    # The second convolution maps 64 to 64 channels: fans of 9 · 64 = 576 each.
    initializer = models.layers.initializer(name)
    model = models.Model(models.VGG((2,), (64,), 10, (), NONE, initializer))
    params = model.init(jax.random.key(0), jnp.zeros((2, 8, 8, 3), jnp.float32))["params"]
    np.testing.assert_allclose(params["conv2"]["kernel"].std(), std, rtol=0.02)


@pytest.fixture(scope="module")
def deep():
    """A narrow ResNet-20 with its blocks as a scan, and the same one without."""
    scanned, plain = (models.resnet(20, scan=s, norm=BATCH, width=0.25) for s in (True, False))
    images = jax.random.normal(jax.random.key(1), (6, 8, 8, 3), jnp.float64)
    batch = Batch(images, jnp.arange(6, dtype=jnp.int32))
    return scanned, plain, cast(scanned.init(jax.random.key(0), images)), batch


@pytest.mark.full  # many compiles
def test_a_scan_over_blocks_is_the_network_without_scan(deep):
    scanned, plain, variables, batch = deep
    same = {name: unstack(tree, 3) for name, tree in variables.items()}
    chex.assert_trees_all_equal_shapes(same, plain.init(jax.random.key(0), batch.images))
    found = []
    for model, own in ((scanned, variables), (plain, same)):
        loss = losses.on_batch(model, own["batch_stats"], batch)
        value, gradient = jax.jit(jax.value_and_grad(loss))(own["params"])
        found.append((value, gradient, model.apply(**own, images=batch.images, train=True)[1]))
    (value, gradient, after), (expected, expected_gradient, expected_after) = found
    chex.assert_trees_all_close(value, expected, rtol=1e-12)
    chex.assert_trees_all_close(unstack(gradient, 3), expected_gradient, rtol=1e-8, atol=1e-12)
    chex.assert_trees_all_close(unstack(after, 3), expected_after, rtol=1e-10)


def test_every_block_of_a_scan_has_a_draw_of_its_own(deep):
    kernels = deep[2]["params"]["stage1"]["first"]["kernel"]
    assert kernels.shape[0] == 3
    assert float(jnp.abs(kernels[0] - kernels[1]).max()) > 0.1


@pytest.mark.parametrize("first", [None, NONE], ids=["one norm", "none in first convolutions"])
def test_layers_inside_a_scan_are_intercepted_by_their_own_names(first, deep):
    """As in the network without scan, exceptions of the normaliser too."""
    images = deep[3].images
    norm = norms.with_exceptions(BATCH, {} if first is None else {"first": first})
    scanned = models.resnet(14, norm=norm, width=0.125, scan=True)
    variables = cast(scanned.init(jax.random.key(0), images))
    apart = {} if first is None else dict.fromkeys(("conv2", "conv4", "conv8", "conv12"), first)
    plain = models.resnet(14, norm=norms.with_exceptions(BATCH, apart), width=0.125, scan=False)
    same = {name: unstack(tree, 2) for name, tree in variables.items()}
    for intercept, places in ((at_norms, ["conv5", "conv9"]), (at_outputs, ["conv4", "output"])):
        found = intercept(scanned, places, **variables, images=images)
        expected = intercept(plain, places, **same, images=images)
        for name in places:
            seen, twin = found[name], expected[name]
            np.testing.assert_allclose(seen.activations, twin.activations, rtol=1e-12)
            moved = 2 * seen.activations
            np.testing.assert_allclose(seen.head(moved), twin.head(moved), rtol=1e-12)
    shapes = channels_of_norms(scanned, jax.ShapeDtypeStruct(images.shape, images.dtype))
    assert ("conv2" in shapes) == (first is None)
    assert {"conv1", "conv3", "conv13", "shortcut3"} <= shapes.keys()


def test_dropout_is_drawn_from_the_steps_key_and_off_when_testing():
    model = models.mlp(norm=NONE, dropout=0.5, initializer="he_normal")
    images = jax.random.normal(jax.random.key(0), (4, 4, 4, 1))
    variables = model.init(jax.random.key(1), images)

    def logits(seed, train):
        key = jax.random.key(seed)
        return model.apply(**variables, images=images, train=train, key=key)[0]

    chex.assert_trees_all_equal(logits(2, True), logits(2, True))
    assert float(jnp.abs(logits(2, True) - logits(3, True)).max()) > 1e-3
    chex.assert_trees_all_equal(logits(2, False), logits(3, False))


def init(model, pixels):
    model.init(jax.random.key(0), jnp.zeros((1, pixels, pixels, 3)))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        *(
            (lambda depth=depth: models.resnet(depth, norm=NONE), rf"{depth} is not .* {nearest}$")
            for depth, nearest in [
                (15, r"the nearest legal \w+ 14 and 20"),
                (100, r"the nearest legal \w+ 98 and 104"),
                (3, r"the nearest legal \w+ 8"),
            ]
        ),
        (lambda: models.vgg(12, norm=NONE), "VGG depth 12"),
        (lambda: models.vgg11(norm=NONE, initializer="foo"), "initializer 'foo'"),
        (lambda: models.vgg11(norm=NONE, num_classes=1), "num_classes=1"),
        (lambda: by_name("vgg12"), "model 'vgg12' is not known: choose from vgg5, vgg11"),
        (lambda: by_name("vgg11", depth=16), "vgg11 has a depth of its own: leave depth 16 out"),
        (lambda: by_name("lenet", dropout=1.0), r"dropout=1.0 must be 0 or more and below 1"),
        (lambda: by_name("lenet", width=0.0), r"width=0.0 must be above 0"),
        (lambda: by_name("dln", dropout=0.5), "dln has no dropout"),
        (lambda: by_name("resnet", hidden=(9,)), "model resnet has no hidden layers to choose"),
        (lambda: by_name("vgg11", hidden=(9, 0)), "hidden 9 0: each must be 1 or more"),
        (lambda: by_name("mlp", depth=1), "depth 1 of a perceptron must be 2 or more"),
        (lambda: init(models.vgg11(norm=NONE, width=1 / 16), 16), "32×32 pixels or more"),
        *(
            (lambda name=name: init(by_name(name), 2), "resize or pad them")
            for name in ("lenet", "alexnet", "vgg38")
        ),
    ],
)
def test_options_that_a_network_does_not_have_are_refused(act, message):
    models.resnet(50, norm=NONE)  # a legal depth
    with pytest.raises(UsageError, match=message):
        act()


@pytest.mark.parametrize("make", ["vgg11", "vgg38", "resnet", "lenet", "alexnet", "mlp"])
@pytest.mark.parametrize(
    "option",
    [
        *({"width": width} for width in (-1.0, 17.0, float("nan"))),
        {"num_classes": 0},
        {"dropout": 7.0},
        {"dropout": -0.1},
    ],
    ids=str,
)
def test_impossible_sizes_are_refused_by_every_constructor(make, option):
    ((name, value),) = option.items()
    with pytest.raises(UsageError, match=f"{name}={value} must be"):
        getattr(models, make)(norm=BATCH, **option)


def windows(images, window, first=-jnp.inf, reduce=lax.max):
    shape = (1, window, window, 1)
    return lax.reduce_window(images, first, reduce, shape, shape, "VALID")


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("size", [(3, 3), (4, 6), (7, 5)])
def test_pooling_has_the_value_gradient_and_hessian_product_of_xlas(size, window):
    images = jax.random.normal(jax.random.key(0), (2, *size, 3))
    vector = jax.random.normal(jax.random.key(1), images.shape)

    def derivatives(pool):
        loss = lambda images: jnp.sum(jnp.sin(pool(images, window)))  # noqa: E731
        gradient, product = jax.jvp(jax.grad(loss), (images,), (vector,))
        return pool(images, window), gradient, product

    chex.assert_trees_all_close(derivatives(max_pool), derivatives(windows), rtol=1e-12)
    several = jax.vmap(lambda images: max_pool(images, window))(jnp.stack([images, vector]))
    expected = jnp.stack([windows(images, window), windows(vector, window)])
    np.testing.assert_array_equal(several, expected)
    mean = windows(images, window, 0.0, lax.add) / window**2
    np.testing.assert_allclose(mean_pool(images, window), mean, rtol=1e-12)


def test_ties_share_the_gradient_equally_without_select_and_scatter():
    gradient = jax.jit(jax.grad(lambda images: max_pool(images, 2).sum()))
    images = jnp.zeros((1, 4, 4, 1))
    np.testing.assert_array_equal(gradient(images), jnp.full((1, 4, 4, 1), 0.25))
    text = gradient.lower(images).as_text()
    assert "select_and_scatter" not in text
    assert "stablehlo.scatter" not in text


@pytest.mark.parametrize("window", [0, 5])
def test_a_window_that_does_not_fit_is_refused(window):
    with pytest.raises(UsageError, match=f"window={window} does not fit"):
        max_pool(jnp.zeros((1, 4, 7, 1)), window)
