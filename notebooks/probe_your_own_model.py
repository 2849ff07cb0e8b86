# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Probe your own model
#
# A probe of bnjax takes `loss(params, *batch) -> scalar` and a pytree of arrays, and nothing else:
# no class to inherit from, no wrapper. Here are four models of the same size, in `flax.linen`,
# `flax.nnx`, Equinox and bare JAX, each with BatchNorm where its library has one, followed along
# training by the same ten lines. (For Haiku see `docs/own_loop.md`.)
#
# Install bnjax from its checkout, `pip install -e ".[notebooks]"`, or as in [the first
# notebook](figure_in_five_cells.ipynb). All cells run within two minutes.

# %%
import jax
import jax.numpy as jnp
import optax
from IPython.display import display

import bnjax
from bnjax import probes

# %% tags=["parameters"]
examples = 256
width = 64
steps = 200
lr = 0.1

# %% [markdown]
# Any data; here two interleaved spirals, which a linear model cannot tell apart.

# %%
angle = jnp.linspace(0.3, 3.0, examples // 2) * jnp.pi
spiral = jnp.stack([angle * jnp.cos(angle), angle * jnp.sin(angle)], axis=1) / 3
noise = 0.05 * jax.random.normal(jax.random.key(0), (2 * len(angle), 2))
inputs = jnp.concatenate([spiral, -spiral]) + noise
labels = jnp.repeat(jnp.arange(2), len(angle))


def cost(logits, labels):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


# %% [markdown]
# ## One `loss(params, inputs, labels)` for each library
#
# **linen**: variables are dicts. Training mode, and the new statistics are dropped, so the loss
# is a pure function and a probe moves nothing.

# %%
import flax.linen as nn


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.Dense(width, use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=False, use_fast_variance=False)(x)
            x = nn.relu(x)
        return nn.Dense(2)(x)


linen = Linen()
variables = linen.init(jax.random.key(1), inputs)


def linen_loss(params, inputs, labels):
    everything = {"params": params, "batch_stats": variables["batch_stats"]}
    logits, _ = linen.apply(everything, inputs, mutable=["batch_stats"])
    return cost(logits, labels)


# %% [markdown]
# **nnx**: the module is split; what is not a parameter is copied inside, since a call of
# BatchNorm writes its running averages.

# %%
from flax import nnx

random = nnx.Rngs(1)
layers = []
for size in (2, width):
    layers += [nnx.Linear(size, width, use_bias=False, rngs=random)]
    layers += [nnx.BatchNorm(width, use_fast_variance=False, rngs=random), nnx.relu]
module = nnx.Sequential(*layers, nnx.Linear(width, 2, rngs=random))
module.train()
graph, nnx_params, rest = nnx.split(module, nnx.Param, ...)


def nnx_loss(params, inputs, labels):
    fresh = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))
    return cost(fresh(inputs), labels)


# %% [markdown]
# **Equinox**: the module is a pytree; its arrays are the parameters. (Here LayerNorm: it needs
# no state.)

# %%
import equinox as eqx

keys = jax.random.split(jax.random.key(1), 3)
net = eqx.nn.Sequential(
    [
        eqx.nn.Linear(2, width, key=keys[0]),
        eqx.nn.LayerNorm(width),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Linear(width, width, key=keys[1]),
        eqx.nn.LayerNorm(width),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Linear(width, 2, key=keys[2]),
    ]
)
equinox_params, static = eqx.partition(net, eqx.is_inexact_array)


def equinox_loss(params, inputs, labels):
    return cost(jax.vmap(eqx.combine(params, static))(inputs), labels)


# %% [markdown]
# **Bare JAX**: a dict and a function.

# %%
sizes = (2, width, width, 2)
bare_params = {
    f"dense{i}": {
        "kernel": jax.random.normal(key, (fan_in, fan_out)) * (2 / fan_in) ** 0.5,
        "bias": jnp.zeros(fan_out),
    }
    for i, (key, fan_in, fan_out) in enumerate(zip(keys, sizes, sizes[1:]), start=1)
}


