"""Residual networks for CIFAR of any depth (He et al. 2016, §4.2).

Deep networks repeat the blocks of a stage as a scan over stacked parameters, so that they compile
as fast as shallow ones. ReLUs can count their zeros.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import Selection
from bnjax.errors import UsageError
from bnjax.models import layers
from bnjax.models.layers import Convolution, Dense, check_size, drop, scale_channels
from bnjax.models.model import Model
from bnjax.models.norms import Norm, none, with_exceptions
from bnjax.types import BatchStats, Images, Logits, Params, PyTree, Scalar

ZEROS = "zeros"  # the collection of counts
COLLECTIONS = ("params", "batch_stats", "moments", "intermediates", ZEROS)
STAGE_CHANNELS = (16, 32, 64)
DEEPEST_UNROLLED = 26


def rectify(module: nn.Module, name: str, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """ReLU; its numbers of zeros and of outputs are stored if a caller asks for `ZEROS`."""
    y = nn.relu(x)
    if module.is_mutable_collection(ZEROS) and not module.is_initializing():
        counts = jnp.stack([jnp.sum(y == 0, dtype=y.dtype), jnp.asarray(y.size, y.dtype)])
        module.put_variable(ZEROS, name, counts)
    return y


def zero_share(model: Model, params: Params, batch_stats: BatchStats, images: Images) -> Scalar:
    """The share of zeros among the outputs of all ReLUs of a network, with running statistics."""
    variables = {"params": params, "batch_stats": batch_stats}
    _, counted = model.module.apply(variables, images, train=False, mutable=[ZEROS])
    counts = jax.tree.leaves(counted.get(ZEROS, {}))
    if not counts:
        name = type(model.module).__name__
        raise UsageError(f"the ReLUs of {name} do not count their zeros: use resnet")
    totals = sum(leaf.reshape(-1, 2).sum(axis=0) for leaf in counts)
    return totals[0] / totals[1]


class Blocks(nn.Module):
    """Base class of modules that contain residual blocks."""

    norm: Norm
    kernel_init: Callable[..., Any]

    def convolution(self, name: str, features: int, **options: Any) -> Convolution:
        """A convolution, without bias if a normaliser or noise follows it."""
        options |= {"use_bias": self.norm.for_layer(name).build is None, "name": name}
        return Convolution(features, self.norm, self.kernel_init, **options)

    def block(
        self, x: Array, features: int, names: tuple[str, str, str], *, stride: int, train: bool
    ) -> Array:
        """Two convolutions beside a shortcut, which is a 1×1 convolution where shapes change."""
        first, second, shortcut = names
        strides = (stride, stride)
        y = self.convolution(first, features, strides=strides)(x, train=train)
        y = rectify(self, first, y)
        y = self.convolution(second, features)(y, train=train)
        if stride != 1 or x.shape[-1] != features:
            options: dict[str, Any] = {"kernel_size": (1, 1), "strides": strides}
            x = self.convolution(shortcut, features, **options)(x, train=train)
        return rectify(self, second, x + y)


class Repeated(Blocks):
    """One block as the body of a scan; its convolutions are named `first` and `second`."""

    train: bool

    @nn.compact
    def __call__(self, x: Images, _: None) -> tuple[Images, None]:
        """Images to images of the same shape."""
        names = ("first", "second", "")
        return self.block(x, x.shape[-1], names, stride=1, train=self.train), None


class ResNet(Blocks):
    """Three stages of blocks, the mean over pixels, and a linear classifier named `output`."""

    blocks: int  # in each stage
    channels: tuple[int, ...]  # of each stage
    num_classes: int
    dropout: float
    scan: bool

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Logits:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        x = self.convolution("conv1", self.channels[0])(images, train=train)
        x = rectify(self, "conv1", x)
        for stage, features in enumerate(self.channels, start=1):
            # The first block of a stage may change the shape, so it is never part of a scan.
            single = self.blocks if not self.scan else int(stage > 1)
            for position in range(single):
                stride = 2 if stage > 1 and position == 0 else 1
                names = block_names(stage, position, self.blocks)
                x = self.block(x, features, names, stride=stride, train=train)
            if count := self.blocks - single:
                scanned = nn.scan(
                    Repeated,
                    variable_axes=dict.fromkeys(COLLECTIONS, 0),
                    split_rngs={"params": True, "noise": True},
                    length=count,
                )
                stacked = scanned(self.norm, self.kernel_init, train, name=f"stage{stage}")
                x, _ = stacked(x, None)
        x = drop(jnp.mean(x, axis=(1, 2)), self.dropout, train=train)
        return Dense(self.num_classes, none(), self.kernel_init, name="output")(x, train=train)

    @property
    def by_layer(self) -> Selection:
        """Variables by layer in the order of use, with the convolutions of scanned blocks apart."""

        def split(tree: PyTree) -> PyTree:
            layers = unstack(tree, self.blocks)

            def place(name: str) -> tuple[int, int]:
                number = int("".join(filter(str.isdigit, name)) or 0)
                if name.startswith("conv"):
                    return number // 2, number % 2
                return (number, 2) if name.startswith("shortcut") else (len(layers), 0)

            return {name: layers[name] for name in sorted(layers, key=place)}

        return Selection(split, lambda tree, layers: stack(layers, tree, self.blocks))

    @property
    def unrolled(self) -> "ResNet":
        """The same network without a scan; its variables are those of this one by layer."""
        if not self.scan:
            return self
        inside = {name: name for name in convolution_names(6 * self.blocks + 2)}
        for stage in range(1, 1 + len(self.channels)):
            for position in range(int(stage > 1), self.blocks):
                first, second, _ = block_names(stage, position, self.blocks)
                inside |= {first: "first", second: "second"}
        apart = dict(self.norm.exceptions)
        exceptions = {name: apart[own] for name, own in inside.items() if own in apart}
        return self.clone(scan=False, norm=with_exceptions(self.norm, exceptions))


def block_names(stage: int, position: int, blocks: int) -> tuple[str, str, str]:
    """The two convolutions and the shortcut of a block; `conv1` stands before all blocks."""
    block = (stage - 1) * blocks + position + 1
    return f"conv{2 * block}", f"conv{2 * block + 1}", f"shortcut{block}"


def convolution_names(depth: int) -> tuple[str, ...]:
    """The names of all convolutions of a network without scan: 3×3 ones, then shortcuts.

    Example:
      >>> convolution_names(8)
      ('conv1', 'conv2', 'conv3', 'conv4', 'conv5', 'conv6', 'conv7', 'shortcut2', 'shortcut3')
    """
    check_depth(depth)
    blocks = (depth - 2) // 6
    shortcuts = (block_names(stage, 0, blocks)[2] for stage in (2, 3))
    return (*(f"conv{place}" for place in range(1, depth)), *shortcuts)


def unstack(tree: PyTree, blocks: int) -> PyTree:
    """Parameters or statistics of a scanned network as those of the same network without scan."""
    layers = {name: layer for name, layer in tree.items() if not name.startswith("stage")}
    for stage in (name for name in tree if name.startswith("stage")):
        for row, names in enumerate(scanned_names(stage, tree, blocks)):
            for inner, layer in tree[stage].items():
                layers[names[inner]] = jax.tree.map(lambda leaf, row=row: leaf[row], layer)
    return layers


def stack(layers: PyTree, tree: PyTree, blocks: int) -> PyTree:
    """What `unstack(tree, blocks)` took apart, with the values of `layers`."""
    whole = {name: layers[name] for name in tree if name in layers}
    for stage in (name for name in tree if name.startswith("stage")):
        rows = scanned_names(stage, tree, blocks)
        whole[stage] = {
            inner: trees.stack([layers[names[inner]] for names in rows]) for inner in tree[stage]
        }
    return whole


def scanned_names(stage: str, tree: PyTree, blocks: int) -> list[dict[str, str]]:
    """The names of both convolutions of each scanned block of a stage."""
    number, count = int(stage.removeprefix("stage")), len(jax.tree.leaves(tree[stage])[0])
    every = (block_names(number, blocks - count + row, blocks) for row in range(count))
    return [{"first": first, "second": second} for first, second, _ in every]


def resnet(
    depth: int = 20,
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    initializer: str = "he_normal",
    dropout: float = 0.0,
    scan: bool | None = None,
) -> Model:
    """A residual network for 32×32 images, with any normaliser behind every convolution.

    Args:
      depth: 6D + 2 weight layers, D blocks of two in each of three stages: 8, 14, 20, ….
      norm: normaliser, e.g. `bnjax.norms.batch_norm()`. Where it normalises activations the
        convolutions have no bias.
      num_classes: number of logits.
      width: factor on the channels 16, 32, 64.
      initializer: name of the kernel initialiser, see `bnjax.models.layers.initializer`.
      dropout: share of the features that are dropped before the classifier, when training.
      scan: compile one block of a stage and repeat it; by default for more than 26 layers. The
        parameters of the blocks of `stage1` … are then stacked, see `unstack`, and exceptions of
        the normaliser use the names `first` and `second` within a block.

    Returns:
      A `Model`; its layers are `conv1`, `conv2` …, `shortcut<block>`, `output` whatever the
      normaliser. Shortcuts that change shapes are 1×1 convolutions with a normaliser, as in
      Frankle et al. 2020.

    Raises:
      UsageError: a depth that is not 6D + 2, unknown initialiser, an impossible size or share.

    Source: He et al. 2016 (1512.03385), §4.2.
    """
    check_depth(depth)
    check_size(num_classes, width, dropout)
    kernel_init = layers.initializer(initializer)
    channels = tuple(scale_channels(full, width) for full in STAGE_CHANNELS)
    scan = depth > DEEPEST_UNROLLED if scan is None else scan
    return Model(ResNet(norm, kernel_init, (depth - 2) // 6, channels, num_classes, dropout, scan))


def check_depth(depth: int) -> None:
    """Refuse a depth that is not 6D + 2, naming the nearest that are."""
    if depth < 8 or (depth - 2) % 6:
        below = max(8, depth - (depth - 2) % 6)
        nearest = sorted({below, max(8, below + 6 * (depth > 8))})
        raise UsageError(
            f"depth {depth} is not one of a CIFAR ResNet, 6·D + 2: the nearest legal "
            f"{'are' if len(nearest) > 1 else 'is'} {' and '.join(map(str, nearest))}"
        )
