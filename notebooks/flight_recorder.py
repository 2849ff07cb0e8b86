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
# same, bit for bit. Here it rides in a small transformer whose learning rate is too large, and shows that
# the run will fail before its loss does.
#
# Install bnjax from its checkout, `pip install -e ".[notebooks]"`, or as in [the first
# notebook](figure_in_five_cells.ipynb). All cells run within two minutes.

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from IPython.display import display

import bnjax

# %% tags=["parameters"]
width = 64
blocks = 2
batch = 32
steps = 600
peak = 0.03

# %% [markdown]
# ## A task that takes attention
#
# Sequences of 16 random digits, then the same again: the second half can be predicted by looking
# back, the first cannot.

# %%
length, vocabulary = 16, 10


def draw(key):
    half = jax.random.randint(key, (batch, length), 0, vocabulary)
    tokens = jnp.concatenate([half, half], axis=1)
    return tokens[:, :-1], tokens[:, 1:]


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(vocabulary, width)(tokens)
        x = x + nn.Embed(2 * length, width)(jnp.arange(tokens.shape[1]))
        mask = nn.make_causal_mask(tokens)
        for i in range(blocks):
            attended = nn.MultiHeadDotProductAttention(4, name=f"attention{i}")(
                nn.LayerNorm()(x), mask=mask
            )
            x = x + attended
            hidden = nn.gelu(nn.Dense(4 * width, name=f"up{i}")(nn.LayerNorm()(x)))
            x = x + nn.Dense(width, name=f"down{i}")(hidden)
        return nn.Dense(vocabulary, name="output")(nn.LayerNorm()(x))


model = Transformer()


def loss(params, tokens, targets):
    logits = model.apply(params, tokens)
    costs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, targets)
    return costs[:, length - 1 :].mean()  # the second half


# %% [markdown]
# ## The loop
#
# Two lines of it are the recorder's: the optimiser is wrapped, and `update` gets the batch. The
# learning rate grows linearly to a peak; the recorder gets the schedule itself.

# %%
first = model.init(jax.random.key(0), draw(jax.random.key(0))[0])
groups = {
    "embeddings": "*/embedding",
    "query and key": ["*/query/kernel", "*/key/kernel"],
    "value and out": ["*/value/kernel", "*/out/kernel"],
    "perceptrons": ["*/up*/kernel", "*/down*/kernel"],
    "output": "*/output/kernel",
}
decayed = "*/kernel"


def follow(peak):
    schedule = optax.linear_schedule(0.0, peak, steps)
    plain = optax.adamw(
        schedule,
        weight_decay=0.1,
        mask=lambda params: jax.tree_util.tree_map_with_path(
            lambda path, _: path[-1].key == "kernel", params
        ),
    )
    optimizer = bnjax.watch(
        plain,
        learning_rate=schedule,
        weight_decay=0.1,
        b1=0.9,
        decays=decayed,
        groups=groups,
        loss=loss,
        every=5,
        critical_every=10,
    )

    @jax.jit
    def step(carry, key):
        params, state = carry
        tokens, targets = draw(key)
        value, gradient = jax.value_and_grad(loss)(params, tokens, targets)
        updates, state = optimizer.update(gradient, state, params, tokens=tokens, targets=targets)
        return (optax.apply_updates(params, updates), state), value

    carry, losses = (first, optimizer.init(first)), []
    for number, key in enumerate(jax.random.split(jax.random.key(1), steps)):
        carry, value = step(carry, key)
        losses.append(value)
        if number % (steps // 6) == 0:
            print(carry[1].recorder.line())
    return np.array(losses), carry[1].recorder


losses, recorder = follow(peak)

# %% [markdown]
# ## What it showed

# %%
display(recorder.plot())
