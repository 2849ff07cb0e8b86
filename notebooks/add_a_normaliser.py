# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Add a normaliser
#
# From a formula to an arm of the studies: write a module, look at it, register it, and run
# it beside BatchNorm and no normalisation. The example replaces normalisation by y = tanh(γ x),
# after *Transformers without Normalization* ([2503.10622](https://arxiv.org/abs/2503.10622)).
#
# Install bnjax from its checkout, `pip install -e ".[notebooks]"`, or as in [the first
# notebook](figure_in_five_cells.ipynb).

# %% [markdown]
# ## The module
#
# A normaliser has the call `module(x, train=bool)`, channels last. It goes into a file, which
# `--plugins` loads.

# %%
from pathlib import Path

Path("my_norm.py").write_text('''
import flax.linen as nn
import jax.numpy as jnp
from bnjax import norms


class Tanh(nn.Module):
    """y = tanh(γ x) per channel; γ is trained and begins at 2, for a ReLU follows."""

    @nn.compact
    def __call__(self, x, *, train):
        scale = self.param("scale", nn.initializers.constant(2.0), x.shape[-1:], x.dtype)
        return jnp.tanh(x * scale.reshape((1,) * (x.ndim - 1) + (-1,)))


norms.register("tanh", lambda: norms.Norm("tanh", Tanh))
''')

# %% [markdown]
# ## Look at it
#
# The same network with three normalisers has the same layers, and starts from the same kernels.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from bnjax import data, losses, models, norms, probes
from bnjax.frame.study import load_plugins

load_plugins([Path("my_norm.py")])
images = jax.random.normal(jax.random.key(0), (64, 8, 8, 1))
batch = data.Batch(images, jnp.arange(64) % 10)
arms = {name: models.mlp(norm=norms.by_name(name)) for name in ("none", "batch", "tanh")}
starts = {name: model.init(jax.random.key(1), images) for name, model in arms.items()}
print(models.layer_names(arms["tanh"], (8, 8, 1)))
kernels = [start["params"]["dense1"]["kernel"] for start in starts.values()]
assert all(np.array_equal(kernel, kernels[0]) for kernel in kernels)

# %% [markdown]
# The inputs of the non-linearities, and the landscape along the gradient, before the first step:

# %%
measure_line = jax.jit(probes.line, static_argnums=0, static_argnames="limits")
step_sizes = 0.1 * jnp.array([0.5, 1.0, 2.0, 4.0])
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for line_style, (name, model) in zip(("--", "-", ":"), arms.items()):
    before = model.preactivations(**starts[name], images=images)["dense2"]
    shares, edges = np.histogram(before, bins=60, range=(-3, 3), density=True)
    panels[0].stairs(shares, edges, label=name)
    loss = losses.on_batch(model, starts[name]["batch_stats"], batch, statistics="batch")
    line = measure_line(loss, starts[name]["params"], step_sizes, limits=False)
    panels[1].plot(step_sizes, line.losses, line_style, label=name)
panels[0].set(title="dense2 before its non-linearity")
panels[1].set(title="L(θ − η g)", xlabel="η")
panels[0].legend()
plt.show()

# %% [markdown]
# ## As an arm of a study
#
# The same as `python experiments/landscape.py --plugins my_norm.py --norms none batch tanh …` on
# the command line. (Digits and a small network; leave the options out for the usual two
# minutes.)

# %% tags=["parameters"]
options = ["--model", "lenet", "--steps", "60"]

# %%
import bnjax

plugin = ["--plugins", "my_norm.py", "--norms", "none", "batch", "tanh"]
folder = bnjax.start("landscape", *plugin, *options)

# %% [markdown]
# The run folder has the study's own figure, `landscape.png`, and all arrays in `results.nc`, with
# named axes:

# %%
import xarray as xr

found = xr.load_dataset(folder / "results.nc")
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for line_style, name in zip(("--", "-", ":"), ("none", "batch", "tanh")):
    arm = found.sel(norm=name, seed=0)
    panels[0].plot(arm["step"], arm["train_loss"], line_style, label=name)
    beta = arm["line_smoothness"].sel(direction="gradient").max("step_size")
    panels[1].plot(arm["probe_step"], beta, line_style)
panels[0].set(title="training loss [nat]", xlabel="step")
panels[1].set(title="largest β(η)", xlabel="step", yscale="log")
panels[0].legend()
plt.show()

# %% [markdown]
# Each claim on BatchNorm is now judged for `tanh` too. If an arm has not begun to train, the
# verdict is *inconclusive*, whatever its landscape looks like, and says why. Give it more `--steps`
# or another `--lr` in `options`.

# %%
import json

for claim in json.loads((folder / "summary.json").read_text())["verdicts"]:
    if claim["identifier"].endswith("tanh"):
        print(f"{claim['sentence']}: {claim['verdict']} {claim['reason']}\n    {claim['measured']}")

# %% [markdown]
# ## If it takes statistics over the batch
#
# Then it keeps running statistics and is declared as
# `norms.Norm("name", Module, batch_statistics=True)`. A complete example is in the documentation,
# *Extending*.
