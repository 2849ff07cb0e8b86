"""Transformers small enough for two cores: a GPT of characters, and a ViT of sixteen patches.

Any normaliser stands at one of three places of each residual branch, token by token: LayerNorm is
over the channels of a token, and BatchNorm over all tokens of a batch, future ones included.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.choices import PlaceName
from bnjax.errors import UsageError
from bnjax.models import layers
from bnjax.models.layers import Dense, check_size, scale_channels
from bnjax.models.model import Model
from bnjax.models.norms import Norm, none
from bnjax.types import Images, Inputs, Logits

CHANNELS = 128  # of a token, at width 1
EXPANSION = 4  # hidden channels of a perceptron, for each of a token
PATCHES = 4  # of a ViT, along each side of an image
QUERY_KEY = ("query", "key")
NONE = none()
EMBEDDING = nn.initializers.normal(0.5**0.5)  # token and position together have variance 1

Tokens = Float[Array, "batch length channels"]


class Places(NamedTuple):
    """The normalisers of a residual branch, `after(x + behind(f(before(x))))`, and the last one."""

    before: Norm
    behind: Norm
    after: Norm
    last: Norm  # of the network, before its output


def places(norm: Norm, place: PlaceName) -> Places:
    """Where a normaliser stands."""
    if norm.branch_end:
        return Places(NONE, norm._replace(branch_end=False), NONE, NONE)
    return {
        "pre": Places(norm, NONE, NONE, norm),
        "post": Places(NONE, NONE, norm, NONE),
        "peri": Places(norm, norm, NONE, norm),
    }[place]


def by_token(
    norm: Norm, x: Float[Array, "*batch channels"], *, train: bool, name: str = "norm"
) -> Float[Array, "*batch channels"]:
    """A normaliser's output, each vector of channels an example of its own."""
    return norm.output(x.reshape(-1, x.shape[-1]), train=train, name=name).reshape(x.shape)


class Wiring(NamedTuple):
    """What all branches of a transformer have in common."""

    norm: Norm
    place: PlaceName
    qk_norm: Norm
    heads: int
    causal: bool
    kernel_init: Callable[..., Any]
    shrink: float  # factor on the first kernels of layers that end a branch

    def dense(self, features: int, name: str, *, ends: bool = False) -> Dense:
        """A layer of a branch, or the one that ends it; the normaliser may be one of kernels."""
        normalised = self.place == "peri" if ends else self.qk_norm.build and name in QUERY_KEY
        shrink = self.shrink if ends else 1.0
        norm = self.norm._replace(build=None, branch_end=False)

        def kernel_init(*arguments: Any) -> Array:
            return shrink * self.kernel_init(*arguments)

        return Dense(features, norm, kernel_init, use_bias=not normalised, name=name)

    def residual(self, branch: Callable[[Tokens], Tokens], x: Tokens, *, train: bool) -> Tokens:
        """A branch beside the identity, with its normalisers."""
        at = places(self.norm, self.place)
        y = branch(by_token(at.before, x, train=train))
        x = x + by_token(at.behind, y, train=train, name="norm_behind")
        return by_token(at.after, x, train=train)


class Attention(nn.Module):
    """Self-attention of several heads in its residual branch: query, key, value, out."""

    wiring: Wiring

    @nn.compact
    def __call__(self, x: Tokens, *, train: bool) -> Tokens:
        """Tokens `[batch, length, channels]`, each moved by what it attends to."""
        wiring = self.wiring
        batch, length, channels = x.shape
        size = channels // wiring.heads

        def heads(x: Tokens, name: str) -> Float[Array, "batch length heads size"]:
            layer = wiring.dense(channels, name)
            return layer(x, train=train).reshape(batch, length, wiring.heads, size)

        def attend(x: Tokens) -> Tokens:
            queries, keys, values = (heads(x, name) for name in (*QUERY_KEY, "value"))
            queries = by_token(wiring.qk_norm, queries, train=train, name="query_norm")
            keys = by_token(wiring.qk_norm, keys, train=train, name="key_norm")
            scores = jnp.einsum("bqhc,bkhc->bhqk", queries, keys) / math.sqrt(size)
            if wiring.causal:
                seen = jnp.tril(jnp.ones((1, 1, length, length), bool))
                scores = jnp.where(seen, scores, -jnp.inf)
            mixed = jnp.einsum("bhqk,bkhc->bqhc", jax.nn.softmax(scores), values)
            return wiring.dense(channels, "out", ends=True)(mixed.reshape(x.shape), train=train)

        return wiring.residual(attend, x, train=train)


