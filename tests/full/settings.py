"""Changes each setting of JAX to each other value, and prints as JSON which ones change numbers.

One process: `python settings.py FOLDER`, in a folder of its own, for some settings write files.
With a cache of compiled programs a setting that leaves the program as it is costs a tracing alone.
"""

import enum
import json
import os
import sys

import jax
import jax.numpy as jnp


def numbers() -> list[str]:
    """Bits of what training and probes are made of."""
    leaves = jax.device_get(jax.tree.leaves(jax.jit(compute)()))
    return [f"{leaf.dtype} {leaf.tobytes().hex()}" for leaf in leaves]


def compute() -> list[jax.Array]:
    """Draws, products, reductions, functions, derivatives in one program."""
    key = jax.random.key(0)
    draws = jax.random.uniform(key, (1400,), minval=-1)
    images, kernel = draws[:432].reshape(4, 6, 6, 3), draws[432:576].reshape(3, 2, 3, 8)
    matrix = draws[576:1376].reshape(160, 5)

    def loss(kernel, matrix):
        channels = jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        channels = (channels - channels.mean((0, 1, 2))) * jax.lax.rsqrt(channels.var((0, 1, 2)))
        logits = jnp.tanh(jax.nn.sigmoid(channels).reshape(4, -1)) @ matrix
        mixed = jax.nn.softmax(logits) + jax.scipy.special.erfinv(0.9 * jnp.tanh(logits))
        return (mixed**2).mean() + jax.nn.logsumexp(logits)

    gradients = jax.value_and_grad(loss, (0, 1))(kernel, matrix)
    return [draws, jax.random.gumbel(key, (9,)), *jax.tree.leaves(gradients)]


def others(name: str, value: object) -> list[object]:
    """Values that a setting could have instead."""
    kind, _, more = jax.config.meta[name]
    if choices := more.get("enum_values"):
        return [choice for choice in choices if choice != value]
    if isinstance(value, enum.Enum):
        return [choice for choice in type(value) if choice != value]
    if kind is bool:
        return [choice for choice in (True, False) if choice != value]
    if kind in (int, float):
        return [kind(value or 0) + 1, kind(0)]
    return ["other"]


def main() -> None:
    """Try all of them, each put back before the next."""
    usual = numbers()
    changing, tried = [], 0
    for name, value in jax.config.values.items():
        for other in others(name, value):
            if name in changing:
                break
            tried += 1
            try:
                jax.config.update(name, other)
                jax.clear_caches()
                differs = numbers() != usual
            except BaseException:  # it is refused, or computes nothing
                differs = False
            jax.config.update(name, value)
            changing += [name] * differs
    jax.clear_caches()
    assert numbers() == usual
    print(json.dumps({"changing": changing, "tried": tried}))


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    main()
