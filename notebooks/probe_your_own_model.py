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
# A probe of bnjax takes `loss(params) -> scalar` and a pytree of arrays, and nothing else: no
# class to inherit from, no wrapper. Here are four models of the same size, in `flax.linen`,
# `flax.nnx`, Equinox and bare JAX, each with BatchNorm where its library has one, and the same
# three probes on all of them.
#
# Install bnjax from its checkout, `pip install -e ".[notebooks]"`, or as in [the first
# notebook](figure_in_five_cells.ipynb).

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

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


def cost(logits):
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


# %% [markdown]
# ## One `loss(params)` for each library
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


def linen_loss(params):
    everything = {"params": params, "batch_stats": variables["batch_stats"]}
    logits, _ = linen.apply(everything, inputs, mutable=["batch_stats"])
    return cost(logits)


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


def nnx_loss(params):
    fresh = nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))
    return cost(fresh(inputs))


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


def equinox_loss(params):
    return cost(jax.vmap(eqx.combine(params, static))(inputs))


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


def bare_loss(params):
    x = inputs
    for i in (1, 2):
        x = jax.nn.relu(x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"])
    return cost(x @ params["dense3"]["kernel"] + params["dense3"]["bias"])


models = {
    "linen, BatchNorm": (linen_loss, variables["params"]),
    "nnx, BatchNorm": (nnx_loss, nnx_params),
    "Equinox, LayerNorm": (equinox_loss, equinox_params),
    "bare JAX, none": (bare_loss, bare_params),
}

# %% [markdown]
# ## The same probes on all
#
# Losses and gradients along the gradient, at η = lr · {½, 1, 2, 4}, before and after some steps
# of plain gradient descent.

# %%
step_sizes = lr * jnp.array([0.5, 1.0, 2.0, 4.0])


def study(loss, params):
    """Lines before and after training, and the losses on the way."""

    def step(params, _):
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - lr * g, params, gradient), value

    trained, losses = jax.lax.scan(step, params, length=steps)
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), params, trained)
    lines = jax.lax.map(lambda point: probes.line(loss, point, step_sizes, limits=False), both)
    return lines, losses, trained


studied = {
    name: jax.jit(study, static_argnums=0)(loss, params) for name, (loss, params) in models.items()
}
for name, (lines, losses, _) in studied.items():
    before, after = lines.smoothness.max(axis=1)
    change = f"loss {losses[0]:.3f} → {losses[-1]:.3f}, largest β {before:.3g} → {after:.3g}"
    print(f"{name:20} {change} (2/lr = {2 / lr:g})")

# %%
figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for line_style, (name, (lines, losses, _)) in zip(("-", "--", "-.", ":"), studied.items()):
    panels[0].plot(losses, line_style, label=name)
    panels[1].plot(step_sizes, lines.losses[0] - lines.loss[0], line_style)
    panels[2].plot(step_sizes, lines.smoothness[0], line_style)
panels[0].set(title="training loss [nat]", xlabel="step", yscale="log")
panels[1].set(title="L(θ − η g) − L(θ) at the start", xlabel="η")
panels[2].set(title="β(η) at the start", xlabel="η", yscale="log")
panels[0].legend(fontsize=7)
plt.show()

# %% [markdown]
# The largest eigenvalues of the Hessian of one of them, with the residuals that say how far they
# have converged. Full-batch gradient descent tends to bring the first one to 2/lr.

# %%
loss, (*_, trained) = bare_loss, studied["bare JAX, none"]
measure = jax.jit(lambda params, key: probes.spectrum(loss, params, key, lanczos_steps=10, top=3))
found = measure(trained, jax.random.key(2))
print("eigenvalues", found.largest, "±", found.largest_residuals)

# %% [markdown]
# ## Internal covariate shift
#
# `probes.shift` needs to know what a layer is: `params` has to map names of layers to their
# parameters, in any order; the loss's own equations tell in which order it uses them. A dict
# does, such as linen's and the bare one; other trees are put into one.


# %%
def after_one_step(loss, params):
    return jax.tree.map(lambda p, g: p - lr * g, params, jax.grad(loss)(params))


def shift(loss, params):
    found = jax.jit(probes.shift, static_argnums=0)(loss, params, after_one_step(loss, params))
    return {layer: round(float(c), 4) for layer, c in zip(found.layers, found.cosines)}


print("bare JAX:", shift(bare_loss, bare_params))
print("linen:   ", shift(linen_loss, variables["params"]))

by_name = {f"layer{i}": leaf for i, leaf in enumerate(equinox_params.layers)}


def equinox_loss_by_name(params):
    ordered = tuple(params[f"layer{i}"] for i in range(len(net.layers)))
    return equinox_loss(eqx.tree_at(lambda tree: tree.layers, equinox_params, ordered))


print("Equinox: ", shift(equinox_loss_by_name, by_name))

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
