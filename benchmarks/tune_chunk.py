"""Times a line whose points are measured one, two, four, … at a time, beside what `auto` takes.

    python benchmarks/tune_chunk.py [--toy | --large]

Small networks are bound by the cost of starting operations, large ones by memory and arithmetic;
`bnjax/probes/points.py` holds the rule drawn from this table. Runs unchanged on any backend.
"""

import argparse
import statistics
import time
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bnjax import data, losses, models, probes
from bnjax.probes.points import points_that_fit
from bnjax.types import Loss, Params


class Case(NamedTuple):
    """A loss to measure along a line."""

    name: str
    loss: Loss
    params: Params


def perceptron(width: int, batch: int) -> Case:
    """A network of one hidden layer with LayerNorm."""
    model = nn.Sequential([nn.Dense(width), nn.relu, nn.LayerNorm(), nn.Dense(10)])
    images = jax.random.normal(jax.random.key(0), (batch, 20), jnp.float32)
    labels = jnp.arange(batch, dtype=jnp.int32) % 10

    def loss(params: Params) -> jax.Array:
        logits = model.apply(params, images)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return Case(f"perceptron {width}, batch {batch}", loss, model.init(jax.random.key(1), images))


def network(name: str, model: models.Model, batch: data.Batch, objective: losses.Objective) -> Case:
    """One of the library's models under batch statistics."""
    variables = model.init(jax.random.key(1), batch.images)
    loss = losses.on_batch(model, variables["batch_stats"], batch, objective=objective)
    return Case(name, loss, variables["params"])


def cases(toy: bool, large: bool = False) -> list[Case]:
    """From the smallest to the largest."""
    if toy:
        return [perceptron(4, 8)]
    norm = models.norms.batch_norm()
    images = jax.random.normal(jax.random.key(0), (128, 32, 32, 3), jnp.float32)
    batch = data.Batch(images, jnp.arange(128, dtype=jnp.int32) % 10)
    few = data.Batch(images[:16], batch.labels[:16])
    pairs = data.Batch(*data.load("gaussian_positive").train)
    return [
        perceptron(64, 128),
        perceptron(512, 1024),
        network("deep linear", models.deep_linear(norm=norm), pairs, losses.summed_squared_error),
        network(
            "VGG-11 ×1/16, batch 16",
            models.vgg11(norm=norm, width=1 / 16),
            few,
            losses.cross_entropy,
        ),
        network(
            "VGG-11 ×¼, batch 128", models.vgg11(norm=norm, width=0.25), batch, losses.cross_entropy
        ),
        *(
            [network("VGG-16, batch 128", models.vgg16(norm=norm), batch, losses.cross_entropy)]
            if large
            else []
        ),
    ]


def milliseconds(case: Case, num_points: int, chunk: int) -> float:
    """Median of seven of one line, after one."""
    step_sizes = jnp.geomspace(1e-3, 1e-1, num_points, dtype=jnp.float32)

    @jax.jit
    def line(params: Params) -> probes.Line:
        return probes.line(case.loss, params, step_sizes, limits=False, chunk=chunk)

    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        jax.block_until_ready(line(case.params))
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds[1:])


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="one small case, to see that it runs")
    parser.add_argument("--large", action="store_true", help="VGG-16 at full width, too")
    options = parser.parse_args(argv)
    toy = options.toy
    chunks = (1, 2) if toy else (1, 2, 4, 8)
    device = jax.devices()[0].device_kind
    print(f"{device}, jax {jax.__version__}; milliseconds of {chunks[-1]} points")
    print("| network | auto |", " | ".join(f"{chunk} at a time" for chunk in chunks), "|")
    print("|---" * (len(chunks) + 2) + "|")
    for case in cases(toy, options.large):
        times = (f"{milliseconds(case, chunks[-1], chunk):.1f}" for chunk in chunks)
        auto = points_that_fit(case.loss, case.params, chunks[-1])
        print(f"| {case.name} | {auto} |", " | ".join(times), "|", flush=True)


if __name__ == "__main__":
    main()
