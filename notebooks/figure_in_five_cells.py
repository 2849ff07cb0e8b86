# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The figure in five cells
#
# The effect of BatchNorm on the loss landscape: two networks that differ in the normaliser alone,
# probed along the gradient while they train (Santurkar et al. 2018, Fig. 4).
#
# It runs on a CPU, a GPU or a TPU, here or on Colab. It installs bnjax from the checkout that
# this notebook lies in. **On Colab**, upload a zip of the checkout to the session's files (the
# folder symbol on the left) and run the cells in their order.

# %% [markdown]
# **1. Install.** Finds bnjax, or the checkout around this notebook, or a zip of it. What Colab
# brings along (JAX among it) stays as it is where it is new enough.

# %%
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

if importlib.util.find_spec("bnjax") is None:
    for archive in Path.cwd().glob("bnjax*.zip"):
        zipfile.ZipFile(archive).extractall()
    here = Path.cwd()
    places = [here, *here.parents, *(found.parent for found in here.glob("*/pyproject.toml"))]
    checkout = next((place for place in places if (place / "bnjax" / "probes").is_dir()), None)
    assert checkout, "no checkout here: upload a zip of it, or start Jupyter inside it"
    install = [sys.executable, "-m", "pip", "install", "--quiet", f"{checkout}[studies,data]"]
    subprocess.run(install, check=True)
    importlib.invalidate_caches()

# %% [markdown]
# **2. Where am I?** On a CPU the quick preset: 8×8 digits, a small network, half a minute on two
# cores. On a GPU or TPU the same digits on a full VGG-11 and for longer; with `data_dir`, a
# folder that holds `cifar10/3.0.2`, the publication's setting. Add options to the last line,
# e.g. `"--lr", "0.4"`.

# %% tags=["parameters"]
import jax

data_dir = None
device = jax.default_backend()
if device == "cpu":
    options = ["--preset", "quick"]
elif data_dir:
    options = ["--preset", "paper", "--data-dir", data_dir]
else:
    options = ["--model", "vgg11", "--width", "1.0", "--steps", "1000", "--probe-every", "10"]
options += []

# %% [markdown]
# **3. Run.** Everything is saved on the way: interrupt the cell, run it again, and it continues. A
# finished run returns at once (the output below is of such a second call).

# %%
import bnjax

print(f"{jax.device_count()} × {device}: landscape {' '.join(options)}")
folder = bnjax.start("landscape", *options)

# %% [markdown]
# **4. The figure.** Bands over the probed steps η = lr · {½, 1, 2, 4}. Look at the panel of
# training first: a network that does not train has a flat landscape. (`report.html` in the same
# folder has it with sliders and switches; download it and open it.)

# %%
from IPython.display import display
from PIL import Image

drawn = Image.open(folder / "landscape.png").convert("RGB")
display(drawn.quantize(64))  # of few colours, so that the notebook stays small

# %% [markdown]
# **5. Verdicts and numbers.** Each claim with its measured numbers and the verdict of a rule fixed
# in advance, and the arrays behind the figure.

# %%
import json

import xarray as xr

for claim in json.loads((folder / "summary.json").read_text())["verdicts"]:
    print(f"{claim['verdict']:14} {claim['sentence']}: {claim['measured']}")

found = xr.load_dataset(folder / "results.nc")
smoothness = found["line_smoothness"]
print("line_smoothness has the axes", smoothness.dims)
beta = smoothness.sel(norm="batch", seed=0, direction="gradient").max("step_size")
print("largest β of BatchNorm at each probed step:", beta.round(1).values)

# %% [markdown]
# Next: `options += ["--lr", "0.4"]`, where the network without BatchNorm diverges; `["--norms",
# "none", "batch", "layer", "l1"]`; or [probe your own model](probe_your_own_model.ipynb).