def bare_loss(params, inputs, labels):
    x = inputs
    for i in (1, 2):
        x = jax.nn.relu(x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"])
    return cost(x @ params["dense3"]["kernel"] + params["dense3"]["bias"], labels)


models = {
    "linen, BatchNorm": (linen_loss, variables["params"]),
    "nnx, BatchNorm": (nnx_loss, nnx_params),
    "Equinox, LayerNorm": (equinox_loss, equinox_params),
    "bare JAX, none": (bare_loss, bare_params),
}

# %% [markdown]
# ## The same ten lines on all
#
# Losses and gradients along the gradient, at η = lr · {½, 1, 2, 4}, at twenty steps of plain
# gradient descent. The probe is compiled at its first call: the batch is an argument.

# %%
step_sizes = lr * jnp.array([0.5, 1.0, 2.0, 4.0])


def follow(loss, params):
    """Lines by training step, and the trained parameters."""
    probe = probes.Probe(loss, step_sizes)
    lines = {}
    for step in range(steps):
        value, gradient = probe.gradient(params, inputs, labels)
        if step % max(1, steps // 20) == 0:
            lines[step] = probe(params, inputs, labels, centre=(value, gradient))
        params = jax.tree.map(lambda p, g: p - lr * g, params, gradient)
    return lines, params


lines, trained = {}, {}
for name, (loss, params) in models.items():
    lines[name], trained[name] = follow(loss, params)
print(lines["bare JAX, none"][0])

# %% [markdown]
# `to_xarray` makes one `xarray.Dataset` of all lines, with the axes `norm` (the names), `step` and
# `step_size`; labels and units are attributes.

# %%
results = bnjax.to_xarray(lines)
results["loss"].isel(step=[0, -1]).to_pandas().round(3)

# %% [markdown]
# ## The Hessian and the shift of one of them
#
# The largest eigenvalues, with the residuals that say how far they have converged. Full-batch
# gradient descent tends to bring the first one to 2/lr.


# %%
@jax.jit
def spectrum(params, key):
    def loss(params):
        return bare_loss(params, inputs, labels)

    return probes.spectrum(loss, params, key, lanczos_steps=20, top=5)


display(spectrum(trained["bare JAX, none"], jax.random.key(2)).plot(lr=lr))

# %% [markdown]
# `probes.shift` compares the gradient of each layer before and after the layers below took a step:
# their cosine is 1 where nothing shifts. A layer is an entry of `params`, or an element of a list;
# the loss's own equations tell in which order it uses them.

# %%
from functools import partial


@partial(jax.jit, static_argnums=0)
def shift(loss, params):
    gradient = jax.grad(loss)(params, inputs, labels)
    next_params = jax.tree.map(lambda p, g: p - lr * g, params, gradient)
    return probes.shift(lambda p: loss(p, inputs, labels), params, next_params)


print("linen:", shift(linen_loss, variables["params"]))
print("Equinox:", shift(equinox_loss, equinox_params))
print("bare JAX:", shift(bare_loss, bare_params))

# %% [markdown]
# ## Be careful
#
# * **One fixed batch** inside `loss`: with a new batch at each call a difference of gradients is
#   noise.
# * **Statistics**: in training mode BatchNorm normalises with the batch's own at every probed
#   point; with running averages it is another landscape. Say which.
# * **No randomness**: dropout inside `loss` needs one fixed key.
# * **float32 products** on GPUs and TPUs are rounded by default; probes raise the precision by
#   themselves.

# %% [markdown]
# ## The picture, and how to read it
#
# Two of them, as the studies of bnjax draw a landscape; names of normalisers have their colours.
# `.save(folder)` writes PNG, PDF and SVG, with the numbers as CSV.

# %%
both = {"none": lines["bare JAX, none"], "batch": lines["linen, BatchNorm"]}
display(bnjax.plot(both, lr=lr))

# %% [markdown]
# * **a, loss variation**: the least and the greatest loss that one step from here may give, for η
#   from half to four times the learning rate. A wide band says that the size of the step decides.
# * **b, gradient predictiveness**: how far the gradient at the end of such a step is from the one
#   at its start. Small says that the gradient holds along the step.
# * **c, effective smoothness β**: the same over the length of the step, its greatest value over η;
#   dotted its limit for η → 0. Both networks come to 2/lr. Where the dotted line is there, too, it
#   is the edge of stability; a solid line alone may be there because the gradient has vanished
#   after the smallest step, where β = 1/η by construction.
# * **d, the loss**: compare two networks at equal loss, not at equal step alone. The one without
#   normalisation hardly trains here, so its narrow bands at the end say little.
