# ---
# jupyter:
#   accelerator: TPU
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The paper's setting on a Colab TPU
#
# `landscape --preset paper`: VGG-16 on CIFAR-10 for 15,000 steps, with and without BatchNorm
# (Santurkar et al. 2018, Fig. 4). A Colab session may end at any moment. So data, checkpoints and
# results lie on your Google Drive: open the notebook again, *Runtime → Run all*, and the run
# continues from its last checkpoint.
#
# Choose the TPU first, *Runtime → Change runtime type*. A GPU will do as well.
#
# *What was tried: the tests run these cells on a CPU at toy size, kill the session in the middle,
# and run them again. They have not been run on a TPU yet, so there are no outputs here. On an H200
# GPU this preset took 12 minutes with five normalisers.*

# %% [markdown]
# **1. Settings.** `folder` outlives the session. bnjax is installed from `repository`, a git
# address; without one, from a zip of the checkout, `bnjax.zip`, that you put into `folder`.
# `smaller` makes a rehearsal of the run: options that come after those of the preset.

# %% tags=["parameters"]
import sys

on_colab = "google.colab" in sys.modules
folder = "/content/drive/MyDrive/bnjax" if on_colab else "."
repository = ""
smaller = []  # e.g. ["--dataset", "digits", "--model", "lenet", "--steps", "60"]

# %% [markdown]
# **2. Mount the Drive, install bnjax.** On a TPU with the JAX of the TPU.

# %%
import importlib.util
import subprocess
from pathlib import Path

if on_colab:
    from google.colab import drive

    drive.mount("/content/drive")
folder = Path(folder)
folder.mkdir(parents=True, exist_ok=True)


def install(*packages):
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages], check=True)
    importlib.invalidate_caches()


if importlib.util.find_spec("bnjax") is None:
    extras = "studies,data,tpu" if importlib.util.find_spec("libtpu") else "studies,data"
    if repository:
        install(f"bnjax[{extras}] @ git+{repository}")
    else:
        archive = folder / "bnjax.zip"
        assert archive.exists(), f"put a zip of the checkout there: {archive}"
        install(f"{archive}[{extras}]")

# %% [markdown]
# **3. Devices.** Each device trains an arm of its own: two devices take the two networks at the
# same time. `--data-devices D` divides each batch over D devices instead.

# %%
import jax

devices = jax.devices()
print(f"{len(devices)} × {devices[0].device_kind} ({devices[0].platform}), JAX {jax.__version__}")
if devices[0].platform == "cpu" and not smaller:
    raise RuntimeError("no TPU and no GPU: choose one under Runtime, or give `smaller` options")

# %% [markdown]
# **4. Data.** CIFAR-10, 170 MB, is downloaded and prepared once. TensorFlow is needed for that
# alone. It works in a process of its own, which leaves the TPU to JAX.

# %%
where = []
if "--dataset" not in smaller:
    data = folder / "data"
    if not [*data.glob("cifar10/[0-9]*/dataset_info.json")]:  # written last, so it is whole
        if importlib.util.find_spec("tensorflow") is None:
            install("tensorflow", "importlib_resources")
        prepare = f"t.builder('cifar10', data_dir={str(data)!r}).download_and_prepare()"
        subprocess.run(
            [sys.executable, "-c", f"import tensorflow_datasets as t; {prepare}"], check=True
        )
    where = ["--data-dir", str(data)]

# %% [markdown]
# **5. What is there already.** Nothing in the first session; later how far the run is.

# %%
import json

runs = folder / "runs"
if runs.is_dir():
    listing = [sys.executable, "-m", "bnjax", "list", "--json", str(runs)]
    for found in json.loads(subprocess.run(listing, capture_output=True, check=True).stdout):
        print(f"{found['study']} {found['digest']}: {found['state']}")

# %% [markdown]
# **6. Run.** A checkpoint of each network every five minutes, or more seldom if saving would take
# over 2 % of the time; the last two are kept, each with a digest. Interrupt the cell, lose the
# session, close the lid: this cell continues. At most the work since the last checkpoint on the
# Drive is lost. (A new session may bring another version of JAX. The run is then refused with a
# line that says so: `install` the old version, go on with `--accept-changes`, or begin anew with
# `--fresh`.)

# %%
import bnjax

saving = ["--out", str(runs), "--checkpoint-minutes", "5"]
run = bnjax.start("landscape", "--preset", "paper", *where, *saving, *smaller)

# %% [markdown]
# **7. The figure.** A panel for the loss, the gradient, the smoothness and the training.
# `report.html` in the same folder has it with switches: download it and open it.

# %%
from IPython.display import display
from PIL import Image

drawn = Image.open(run / "landscape.png").convert("RGB")
display(drawn.quantize(64))  # of few colours, so that the notebook stays small

# %% [markdown]
# **8. Verdicts.** Each claim, its measured numbers, and the verdict of a rule fixed in advance.

# %%
for claim in json.loads((run / "summary.json").read_text())["verdicts"]:
    print(f"{claim['verdict']:14} {claim['sentence']}: {claim['measured']}")
if on_colab:
    drive.flush_and_unmount()  # what is still on its way to the Drive arrives there