class Perceptron(nn.Module):
    """A hidden layer for each token in its residual branch: up, GELU, down."""

    wiring: Wiring

    @nn.compact
    def __call__(self, x: Tokens, *, train: bool) -> Tokens:
        """Tokens `[batch, length, channels]`, each moved by a function of itself."""
        wiring, channels = self.wiring, x.shape[-1]

        def transform(x: Tokens) -> Tokens:
            hidden = nn.gelu(wiring.dense(EXPANSION * channels, "up")(x, train=train))
            return wiring.dense(channels, "down", ends=True)(hidden, train=train)

        return wiring.residual(transform, x, train=train)


class Block(nn.Module):
    """Attention, then a perceptron."""

    wiring: Wiring

    @nn.compact
    def __call__(self, x: Tokens, *, train: bool) -> Tokens:
        """Tokens through both branches."""
        x = Attention(self.wiring, name="attention")(x, train=train)
        return Perceptron(self.wiring, name="mlp")(x, train=train)


class Transformer(nn.Module):
    """Blocks on tokens of text, whose every position has logits, or on patches of an image.

    Layers are `tokens` or `patches`, `block1/attention/query` …, `block1/mlp/down` …, `output`.
    Positions have trained vectors.
    """

    num_classes: int
    width: int
    blocks: int
    heads: int
    norm: Norm
    place: PlaceName
    qk_norm: Norm
    kernel_init: Callable[..., Any]
    is_text: bool

    @nn.compact
    def __call__(self, inputs: Inputs, *, train: bool) -> Logits:
        """Tokens `[batch, length]` or images `[batch, height, width, channels]` to logits.

        Logits are `[batch, length, num_classes]` or `[batch, num_classes]`.
        """
        if self.is_text:
            x = nn.Embed(self.num_classes, self.width, embedding_init=EMBEDDING, name="tokens")(
                inputs
            )
        else:
            patches = Dense(self.width, NONE, self.kernel_init, name="patches")
            x = patches(cut(inputs), train=train)
        x = x + self.param("positions", EMBEDDING, x.shape[1:], x.dtype)[None]
        wiring = Wiring(
            self.norm,
            self.place,
            self.qk_norm,
            self.heads,
            self.is_text,
            self.kernel_init,
            shrink=(2 * self.blocks) ** -0.5,
        )
        for index in range(1, self.blocks + 1):
            x = Block(wiring, name=f"block{index}")(x, train=train)
        x = by_token(places(self.norm, self.place).last, x, train=train)
        x = x if self.is_text else x.mean(axis=1)
        return Dense(self.num_classes, NONE, self.kernel_init, name="output")(x, train=train)


