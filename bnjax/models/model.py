"""A model as pure functions, with batch statistics in and out."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError, ModifyScopeVariableError
from jax.typing import DTypeLike
from jaxtyping import Array

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.arithmetic.trees import EVERYTHING, Selection
from bnjax.errors import UsageError
from bnjax.models.calls import NO_KEY, Output, call_of, logits_of
from bnjax.models.layers import Convolution, Dense
from bnjax.types import BatchStats, Inputs, Logits, Params, PRNGKey


@dataclasses.dataclass(frozen=True)
class Model:
    """A linen module seen as pure functions of explicit parameters and batch statistics.

    Wraps any module whose call takes one batch of inputs and whose running statistics, if any, live
    in the collection `batch_stats`. Its training flag is found from the signature of its call:
    `train`, `training`, `is_training`, or, inverted, `deterministic`, `use_running_average`; or it
    has none. Hashable, so it can be a static argument of `jax.jit`.

    Attributes:
      module: the linen module.
      compute_dtype: type that parameters and images are cast to before the network, e.g.
        `bfloat16`; empty for their own. Parameters, statistics and logits keep theirs.
      bias_init: initial value of the biases of weight layers, which stand beside a `kernel`; 0
        leaves them as the module draws them.
      output: where a module returns a dict or a tuple, the key, index or path of its logits; by
        default the entry named `logits`, or the only one that is floating point, `[batch, …,
        classes]`.

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
    output: Output = None

    def __hash__(self) -> int:
        """Modules with a list among their fields, such as `nn.Sequential`, hash by identity."""
        try:
            own = hash(self.module)
        except TypeError:
            own = id(self.module)
        return hash((own, self.compute_dtype, self.bias_init, self.output))

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
        return Model(getattr(self.module, "unrolled", self.module), output=self.output)

    def init(self, key: PRNGKey, images: Inputs) -> dict[str, Any]:
        """Fresh parameters and statistics.

        Args:
          key: typed PRNG key. A layer's draw depends on the key and the layer's name alone, so
            two models that differ in the normaliser start from the same kernels.
          images: any batch, such as `[batch, height, width, channels]`, or tokens
            `[batch, length]`; only shape and dtype matter.

        Returns:
          `{"params": …, "batch_stats": …}`, plain dicts; `batch_stats` is `{}` where the model
          keeps none.
        """
        traced = isinstance(key, jax.core.Tracer) or isinstance(images, jax.core.Tracer)
        fast = jax.default_backend() == "cpu" and not traced
        variables = (initialise_fast if fast else initialise)(Model(self.module), key, images)
        params = variables.get("params", {})
        if self.bias_init:
            params = fill_biases(params, self.bias_init)
        return {"params": params, "batch_stats": variables.get("batch_stats", {})}

    def shapes(
        self, image_shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
    ) -> dict[str, Any]:
        """What `init` would return for images of this shape; nothing is computed.

        Args:
          image_shape: of one image, `(height, width, channels)`, or of one row of tokens.
          dtype: of the images.

        Returns:
          `{"params": …, "batch_stats": …}` of `jax.ShapeDtypeStruct`.

        Raises:
          UsageError: a layer or normaliser cannot work with such images.
        """
        images = jax.ShapeDtypeStruct((2, *image_shape), dtype)
        return jax.eval_shape(self.init, jax.random.key(0), images)

    def count_outputs(self, image_shape: tuple[int, ...], dtype: DTypeLike, train: bool) -> int:
        """The number of logits of an image; nothing is computed."""
        return count_logits(self.initialised, image_shape, jnp.dtype(dtype), train)

    def apply(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        train: bool,
        key: PRNGKey | None = None,
    ) -> tuple[Logits, BatchStats]:
        """Logits, and the running statistics after this batch.

        Args:
          params: as `init` returns them.
          batch_stats: running statistics, as `init` or the last `apply` returned them.
          images: standardised, `[batch, height, width, channels]`; or tokens `[batch, length]`.
          train: normalise with the statistics of `images` and advance the running ones; else
            normalise with the running ones and return them as they are.
          key: typed PRNG key of the step, for models that draw random numbers when training, from
            the streams `dropout` and `noise`.

        Returns:
          `(logits [batch, num_classes], batch_stats)`; logits of tokens are
          `[batch, length, num_classes]`.

        Raises:
          UsageError: the module has a required argument that is no known training flag, returns
            several arrays that may be its logits, draws random numbers without a `key`, or
            normalises with other statistics than `train` says and has no flag.
        """
        mutable = ["batch_stats"] if train else []
        outputs, updated = self._run(params, batch_stats, images, train, key, mutable)
        logits = logits_of(outputs, images.shape[0], self.output)
        if self.compute_dtype:
            wide = jnp.issubdtype(images.dtype, jnp.floating)
            logits = logits.astype(images.dtype if wide else jnp.float32)
        return logits, updated.get("batch_stats", {}) if train else batch_stats

    def preactivations(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        train: bool = True,
        key: PRNGKey | None = None,
    ) -> dict[str, Array]:
        """The input of each layer's non-linearity, normalised where the layer has a normaliser.

        Layers are intercepted from outside; the module needs no change.

        Args:
          params: as `init` returns them.
          batch_stats: running statistics; left as they are.
          images: standardised, `[batch, height, width, channels]`; or tokens `[batch, length]`.
          train: normalise with the statistics of `images`, else with the running ones.
          key: as in `apply`.

        Returns:
          Activations `[batch, …, features]` by the layer's name (`conv3`, or a path `block/conv3`),
          in the order of use; of a layer that is used several times, those of its first use.
        """
        used: dict[str, None] = {}

        def is_layer(module: nn.Module, method: str) -> bool:
            found = is_weight_layer(module, method)
            if found:
                used["/".join(module.path)] = None
            return found

        mutable = ["batch_stats", "intermediates"]
        _, updated = self._run(
            params, batch_stats, images, train, key, mutable, capture_intermediates=is_layer
        )
        captured = updated.get("intermediates", {})
        layers = self.by_layer.split(captured)
        outputs = trees.named_leaves(layers)
        # Where a module scans over blocks, `by_layer` has their layers by names of their own.
        names = used if layers is captured else layers
        return {name: outputs[of] for name in names if (of := f"{name}/__call__/0") in outputs}

    def moments(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        key: PRNGKey | None = None,
    ) -> BatchStats:
        """The statistics of this very batch, in the structure of `batch_stats`.

        `nn.BatchNorm` runs with momentum 0, so that nothing of the running ones is left; its
        variance is the biased one. Other normalisers store the batch's own in the collection
        `moments`, see `norms.norm.advance`.
        """
        known: set[str] = set()

        def forget(call: Callable[..., Any], inputs: Any, options: Any, context: Any) -> Any:
            module = context.module
            if not isinstance(module, nn.BatchNorm) or context.method_name != "__call__":
                return call(*inputs, **options)
            known.update("/".join((*module.path, name)) for name in ("mean", "var"))
            if not module.momentum:
                return call(*inputs, **options)
            alone: Any = module.clone(parent=None, momentum=0.0)
            mutable = ["batch_stats"]
            output, own = alone.apply(module.variables, *inputs, **options, mutable=mutable)
            for name, value in own["batch_stats"].items():
                module.put_variable("batch_stats", name, value)
            return output

        with nn.intercept_methods(forget):
            _, updated = self._run(
                params, batch_stats, images, True, key, ["batch_stats", "moments"]
            )
        stored = trees.named_leaves(updated.get("moments", {}))
        if missing := sorted({*trees.leaf_names(batch_stats)} - known - stored.keys()):
            raise UsageError(
                f"{', '.join(missing)[:200]}: the batch's own are not stored in the collection "
                "'moments' beside the running ones, which statistics='frozen' and 'recalibrated' "
                "need: use flax.linen.BatchNorm or bnjax.norms.batch_norm, or in a normaliser of "
                "your own bnjax.models.norms.norm.advance; or statistics='batch'"
            )
        return jax.tree_util.tree_map_with_path(
            lambda path, value: stored.get(trees.path_name(path), value),
            updated.get("batch_stats", {}),
        )

    def _run(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        train: bool,
        key: PRNGKey | None,
        mutable: list[str],
        **options: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """The outputs of the module, and the collections that it may write."""
        if self.compute_dtype:
            params, images = trees.cast_floating((params, images), self.compute_dtype)
        variables = {"params": params, "batch_stats": batch_stats}
        args, kwargs, has_flag = call_of(self.module.__call__, (images,), train)
        with told_by_flax(key):
            outputs, updated = self.module.apply(
                variables, *args, **kwargs, mutable=mutable, rngs=streams(key), **options
            )
        if train and not has_flag:
            check_taken(batch_stats, updated.get("batch_stats", {}))
        return outputs, dict(updated)


@functools.lru_cache(maxsize=64)
def count_logits(model: Model, image_shape: tuple[int, ...], dtype: jnp.dtype, train: bool) -> int:
    def logits(params: Params, batch_stats: BatchStats, images: Array) -> Logits:
        key = jax.random.key(0)
        return model.apply(params, batch_stats, images, train=train, key=key)[0]

    images = jax.ShapeDtypeStruct((2, *image_shape), dtype)
    shapes = model.shapes(image_shape, dtype)
    return int(jax.eval_shape(logits, **shapes, images=images).shape[-1])


@contextlib.contextmanager
def told_by_flax(key: PRNGKey | None) -> Iterator[None]:
    """Errors of Flax that a user of a `Model` can mend, said in the words of a `Model`."""
    try:
        yield
    except InvalidRngError as error:
        known = f"{error}: bnjax has the random streams dropout and noise: use one of these"
        raise UsageError(NO_KEY if key is None else known) from error
    except ModifyScopeVariableError as error:
        if "batch_stats" not in str(error):
            raise
        raise UsageError(
            "a normaliser of the model takes the statistics of every batch, so that the running "
            "ones are never used: pass the training flag of its __call__, e.g. train, on to it"
        ) from error
    except ValueError as error:  # of nn.merge_param
        if "must be passed to the constructor or at call time" not in str(error):
            raise
        raise UsageError(
            f"the model has no training flag that a layer of it needs ({error}): give its __call__ "
            "an argument train, and pass it on to the layer"
        ) from error


def check_taken(batch_stats: BatchStats, updated: BatchStats) -> None:
    """Refuse a module without training flag whose running statistics stay in training."""
    pairs = list(zip(*map(jax.tree.leaves, (batch_stats, updated)), strict=False))
    if pairs and all(before is after for before, after in pairs):
        raise UsageError(
            "the model has no training flag and normalises with running statistics always: give "
            "its __call__ an argument train, or use statistics='running'"
        )


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


def draw_variables(model: Model, key: PRNGKey, images: Inputs) -> dict[str, Any]:
    """The variables of a module before the first step."""
    args, kwargs, _ = call_of(model.module.__call__, (images,), False)
    with told_by_flax(key):
        variables: Any = model.module.init(key, *args, **kwargs)
    return dict(variables)


# Compiled once for all equal models. It runs once, so on a CPU it is compiled without
# optimisation, in a tenth of the time; JAX takes compiler options only where nothing is traced.
initialise = jax.jit(draw_variables, static_argnums=0)
initialise_fast = jax.jit(
    draw_variables, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0}
)


