"""A loss of three layers that compiles at once, for probes, which take any loss."""

import jax
import jax.numpy as jnp

SHAPES = {"in": (3, 4), "body": (4, 4), "out": (4, 2)}
PERCEPTRON = {
    name: {"kernel": jax.random.normal(jax.random.key(seed), shape, jnp.float64)}
    for seed, (name, shape) in enumerate(sorted(SHAPES.items()))
}
INPUTS = jnp.sin(jnp.arange(12.0, dtype=jnp.float64)).reshape(4, 3)


def perceptron(params: dict) -> jax.Array:
    """Its loss on the inputs."""
    x = INPUTS
    for name in SHAPES:
        x = jnp.tanh(x @ params[name]["kernel"])
    return jnp.mean(jax.nn.logsumexp(x, axis=-1) - x[:, 0])
