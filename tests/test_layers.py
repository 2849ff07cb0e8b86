"""Which leaves are kernels, which axes they have, and where trees of each library fall into layers.

Expected values are written out by hand, or are those of the same network without stacks.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bnjax import probes
from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.models import norms, resnet
from bnjax.models.resnet import unstack
from bnjax.probes import Parameter, describe

KEY = jax.random.key(3)


def normal(*shape):
    return jax.random.normal(jax.random.fold_in(KEY, sum(shape)), shape, jnp.float64)


class Block(nn.Module):
    """A block of a transformer, as the body of a scan."""

    @nn.compact
    def __call__(self, x, _):
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        return x + nn.Dense(8)(x), None


class Transformer(nn.Module):
    """Three scanned blocks above an embedding of tokens and one of places."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 8, name="tokens")(tokens)
        x = x + self.param("pos_embedding", nn.initializers.normal(), (1, 6, 8), jnp.float64)
        scanned = nn.scan(Block, {"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = scanned(name="blocks")(x, None)
        return nn.Dense(5, name="head")(x)


def linen():
    tokens = jnp.arange(12).reshape(2, 6) % 11
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return jax.eval_shape(Transformer().init, KEY, tokens)["params"]


def nnx_modules():
    random = nnx.Rngs(0)

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def stacked(rngs):
        return nnx.Sequential(nnx.Linear(4, 4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs))

    layers = [nnx.Conv(3, 4, (3, 3), rngs=random), nnx.BatchNorm(4, rngs=random)]
    module = nnx.Sequential(*layers, stacked(random), nnx.Embed(7, 4, rngs=random))
    return nnx.state(module, nnx.Param)


def haiku():
    return {
        "net/~/conv2_d": {"w": normal(3, 3, 4, 8), "b": normal(8)},
        "net/~/batch_norm": {"scale": normal(1, 1, 1, 8), "offset": normal(1, 1, 1, 8)},
        "net/~/conv2_d_transpose": {"w": normal(3, 3, 8, 4), "b": normal(8)},
        "net/~/layer_stack/linear": {"w": normal(2, 8, 8), "b": normal(2, 8)},
        "net/~/layer_stack/layer_norm": {"scale": normal(2, 8), "offset": normal(2, 8)},
        "net/~/embed": {"embeddings": normal(9, 8)},
        "net": {"pos_embed": normal(6, 8)},
        "net/~/gru": {"w_i": normal(8, 24), "w_h": normal(8, 24), "b": normal(24)},
    }


def equinox():
    eqx = pytest.importorskip("equinox", reason="pip install 'bnjax[notebooks]'")

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.GroupNorm
        wide: eqx.nn.LayerNorm
        blocks: eqx.nn.Linear  # three of them, by a vmap over keys
        attention: eqx.nn.MultiheadAttention
        tokens: eqx.nn.Embedding
        slope: eqx.nn.PReLU

        def __init__(self, key):
            self.conv, self.norm = eqx.nn.Conv2d(3, 4, 3, key=key), eqx.nn.GroupNorm(2, 4)
            self.wide = eqx.nn.LayerNorm((4, 5))
            self.blocks = eqx.filter_vmap(lambda key: eqx.nn.Linear(4, 6, key=key))(
                jax.random.split(key, 3)
            )
            self.attention = eqx.nn.MultiheadAttention(2, 4, key=key)
            self.tokens, self.slope = eqx.nn.Embedding(7, 4, key=key), eqx.nn.PReLU()

    return eqx.partition(Net(KEY), eqx.is_inexact_array)[0]


def torch():
    return {
        "layer1.0.conv1.weight": normal(8, 3, 3, 3),
        "layer1.0.bn1.weight": normal(8),
        "layer1.0.bn1.bias": normal(8),
        "fc.weight": normal(5, 8),
        "fc.bias": normal(5),
        "wte.weight": normal(11, 8),
        "attention.in_proj_weight": normal(24, 8),
    }


K, E, X = "kernel", "embedding", "other"
ATTENTION = "blocks/MultiHeadDotProductAttention_0"
EXPECTED = {
    linen: {
        f"{ATTENTION}/query/kernel": (K, (2, 3), (0,)),  # [layers, channels, heads, dim]
        f"{ATTENTION}/query/bias": ("bias", (), (0,)),
        f"{ATTENTION}/out/kernel": (K, (3,), (0,)),  # [layers, heads, dim, channels]
        f"{ATTENTION}/out/bias": ("bias", (), (0,)),
        "blocks/LayerNorm_0/scale": ("scale", (), (0,)),
        "blocks/LayerNorm_0/bias": ("shift", (), (0,)),
        "blocks/Dense_0/kernel": (K, (2,), (0,)),
        "blocks/Dense_0/bias": ("bias", (), (0,)),
        "tokens/embedding": (E,),
        "pos_embedding": (E,),
        "head/kernel": (K, (1,)),
        "head/bias": ("bias",),
    },
    nnx_modules: {
        "layers/0/kernel/value": (K, (3,)),
        "layers/0/bias/value": ("bias",),
        "layers/1/scale/value": ("scale",),
        "layers/1/bias/value": ("shift",),
        "layers/2/layers/0/kernel/value": (K, (2,), (0,)),
        "layers/2/layers/0/bias/value": ("bias", (), (0,)),
        "layers/2/layers/1/scale/value": ("scale", (), (0,)),
        "layers/3/embedding/value": (E,),
    },
    haiku: {
        "net/~/conv2_d/w": (K, (3,)),
        "net/~/conv2_d/b": ("bias",),
        "net/~/batch_norm/scale": ("scale",),
        "net/~/batch_norm/offset": ("shift",),
        "net/~/conv2_d_transpose/w": (K, (2,)),
        "net/~/layer_stack/linear/w": (K, (2,), (0,)),
        "net/~/layer_stack/linear/b": ("bias", (), (0,)),
        "net/~/layer_stack/layer_norm/scale": ("scale", (), (0,)),
        "net/~/embed/embeddings": (E,),
        "net/pos_embed": (E,),
        "net/~/gru/w_h": (K, (1,)),
        "net/~/gru/b": ("bias",),
    },
    equinox: {
        "conv/weight": (K, (0,)),
        "conv/bias": ("bias",),  # [channels, 1, 1]
        "norm/weight": ("scale",),
        "norm/bias": ("shift",),
        "blocks/weight": (K, (1,), (0,)),
        "blocks/bias": ("bias", (), (0,)),
        "attention/query_proj/weight": (K, (0,)),
        "tokens/weight": (E,),
        "slope/negative_slope": (X,),
    },
    torch: {
        "layer1.0.conv1.weight": (K, (0,)),
        "layer1.0.bn1.weight": ("scale",),
        "layer1.0.bn1.bias": ("shift",),
        "fc.weight": (K, (0,)),
        "fc.bias": ("bias",),
        "wte.weight": (E,),
        "attention.in_proj_weight": (K, (0,)),
    },
    lambda: [(normal(4, 8), normal(8)), (normal(5, 8), normal(5))]: {
        "0/0": (K, (1,)),
        "0/1": ("bias",),
        "1/0": (K, (0,)),
        "1/1": ("bias",),
    },
    lambda: {"w1": normal(3, 4), "b1": normal(4), "mixer": normal(4, 4), "alpha": normal(1)}: {
        "w1": (K, (1,)),
        "b1": ("bias",),
        "mixer": (X,),
        "alpha": (X,),
    },
}


@pytest.mark.parametrize("make", EXPECTED, ids=lambda make: make.__name__.strip("<>"))
def test_trees_of_each_library_are_read_as_its_modules_mean_them(make):
    found = describe(make())
    for name, expected in EXPECTED[make].items():
        assert found[name] == Parameter(*expected), name
    if make is equinox:  # γ over two axes, not a stack of kernels
        assert found["wide/weight"].kind == "scale"


@pytest.mark.parametrize("norm", ["none", "batch", "weight_norm", "weight_standard", "unitize"])
def test_no_kernel_of_an_own_network_is_missed_and_stacks_are_seen(norm):
    model = resnet(26, norm=norms.by_name(norm), width=0.25, scan=True)
    params = model.shapes((32, 32, 3))["params"]
    for name, one in describe(params).items():
        ndim = len(trees.named_leaves(params)[name].shape)
        assert (one.kind == "kernel") == name.endswith("/kernel"), name
        stacked = name.startswith("stage")
        # A bias or γ beside it has to show the stack: weights alone could be of three dimensions.
        assert one.stacked_axes == ((0,) if stacked else ()), name
        assert one.filter_axes == ((ndim - 1,) if one.kind == "kernel" else ())


def stack_of_layers():
    """Three layers of one stack, of very different sizes."""
    sizes = jnp.array([100.0, 1.0, 0.01]).reshape(3, 1, 1)
    dense = {"kernel": normal(3, 5, 8) * sizes, "bias": normal(3, 8)}
    return {"stage": {"dense": dense, "norm": {"scale": normal(3, 8), "bias": normal(3, 8)}}}


def test_each_layer_of_a_stack_moves_by_its_own_norm():
    """Norms over the whole stack moved the smallest layer by thousands of times its own."""
    params = stack_of_layers()
    moved = probes.filter_direction(KEY, params)["stage"]
    kernel = params["stage"]["dense"]["kernel"]
    for layer in range(3):
        own, others = (np.linalg.norm(x[layer], axis=0) for x in (moved["dense"]["kernel"], kernel))
        np.testing.assert_allclose(own, others, rtol=1e-12)
    for still in (moved["dense"]["bias"], *moved["norm"].values()):
        np.testing.assert_array_equal(still, np.zeros((3, 8)))


def test_only_kernels_move_in_a_transformer():
    params = jax.tree.map(lambda leaf: normal(*leaf.shape), linen())
    moved = trees.named_leaves(probes.filter_direction(KEY, params))
    kernels = {name for name, one in describe(params).items() if one.kind == "kernel"}
    assert {name for name, move in moved.items() if np.any(move)} == kernels
    query = f"{ATTENTION}/query/kernel"
    own, others = (
        np.linalg.norm(tree[query], axis=1) for tree in (moved, trees.named_leaves(params))
    )
    np.testing.assert_allclose(own, others, rtol=1e-12)  # each head has filters of its own


def test_scales_of_haiku_stay_and_filters_of_equinox_come_first():
    moved = probes.filter_direction(KEY, haiku())
    assert not np.any(moved["net/~/batch_norm"]["scale"])
    assert not np.any(moved["net"]["pos_embed"])
    params = equinox()
    moved = probes.filter_direction(KEY, params)
    own, others = (np.linalg.norm(x.conv.weight.reshape(4, -1), axis=1) for x in (moved, params))
    np.testing.assert_allclose(own, others, rtol=1e-5)
    assert not np.any(moved.wide.weight)


def test_filters_of_a_deep_resnet_have_their_norms_block_by_block(batch):
    model = resnet(14, norm=norms.batch_norm(), width=0.25, scan=True)
    params = jax.tree.map(jnp.asarray, model.init(KEY, batch.images)["params"])
    params["stage1"]["first"]["kernel"] *= jnp.array([100.0, 1.0]).reshape(2, 1, 1, 1, 1)
    layers = unstack(params, 2)
    moved = unstack(probes.filter_direction(KEY, params), 2)
    for name, layer in layers.items():
        filters = layer["kernel"].shape[-1]
        own, others = (
            np.linalg.norm(x[name]["kernel"].reshape(-1, filters), axis=0) for x in (moved, layers)
        )
        np.testing.assert_allclose(own, others, rtol=1e-6)
        for still in jax.tree.leaves(moved[name].get("norm", {})):
            assert not np.any(still)


def test_what_is_not_known_is_asked_for_and_taken():
    params = {"mixer": normal(4, 6), "pe": normal(1, 9)}
    with pytest.raises(UsageError, match=r"mixer \(4, 6\) is a kernel.*described=\{'mixer': Param"):
        probes.filter_direction(KEY, params)
    told = {"mixer": Parameter("kernel", filter_axes=(-2,))}
    moved = probes.filter_direction(KEY, params, described=told)
    own, others = (np.linalg.norm(tree["mixer"], axis=1) for tree in (moved, params))
    np.testing.assert_allclose(own, others, rtol=1e-12)
    assert not np.any(moved["pe"])


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"b": Parameter("bias")}, "'b', which is no leaf: choose from a"),
        ({"a": Parameter("filter")}, "the kind 'filter': choose from kernel, bias"),
        ({"a": Parameter("kernel", (2,))}, r"axes \(2,\), its leaf the shape \(4, 6\): give each"),
        ({"a": Parameter("kernel", (1,), (-1,))}, r"axes \(1, -1\).*once, from -2 to 1"),
    ],
)
def test_a_wrong_description_is_refused(described, message):
    with pytest.raises(UsageError, match=message):
        describe({"a": normal(4, 6)}, described)


def in_a_row(layers):
    """A loss of layers one above the other."""
    x = normal(7, 8)
    for layer in layers:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"][None])
    return jnp.mean(x**2)


def test_scaled_smoothness_of_a_stack_is_that_of_its_layers():
    stacked = {"kernel": normal(3, 8, 8) * jnp.array([5.0, 1.0, 0.2]).reshape(3, 1, 1)}
    stacked["bias"] = normal(3, 8)

    def rows(params):
        return [jax.tree.map(lambda leaf, row=row: leaf[row], params) for row in range(3)]

    steps = jnp.array([0.05, 0.2])
    whole = probes.line(lambda p: in_a_row(rows(p)), stacked, steps)
    apart = probes.line(in_a_row, rows(stacked), steps)
    np.testing.assert_allclose(whole.scaled_smoothness, apart.scaled_smoothness, rtol=1e-9)
    by_probe = probes.Probe(lambda p: in_a_row(rows(p)), steps)(stacked)
    np.testing.assert_allclose(by_probe.scaled_smoothness, apart.scaled_smoothness, rtol=1e-9)
    named = probes.line(lambda p: jnp.sum(p["mixer"] ** 2), {"mixer": normal(4, 4)}, steps)
    assert np.isnan(named.scaled_smoothness).all()
