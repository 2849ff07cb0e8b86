# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A flight recorder
#
# `bnjax.watch(optimizer, …)` is an optax optimiser with a recorder in its state. It trains the
# same, bit for bit. Here it rides in a run whose learning rate grows until training breaks, and
# shows the cause two hundred steps before the loss does.
#
# Install bnjax from its checkout, `pip install -e ".[notebooks]"`, or as in [the first
# notebook](figure_in_five_cells.ipynb). All cells run within a minute.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from IPython.display import display

import bnjax

# %% tags=["parameters"]
examples = 256
width = 64
steps = 600
peak = 1.0

# %% [markdown]
# ## The run
#
# A perceptron of three hidden layers on two interleaved spirals, all of them in each step.

# %%
angle = jnp.linspace(0.3, 3.0, examples // 2) * jnp.pi
spiral = jnp.stack([angle * jnp.cos(angle), angle * jnp.sin(angle)], axis=1) / 3
inputs = jnp.concatenate([spiral, -spiral])
labels = jnp.repeat(jnp.arange(2), len(angle))
sizes = (2, width, width, width, 2)
keys = jax.random.split(jax.random.key(1), 4)
first = {
    f"dense{i}": {
        "kernel": jax.random.normal(key, (fan_in, fan_out)) * (2 / fan_in) ** 0.5,
        "bias": jnp.zeros(fan_out),
    }
    for i, (key, fan_in, fan_out) in enumerate(zip(keys, sizes, sizes[1:]), start=1)
}


def loss(params, inputs, labels):
    x = inputs
    for i in (1, 2, 3):
        x = jax.nn.relu(x @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"])
    logits = x @ params["dense4"]["kernel"] + params["dense4"]["bias"]
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


# %% [markdown]
# ## The recorder
#
# Two lines of the loop are the recorder's: the optimiser is wrapped, and `update` gets the batch
# by the names of the loss's arguments. The recorder gets the schedule itself, and follows it.

# %%
schedule = optax.linear_schedule(0.0, peak, steps)
optimizer = bnjax.watch(
    optax.sgd(schedule),
    learning_rate=schedule,
    weight_decay=0.0,
    groups={f"layer {i}": f"dense{i}/*" for i in (1, 2, 3, 4)},
    loss=loss,
    every=10,
    critical_every=10,
)


@jax.jit
def step(params, state):
    value, gradient = jax.value_and_grad(loss)(params, inputs, labels)
    updates, state = optimizer.update(gradient, state, params, inputs=inputs, labels=labels)
    return optax.apply_updates(params, updates), state, value


params, state, losses = first, optimizer.init(first), []
for number in range(steps):
    params, state, value = step(params, state)
    losses.append(float(value))
    if number % max(1, steps // 6) == 0:
        print(state.recorder.line())

# %% [markdown]
# ## What it showed
#
# The critical step η_c is the least step along the optimiser's own direction that raises the loss.
# The critical sharpness 2/η_c, over 2/lr, is lr/η_c: at 1 a step ends at the loss that it began
# with.

# %%
rows = state.recorder.to_xarray()
ratio = rows["critical_sharpness"] / rows["edge"]
for start in range(0, steps, max(1, steps // 12)):
    here = slice(start, start + max(1, steps // 12) - 1)
    own = np.array(losses[here.start : here.stop + 1])
    print(
        f"steps {start:3} on: loss {own.min():6.3f} to {own.max():6.3f}, "
        f"median lr/η_c {float(ratio.sel(step=here).median()):.2f}"
    )

# %%
display(state.recorder.plot())

# %% [markdown]
# * **f, critical sharpness**: after the first steps it lies on the line 2/lr. Gradient descent is
#   at its edge of stability: the larger the learning rate, the flatter the places that it can stay
#   in. The dotted line, ΔᵀHΔ/Δᵀg, is the same: along a step the loss is a parabola.
# * **a, the loss** jumps once at the start, when the sharpness meets the line, then says nothing
#   for almost two hundred steps: it is as flat as that of a run which has converged. After step
#   200 it jumps again and again, and the sharpness leaves its line by factors.
# * **d, update over weight** grows with the learning rate, and tells the layer that moves most.
#   Without weight decay rotation has no equilibrium, so **e** shows the angle itself.
#
# The cure is what the line says: a learning rate below 2 over the sharpness that the network has to
# pass, or a network that is flatter there. With `optax.adamw` give `b1=0.9` and the weight decay;
# [the page](../docs/flight_recorder.md) explains its second line.
