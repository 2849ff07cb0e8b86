"""A model as pure functions, with batch statistics in and out."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.arithmetic.trees import EVERYTHING, Selection
from bnjax.errors import UsageError
from bnjax.models.layers import Convolution, Dense
from bnjax.types import BatchStats, Images, Logits, Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class Model:
    """A linen module seen as pure functions of explicit parameters and batch statistics.

    Wraps any module whose call is `module(images, train=bool) -> logits` and whose running
    statistics, if any, live in the collection `batch_stats`. Hashable, so it can be a static
    argument of `jax.jit`.

    Attributes:
      module: the linen module.
      compute_dtype: type that parameters and images are cast to before the network, e.g.
        `bfloat16`; empty for their own. Parameters, statistics and logits keep theirs.
      bias_init: initial value of the biases of weight layers, which stand beside a `kernel`; 0
        leaves them as the module draws them.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bnjax.models import norms, vgg11
      >>> model = vgg11(norm=norms.batch_norm(), num_classes=10, width=0.0625)
      >>> images = jnp.zeros((2, 32, 32, 3))
      >>> variables = model.init(jax.random.key(0), images)
      >>> logits, batch_stats = model.apply(**variables, images=images, train=True)
      >>> logits.shape
      (2, 10)
    """

    module: nn.Module
    compute_dtype: str = ""
    bias_init: float = 0.0

    @property
    def initialised(self) -> "Model":
        """The same network without its kernel_init and bias_init: its `init` gives zeros.

        Equal for networks that differ in these alone, so that they share compiled programs.
        """
        if "kernel_init" not in {field.name for field in dataclasses.fields(self.module)}:
            return dataclasses.replace(self, bias_init=0.0)
        module = self.module.clone(kernel_init=nn.initializers.zeros)  # type: ignore[call-arg]
        return dataclasses.replace(self, module=module, bias_init=0.0)

    @property
    def by_layer(self) -> Selection:
        """Parameters or statistics by layer, `split(params)`, and from layers, `merge(params, …)`.

        They are so already, but where a module scans over blocks: it then has a `by_layer` of its
        own, and a twin `unrolled` without scan.
        """
        return getattr(self.module, "by_layer", EVERYTHING)

    @property
    def unrolled(self) -> "Model":
        """The same network without scan, of the variables of `by_layer`.

        Blocks that draw random numbers draw others.
        """
        return Model(getattr(self.module, "unrolled", self.module))

    def init(self, key: PRNGKey, images: Images) -> dict[str, Any]:
        """Fresh parameters and statistics.

        Args:
          key: typed PRNG key. A layer's draw depends on the key and the layer's name alone, so
            two models that differ in the normaliser start from the same kernels.
          images: any batch `[batch, height, width, channels]`; only shape and dtype matter.

        Returns:
          `{"params": …, "batch_stats": …}`, plain dicts; `batch_stats` is `{}` where the model
          keeps none.
        """
        traced = isinstance(key, jax.core.Tracer) or isinstance(images, jax.core.Tracer)
        fast = jax.default_backend() == "cpu" and not traced
        variables = (initialise_fast if fast else initialise)(self.module, key, images)
        params = variables["params"]
        if self.bias_init:
            params = fill_biases(params, self.bias_init)
        return {"params": params, "batch_stats": variables.get("batch_stats", {})}

    def shapes(self, image_shape: tuple[int, ...]) -> dict[str, Any]:
        """What `init` would return for images of this shape; nothing is computed.

        Args:
          image_shape: of one image, `(height, width, channels)`; float32.

        Returns:
          `{"params": …, "batch_stats": …}` of `jax.ShapeDtypeStruct`.

        Raises:
          UsageError: a layer or normaliser cannot work with such images.
        """
        images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
        return jax.eval_shape(self.init, jax.random.key(0), images)

    def apply(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Images,
        *,
        train: bool,
        key: PRNGKey | None = None,
    ) -> tuple[Logits, BatchStats]:
        """Logits, and the running statistics after this batch.

        Args:
          params: as `init` returns them.
          batch_stats: running statistics, as `init` or the last `apply` returned them.
          images: standardised, `[batch, height, width, channels]`.
          train: normalise with the statistics of `images` and advance the running ones; else
            normalise with the running ones and return them as they are.
          key: typed PRNG key of the step, for models that draw random numbers when training.

        Returns:
          `(logits [batch, num_classes], batch_stats)`.
        """
        wide = images.dtype
        params, images = self._cast((params, images))
        variables = {"params": params, "batch_stats": batch_stats}
        if not train:
            logits: Any = self.module.apply(variables, images, train=False)
            return self._widen(logits, wide), batch_stats
        trained: Any = self.module.apply(
            variables, images, train=True, mutable=["batch_stats"], rngs=streams(key)
        )
        logits, updated = trained
        return self._widen(logits, wide), updated.get("batch_stats", {})

    def preactivations(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Images,
        *,
        train: bool = True,
        key: PRNGKey | None = None,
    ) -> dict[str, Array]:
        """The input of each layer's non-linearity, normalised where the layer has a normaliser.

        Layers are intercepted from outside; the module needs no change.

        Args:
          params: as `init` returns them.
          batch_stats: running statistics; left as they are.
          images: standardised, `[batch, height, width, channels]`.
          train: normalise with the statistics of `images`, else with the running ones.
          key: as in `apply`.

        Returns:
          Activations `[batch, …, features]` by the layer's name (`conv3`), in the order of use.
        """
        capture = {"capture_intermediates": is_weight_layer}
        layers = self._collect(
            "intermediates", params, batch_stats, images, train=train, key=key, **capture
        )
        layers = self.by_layer.split(layers)
        return {name: outputs["__call__"][0] for name, outputs in layers.items()}

    def moments(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Images,
        *,
        key: PRNGKey | None = None,
    ) -> BatchStats:
        """The statistics of this very batch, in the structure of `batch_stats`."""
        found = self._collect("moments", params, batch_stats, images, train=True, key=key)
        expected: Any = jax.tree.structure(batch_stats)
        if expected != jax.tree.structure(found):
            missing = sorted({*trees.leaf_names(batch_stats)} ^ {*trees.leaf_names(found)})
            raise UsageError(
                f"{', '.join(missing)[:200]}: the batch's own are not stored in the collection "
                "'moments' beside the running ones, which statistics='frozen' and 'recalibrated' "
                "need: use bnjax.norms.batch_norm, or in a normaliser of your own "
                "bnjax.models.norms.norm.advance; or statistics='batch'"
            )
        return found

    def _collect(
        self,
        collection: str,
        params: Params,
        batch_stats: BatchStats,
        images: Images,
        *,
        train: bool,
        key: PRNGKey | None,
        **options: Any,
    ) -> Any:
        params, images = self._cast((params, images))
        variables, mutable = (
            {"params": params, "batch_stats": batch_stats},
            ["batch_stats", collection],
        )
        _, updated = self.module.apply(
            variables, images, train=train, mutable=mutable, rngs=streams(key), **options
        )
        return updated.get(collection, {})

    def _cast(self, arrays: Any) -> Any:
        return optax.tree.cast(arrays, self.compute_dtype) if self.compute_dtype else arrays

    def _widen(self, logits: Any, dtype: jnp.dtype) -> Any:
        return logits.astype(dtype) if self.compute_dtype else logits


def fill_biases(params: Params, value: float) -> Params:
    """Parameters with one value in the biases of weight layers, those that have a kernel.

    Example:
      >>> layer = {"kernel": jnp.ones(1), "bias": jnp.zeros(1), "norm": {"bias": jnp.zeros(1)}}
      >>> found = fill_biases({"conv1": layer}, 0.5)["conv1"]
      >>> found["bias"].tolist(), found["norm"]["bias"].tolist()
      ([0.5], [0.0])
    """
    known = describe(params)
    layers = {name.rpartition("/")[0] for name, one in known.items() if one.kind == "kernel"}
    biases = {f"{layer}/bias" for layer in layers}

    def fill(path: tuple, leaf: Array) -> Array:
        return jnp.full_like(leaf, value) if trees.path_name(path) in biases else leaf

    return jax.tree_util.tree_map_with_path(fill, params)


def draw_variables(module: nn.Module, key: PRNGKey, images: Images) -> dict[str, Any]:
    """The variables of a module before the first step."""
    variables: Any = module.init(key, images, train=False)
    return dict(variables)


# Compiled once for all equal modules. It runs once, so on a CPU it is compiled without
# optimisation, in a tenth of the time; JAX takes compiler options only where nothing is traced.
initialise = jax.jit(draw_variables, static_argnums=0)
initialise_fast = jax.jit(
    draw_variables, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)


def layer_names(model: Model, image_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The weight layers of a model in the order of their use; nothing is computed.

    Args:
      model: a `Model`.
      image_shape: of one image, `(height, width, channels)`.

    Returns:
      Names of layers, keys of the parameters.

    Example:
      >>> from bnjax.models import mlp, norms
      >>> layer_names(mlp(norm=norms.none()), (2, 2, 1))
      ('dense1', 'dense2', 'dense3', 'output')
    """
    found: list[str] = []

    def record(params: Params, batch_stats: BatchStats) -> None:
        zeros = jnp.zeros((2, *image_shape), jnp.float32)
        found.extend(model.preactivations(params, batch_stats, zeros, key=jax.random.key(0)))

    jax.eval_shape(record, **model.shapes(image_shape))
    return tuple(found)


def is_weight_layer(module: nn.Module, method: str) -> bool:
    """Whether a call is that of a layer with a kernel."""
    return method == "__call__" and isinstance(module, (Convolution, Dense, nn.Conv, nn.Dense))


def streams(key: PRNGKey | None) -> dict[str, PRNGKey] | None:
    """The random streams of a step, from its key."""
    return None if key is None else {"noise": key, "dropout": jax.random.fold_in(key, 1)}
