"""Arrays of examples spread over devices."""

import jax

from bnjax.types import PyTree


def spread_examples(examples: PyTree, mesh: jax.sharding.Mesh | None) -> PyTree:
    """Have the compiler divide arrays of examples over the axis `data` of a mesh.

    Sums and means over examples stay those of all of them: the compiler adds what the devices have.

    Args:
      examples: pytree of arrays `[examples, …]`; under `jax.jit`.
      mesh: None leaves them as they are.

    Returns:
      The same arrays, to the last bit.
    """
    if mesh is None or mesh.shape["data"] == 1:
        return examples
    spec = jax.sharding.PartitionSpec("data")
    sharding = jax.sharding.NamedSharding(mesh, spec)
    return jax.lax.with_sharding_constraint(examples, sharding)