def layer_names(
    model: Model, image_shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> tuple[str, ...]:
    """The weight layers of a model in the order of their use; nothing is computed.

    Args:
      model: a `Model`.
      image_shape: of one image, `(height, width, channels)`, or of one row of tokens.
      dtype: of the images.

    Returns:
      Names of layers, keys of the parameters or paths such as `block/conv1`.

    Example:
      >>> from bnjax.models import mlp, norms
      >>> layer_names(mlp(norm=norms.none()), (2, 2, 1))
      ('dense1', 'dense2', 'dense3', 'output')
    """
    found: list[str] = []

    def record(params: Params, batch_stats: BatchStats) -> None:
        zeros = jnp.zeros((2, *image_shape), dtype)
        found.extend(model.preactivations(params, batch_stats, zeros, key=jax.random.key(0)))

    jax.eval_shape(record, **model.shapes(image_shape, dtype))
    return tuple(found)


# Attention is the layers inside it: query, key, value and out.
WEIGHT_LAYERS = (
    Convolution,
    Dense,
    nn.Conv,
    nn.ConvLocal,
    nn.ConvTranspose,
    nn.Dense,
    nn.DenseGeneral,
    nn.Einsum,
    nn.Embed,
)


def is_weight_layer(module: nn.Module, method: str) -> bool:
    """Whether a call is that of a layer with a kernel, or with a table of vectors."""
    return method == "__call__" and isinstance(module, WEIGHT_LAYERS)


def streams(key: PRNGKey | None) -> dict[str, PRNGKey] | None:
    """The random streams of a step, from its key."""
    return None if key is None else {"noise": key, "dropout": jax.random.fold_in(key, 1)}