def cut(images: Images) -> Float[Array, "batch patches numbers"]:
    """4×4 patches of equal size, the pixels of each as one vector."""
    batch, height, width, channels = images.shape
    if height % PATCHES or width % PATCHES:
        raise UsageError(
            f"images have shape {images.shape}; a ViT cuts them into {PATCHES}×{PATCHES} patches: "
            f"pad them to multiples of {PATCHES} pixels"
        )
    size = (height // PATCHES, width // PATCHES)
    x = images.reshape(batch, PATCHES, size[0], PATCHES, size[1], channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, PATCHES**2, -1)


def gpt(
    *,
    norm: Norm,
    num_classes: int = 76,
    width: float = 1.0,
    depth: int = 4,
    heads: int = 4,
    place: PlaceName = "pre",
    qk_norm: Norm = NONE,
    initializer: str = "glorot_uniform",
) -> Model:
    r"""A decoder of characters: causal attention, trained positions, an output of its own.

    Kernels that end a branch are drawn smaller by $1/\sqrt{2\,depth}$. Vectors of tokens and of
    positions begin with variance ½, so that every normaliser begins near the identity: x has
    variance 1. A layer whose output is normalised at once has no bias: `query` and `key` with
    QK-norm, `out` and `down` at `peri`. So LayerNorm and RMSNorm make their kernels
    scale-invariant.

    Args:
      norm: normaliser, of each token by itself, see `bnjax.norms`.
      num_classes: number of different tokens; 76 are those of `bnjax.data.load("shakespeare")`.
      width: factor on the 128 channels.
      depth: blocks.
      heads: of the attention; they divide the channels.
      place: of the normaliser n beside a branch f: `pre`, x + f(n(x)), and n before the output;
        `post`, n(x + f(x)); `peri`, x + n(f(n(x))), and n before the output.
      qk_norm: normaliser of queries and keys, head by head, e.g. `norms.rms_norm()`.
      initializer: name of the kernel initialiser.

    Returns:
      A `Model` of tokens `[batch, length]`, whole numbers.

    Raises:
      UsageError: heads that do not divide the channels, no block, an unknown place or initialiser,
        or an impossible size.

    Source: Radford et al. 2019 (GPT-2), in the size that nanoGPT gives for a CPU (4 blocks of 128
      channels, context 64, batch 12); post-LN, Vaswani et al. 2017 (1706.03762); peri-LN, Kim et
      al. 2025 (2502.02732), without a normaliser of the embedding; QK-norm, Dehghani et al. 2023
      (2302.05442).

    Example:
      >>> from bnjax.models import norms
      >>> model = gpt(norm=norms.layer_norm(), width=0.125, depth=1)
      >>> tokens = jnp.zeros((2, 8), jnp.int32)
      >>> variables = model.init(jax.random.key(0), tokens)
      >>> model.apply(**variables, images=tokens, train=True)[0].shape
      (2, 8, 76)
    """
    return transformer(
        num_classes, width, depth, heads, norm, place, qk_norm, initializer, is_text=True
    )


def vit(
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    depth: int = 4,
    heads: int = 4,
    place: PlaceName = "pre",
    qk_norm: Norm = NONE,
    initializer: str = "glorot_uniform",
) -> Model:
    """A transformer on 4×4 patches of an image, of 2×2 pixels where it has 8×8.

    The output reads the mean over patches; there is no token of a class.

    Args:
      norm: as of `gpt`.
      num_classes: number of logits.
      width: factor on the 128 channels.
      depth: blocks.
      heads: of the attention; they divide the channels.
      place: as of `gpt`.
      qk_norm: as of `gpt`.
      initializer: name of the kernel initialiser.

    Returns:
      A `Model` of images whose sides are multiples of 4 pixels.

    Raises:
      UsageError: as `gpt`.

    Source: Dosovitskiy et al. 2021 (2010.11929); the mean over patches, its appendix D.3.
    """
    return transformer(
        num_classes, width, depth, heads, norm, place, qk_norm, initializer, is_text=False
    )


def transformer(
    num_classes: int,
    width: float,
    depth: int,
    heads: int,
    norm: Norm,
    place: PlaceName,
    qk_norm: Norm,
    initializer: str,
    *,
    is_text: bool,
) -> Model:
    """The model of checked sizes."""
    check_size(num_classes, width, dropout=0.0)
    channels = scale_channels(CHANNELS, width)
    if depth < 1:
        raise UsageError(f"depth {depth} must be 1 or more: give the number of blocks, e.g. 4")
    if heads < 1 or channels % heads:
        raise UsageError(
            f"heads={heads} must divide the {channels} channels of width {width:g}: give a divisor "
            "of them, e.g. 4 at width 1"
        )
    if place not in (known := get_args(PlaceName)):
        raise UsageError(f"place={place!r} is not known: choose from {', '.join(known)}")
    kernel_init = layers.initializer(initializer)
    module = Transformer(
        num_classes,
        channels,
        depth,
        heads,
        norm,
        place,
        qk_norm,
        kernel_init,
        is_text,
    )
    return Model(module)
