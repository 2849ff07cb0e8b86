"""The networks beside VGG: exact parameter counts, layers named alike, the scan over blocks."""

import chex
import jax
import jax.numpy as jnp
import pytest
from conftest import cast

from bnjax import losses, models
from bnjax.arithmetic.trees import leaf_names
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.models import norms
from bnjax.models.resnet import unstack

IMAGES = jnp.zeros((2, 32, 32, 3))


def shapes(model):
    return jax.eval_shape(model.init, jax.random.key(0), IMAGES)["params"]


def count(model, kind=""):
    params = shapes(model)
    named = zip(leaf_names(params), jax.tree.leaves(params), strict=True)
    return sum(leaf.size for name, leaf in named if kind in name)


# Frankle et al. 2020, Table 1.
@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(14, 1120), (32, 2464), (56, 4256), (110, 8288), (218, 16352), (434, 32480), (866, 64736)],
)
def test_resnets_have_the_published_number_of_normalisation_parameters(depth, parameters):
    assert count(models.resnet(depth, norm=norms.batch_norm()), "/norm/") == parameters


def test_parameter_counts_are_exact():
    # By hand: 5·5·3·6 + 6, 5·5·6·16 + 16, 8·8·16·120 + 120, 120·84 + 84, 84·10 + 10.
    assert count(models.lenet(norm=norms.none())) == 456 + 2416 + 123_000 + 10_164 + 850
    convolutions = 25 * 3 * 64 + 25 * 64 * 192 + 9 * (192 * 384 + 384 * 256 + 256 * 256)
    dense = 4 * 4 * 256 * 1024 + 1024 * 1024 + 1024 * 10
    biases = 64 + 192 + 384 + 256 + 256 + 1024 + 1024 + 10
    assert count(models.alexnet(norm=norms.none())) == convolutions + dense + biases
    assert count(models.mlp(norm=norms.none())) == 3072 * 100 + 2 * 100 * 100 + 1000 + 310
    vgg38 = 9 * 3 * 32 + 36 * 9 * 32 * 32 + 37 * 32 + 4 * 4 * 32 * 10 + 10
    assert count(models.vgg38(norm=norms.none())) == vgg38
    assert sorted(shapes(models.vgg38(norm=norms.none()))) == sorted(
        ["output", *(f"conv{index}" for index in range(1, 38))]
    )


def test_a_resnet_halves_its_images_twice_and_projects_its_shortcuts():
    model = models.resnet(14, norm=norms.batch_norm())
    variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
    found = jax.eval_shape(lambda v: model.preactivations(**v, images=IMAGES), variables)
    assert found["conv5"].shape == (2, 32, 32, 16)
    assert found["conv6"].shape == found["shortcut3"].shape == (2, 16, 16, 32)
    assert found["conv13"].shape == found["shortcut5"].shape == (2, 8, 8, 64)
    # By hand: 3×3 convolutions, two 1×1 shortcuts, the classifier, γ and β.
    stages = 9 * (3 * 16 + 4 * 16 * 16 + 16 * 32 + 3 * 32 * 32 + 32 * 64 + 3 * 64 * 64)
    assert count(model) == stages + 16 * 32 + 32 * 64 + 650 + 1120 == 175_258


@pytest.mark.parametrize("name", [name for name in models.FAMILIES if name != "dln"])
def test_arms_name_their_layers_alike_and_apply(name):
    found = []
    for norm in ("none", "batch", "layer", "weight_norm"):
        model = models.by_name(
            name, norm=norms.by_name(norm), num_classes=7, initializer="he_normal", width=0.25
        )
        variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
        logits, _ = jax.eval_shape(
            lambda v, m=model: m.apply(**v, images=IMAGES, train=True), variables
        )
        assert logits.shape == (2, 7)
        found.append(list(variables["params"]))
    assert all(layers == found[0] for layers in found)


@pytest.fixture(scope="module")
def deep():
    """A narrow ResNet-20 with its blocks as a scan, and the same one without."""
    options = {"norm": norms.batch_norm(), "width": 0.25}
    scanned, plain = (models.resnet(20, scan=scan, **options) for scan in (True, False))
    images = jax.random.normal(jax.random.key(1), (6, 8, 8, 3), jnp.float64)
    batch = Batch(images, jnp.arange(6, dtype=jnp.int32))
    return scanned, plain, cast(scanned.init(jax.random.key(0), images)), batch


