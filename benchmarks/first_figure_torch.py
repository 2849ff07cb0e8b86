"""The landscape of VGG-11 with and without BatchNorm as a plain PyTorch script: one file, one run.

    python benchmarks/first_figure_torch.py OUT.png [--limits exact|none]

The job of `python experiments/landscape.py` with the flags of `first_figure.py`: digits at 32×32,
a quarter of the width, batch 128, plain SGD, 200 steps, four points along the gradient every third
step with their limits for η → 0, the test set every 50 steps, a figure of four panels. Written as
a careful user writes it: weights move in place, nothing is computed twice. Its last line is JSON:
seconds since the interpreter started, by part.
"""

import time

BEGUN = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

LR, STEPS, BATCH, PROBE_EVERY, EVALUATE_EVERY = 0.1, 200, 128, 3, 50
STEP_SIZES = [LR * factor for factor in (0.5, 1.0, 2.0, 4.0)]
PLAN = [16, "M", 32, "M", 64, 64, "M", 128, 128, "M", 128, 128, "M"]

parser = argparse.ArgumentParser()
parser.add_argument("out")
parser.add_argument("--limits", choices=["exact", "none"], default="exact")
options = parser.parse_args()
torch.set_flush_denormal(True)  # as XLA does
parts = {"import": time.perf_counter() - BEGUN, "train": 0.0, "probe": 0.0, "limits": 0.0}
mark = time.perf_counter()

bunch = load_digits()
pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
bilinear = Image.Resampling.BILINEAR
large = np.stack([np.asarray(Image.fromarray(p).resize((32, 32), bilinear)) for p in pixels])
rows = np.arange(len(pixels))
train, test = train_test_split(rows, test_size=360, stratify=bunch.target, random_state=0)
images = torch.tensor(large[:, None].repeat(3, 1), dtype=torch.float32) / 255
images = (images - images[train].mean()) / images[train].std()
labels = torch.tensor(bunch.target)
parts["data"] = time.perf_counter() - mark


def network(norm):
    """VGG-11 at a quarter of the width."""
    layers, channels = [], 3
    for entry in PLAN:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels, entry, 3, padding=1))
        nn.init.xavier_uniform_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)
        layers += [nn.BatchNorm2d(entry)] * norm + [nn.ReLU(inplace=True)]
        channels = entry
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))


def norm_of(tensors):
    """The norm of all of them together."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))


def probe(model, params, batch, target, centre):
    """Loss, gradient difference and smoothness at each point, the two limits, all as floats."""
    kept = [p.detach().clone() for p in params]
    statistics = [b.clone() for b in model.buffers()]
    length = norm_of(centre)
    found = []
    for step_size in STEP_SIZES:
        with torch.no_grad():
            torch._foreach_copy_(params, kept)
            torch._foreach_add_(params, centre, alpha=-step_size)
        loss = functional.cross_entropy(model(batch), target)
        gradient = torch.autograd.grad(loss, params)
        distance = norm_of(torch._foreach_sub(gradient, centre))
        found.append((loss.item(), distance.item(), (distance / (step_size * length)).item()))
    with torch.no_grad():
        torch._foreach_copy_(params, kept)
    begun = time.perf_counter()
    limits = (float("nan"), float("nan"))
    if options.limits == "exact":
        loss = functional.cross_entropy(model(batch), target)
        gradient = torch.autograd.grad(loss, params, create_graph=True)
        inner = sum((g * c).sum() for g, c in zip(gradient, centre, strict=True))
        product = torch.autograd.grad(inner, params)
        curvature = sum((h * c).sum() for h, c in zip(product, centre, strict=True)) / length**2
        limits = ((norm_of(product) / length).item(), curvature.item())
    parts["limits"] += time.perf_counter() - begun
    parts["probe"] -= time.perf_counter() - begun
    with torch.no_grad():
        for buffer, before in zip(model.buffers(), statistics, strict=True):
            buffer.copy_(before)
    return found, limits


def train_arm(norm):
    """One network along training."""
    torch.manual_seed(0)
    model = network(norm)
    params = list(model.parameters())
    losses, probed, tested = [], [], []
    order = np.random.default_rng(0)
    stream = np.concatenate([order.permutation(train) for _ in range(20)])
    for step in range(STEPS):
        begun = time.perf_counter()
        if step % EVALUATE_EVERY == 0:
            model.eval()
            with torch.no_grad():
                tested.append(functional.cross_entropy(model(images[test]), labels[test]).item())
            model.train()
        chosen = stream[step * BATCH : (step + 1) * BATCH]
        batch, target = images[chosen], labels[chosen]
        loss = functional.cross_entropy(model(batch), target)
        centre = torch.autograd.grad(loss, params)
        losses.append(loss.item())
        parts["train"] += time.perf_counter() - begun
        if step % PROBE_EVERY == 0:
            begun = time.perf_counter()
            probed.append(probe(model, params, batch, target, centre))
            parts["probe"] += time.perf_counter() - begun
        with torch.no_grad():
            torch._foreach_add_(params, centre, alpha=-LR)
    return losses, probed, tested


arms = {"none": train_arm(False), "batch": train_arm(True)}
mark = time.perf_counter()
figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
probed_steps = range(0, STEPS, PROBE_EVERY)
for name, (losses, probed, tested) in arms.items():
    points = np.array([found for found, _ in probed])
    for axis, values in zip(axes.flat[:2], points.transpose(2, 0, 1)[:2], strict=True):
        axis.fill_between(probed_steps, values.min(1), values.max(1), alpha=0.4, label=name)
    axes[1, 0].plot(probed_steps, points[:, :, 2].max(1), label=name)
    axes[1, 0].plot(probed_steps, [limits[0] for _, limits in probed], ":")
    axes[1, 1].plot(losses, label=name)
    axes[1, 1].plot(range(0, STEPS, EVALUATE_EVERY), tested, "o")
titles = ("loss", "gradient difference", "smoothness", "training")
for axis, title in zip(axes.flat, titles, strict=True):
    axis.set(title=title, yscale="log", xlabel="step")
    axis.legend()
figure.savefig(options.out)
parts["draw"] = time.perf_counter() - mark
print(json.dumps({name: round(seconds, 2) for name, seconds in parts.items()}))