@pytest.mark.full  # many compiles
def test_a_scan_over_blocks_is_the_network_without_scan(deep):
    scanned, plain, variables, batch = deep
    same = {name: unstack(tree, 3) for name, tree in variables.items()}
    chex.assert_trees_all_equal_shapes(same, plain.init(jax.random.key(0), batch.images))
    values = []
    for model, own in ((scanned, variables), (plain, same)):
        loss = losses.on_batch(model, own["batch_stats"], batch)
        values.append(jax.jit(jax.value_and_grad(loss))(own["params"]))
    (value, gradient), (expected, expected_gradient) = values
    chex.assert_trees_all_close(value, expected, rtol=1e-12)
    chex.assert_trees_all_close(unstack(gradient, 3), expected_gradient, rtol=1e-8, atol=1e-12)
    after, expected_after = (
        model.apply(**own, images=batch.images, train=True)[1]
        for model, own in ((scanned, variables), (plain, same))
    )
    chex.assert_trees_all_close(unstack(after, 3), expected_after, rtol=1e-10)


def test_every_block_of_a_scan_has_a_draw_of_its_own(deep):
    kernels = deep[2]["params"]["stage1"]["first"]["kernel"]
    assert kernels.shape[0] == 3
    assert float(jnp.abs(kernels[0] - kernels[1]).max()) > 0.1


@pytest.mark.parametrize(
    ("depth", "nearest"), [(15, "14 and 20"), (50, "50"), (100, "98 and 104"), (3, "8")]
)
def test_the_nearest_legal_depths_are_named(depth, nearest):
    if depth == 50:
        models.resnet(50, norm=norms.none())
        return
    with pytest.raises(
        UsageError, match=rf"depth {depth} is not .* the nearest legal \w+ {nearest}$"
    ):
        models.resnet(depth, norm=norms.none())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "vgg12"}, "model 'vgg12' is not known: choose from vgg11"),
        ({"name": "vgg11", "depth": 16}, "vgg11 has a depth of its own: leave depth 16 out"),
        ({"name": "lenet", "dropout": 1.0}, r"dropout=1.0 must be 0 or more and below 1"),
        ({"name": "lenet", "width": 0.0}, r"width=0.0 must be above 0"),
        ({"name": "dln", "dropout": 0.5}, "dln has no dropout"),
        ({"name": "mlp", "depth": 1}, "depth 1 of a perceptron must be 2 or more"),
    ],
)
def test_options_that_a_network_does_not_have_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        models.by_name(norm=norms.none(), num_classes=10, initializer="he_normal", **options)


@pytest.mark.parametrize("make", ["vgg11", "vgg38", "resnet", "lenet", "alexnet", "mlp"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_classes", 0),
        ("width", -1.0),
        ("width", 17.0),
        ("width", float("nan")),
        ("dropout", 7.0),
        ("dropout", -0.1),
    ],
)
def test_impossible_sizes_are_refused_by_every_constructor(make, option, value):
    with pytest.raises(UsageError, match=f"{option}={value} must be"):
        getattr(models, make)(norm=norms.batch_norm(), **{option: value})


@pytest.mark.parametrize("name", ["lenet", "alexnet", "vgg38"])
def test_images_that_are_too_small_are_refused(name):
    model = models.by_name(name, norm=norms.none(), num_classes=10, initializer="he_normal")
    with pytest.raises(UsageError, match="resize or pad them"):
        model.init(jax.random.key(0), jnp.zeros((1, 2, 2, 3)))


def test_dropout_is_drawn_from_the_steps_key_and_off_when_testing():
    model = models.mlp(norm=norms.none(), dropout=0.5, initializer="he_normal")
    images = jax.random.normal(jax.random.key(0), (4, 4, 4, 1))
    variables = model.init(jax.random.key(1), images)

    def logits(seed, train):
        key = jax.random.key(seed)
        return model.apply(**variables, images=images, train=train, key=key)[0]

    chex.assert_trees_all_equal(logits(2, True), logits(2, True))
    assert float(jnp.abs(logits(2, True) - logits(3, True)).max()) > 1e-3
    chex.assert_trees_all_equal(logits(2, False), logits(3, False))
