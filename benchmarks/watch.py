"""Times a training step with and without `bnjax.watch`, on a VGG and on a small GPT.

    python benchmarks/watch.py [--toy]

The step is one compiled program with donated state, as a user's loop has it. The watched step is
timed where nothing is due, where a row is, and where a row with a critical step is, each right
after a step without a recorder; the differences are shown. The cost at the defaults is their mean
over `critical_every` steps.
"""

import argparse
import inspect
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import bnjax
from bnjax import data, losses, models

DEFAULTS = inspect.signature(bnjax.watch).parameters
EVERY, CRITICAL_EVERY = (DEFAULTS[name].default for name in ("every", "critical_every"))
RATE, DECAY = 1e-3, 1e-4
# The recorder's own count of updates at which a step has so much to do.
PARTS = {"nothing due": 1, "a row": EVERY, "a critical step": 0}


class Case(NamedTuple):
    """A network to train on one batch."""

    name: str
    params: Any
    loss: Callable[..., jax.Array]  # of params, inputs and targets
    inputs: jax.Array
    targets: jax.Array


class Block(nn.Module):
    """Causal attention and a perceptron, each behind a LayerNorm."""

    width: int
    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mask = nn.make_causal_mask(x[..., 0])
        attention = nn.MultiHeadDotProductAttention(self.heads)
        x = x + attention(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
        return x + nn.Dense(self.width)(hidden)


class GPT(nn.Module):
    """A language model of characters."""

    vocabulary: int = 65
    width: int = 128
    heads: int = 4
    blocks: int = 4

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        places = jnp.arange(tokens.shape[1])
        x = nn.Embed(self.vocabulary, self.width)(tokens)
        x = x + nn.Embed(tokens.shape[1], self.width)(places)[None]
        for _ in range(self.blocks):
            x = Block(self.width, self.heads)(x)
        return nn.Dense(self.vocabulary)(nn.LayerNorm()(x))


def gpt(name: str, batch: int, length: int, **sizes: int) -> Case:
    """A GPT on random characters."""
    model = GPT(**sizes)
    tokens = jax.random.randint(jax.random.key(0), (batch, length + 1), 0, model.vocabulary)

    def loss(params: Any, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        logits = model.apply(params, inputs)
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    params = model.init(jax.random.key(1), tokens[:, :-1])
    return Case(name, params, loss, tokens[:, :-1], tokens[:, 1:])


def vgg(name: str, depth: int, width: float, batch: int) -> Case:
    """A VGG with BatchNorm on noise."""
    model = models.vgg(depth, norm=models.norms.batch_norm(), width=width)
    images = jax.random.normal(jax.random.key(0), (batch, 32, 32, 3), jnp.float32)
    variables = model.init(jax.random.key(1), images)

    def loss(params: Any, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        here = data.Batch(inputs, targets)
        return losses.on_batch(model, variables["batch_stats"], here)(params)

    return Case(name, variables["params"], loss, images, jnp.arange(batch, dtype=jnp.int32) % 10)


def cases(toy: bool) -> list[Case]:
    """The networks."""
    if toy:
        return [
            vgg("VGG-5 ×1/16, batch 4", 5, 1 / 16, 4),
            gpt("GPT 1 × 8, batch 2 × 4", 2, 4, width=8, heads=1, blocks=1),
        ]
    return [
        vgg("VGG-11 ×¼, batch 128", 11, 0.25, 128),
        gpt("GPT 4 × 128, batch 12 × 64", 12, 64),
    ]


class Costs(NamedTuple):
    """Of one network: milliseconds of a step, compile seconds, bytes of the recorder."""

    plain: float
    parts: dict[str, float]  # beyond the step without a recorder just before
    compile_seconds: tuple[float, float]  # without and with
    recorder_bytes: int

    @property
    def share(self) -> float:
        """Time that the recorder takes at the defaults, over that of training."""
        nothing, row, critical = (self.parts[name] for name in PARTS)
        critical_steps = 1 / CRITICAL_EVERY
        rows = 1 / EVERY - critical_steps
        mean = (1 - rows - critical_steps) * nothing + rows * row + critical_steps * critical
        return mean / self.plain


def measure(case: Case, repeats: int) -> Costs:
    """Take the times of one network, in turn."""
    plain = optax.adamw(RATE, weight_decay=DECAY)
    watched = bnjax.watch(plain, RATE, DECAY, b1=0.9, loss=case.loss)
    batch = {"inputs": case.inputs, "targets": case.targets}

    def stepper(optimizer: Any) -> tuple[Any, float]:
        def step(params: Any, state: Any) -> tuple[Any, Any]:
            gradient = jax.grad(case.loss)(params, **batch)
            updates, state = optimizer.update(gradient, state, params, **batch)
            return optax.apply_updates(params, updates), state

        begun = time.perf_counter()
        compiled = jax.jit(step, donate_argnums=(0, 1)).lower(
            case.params, optimizer.init(case.params)
        )
        compiled = compiled.compile()
        return compiled, time.perf_counter() - begun

    optimizers = optax.with_extra_args_support(plain), watched
    (step, first), (watched_step, second) = map(stepper, optimizers)
    kept = [(jax.tree.map(jnp.copy, case.params), one.init(case.params)) for one in optimizers]

    def seconds(which: int, at: int | None = None) -> float:
        params, state = kept[which]
        if at is not None:
            recorder = state.recorder._replace(step=jnp.int32(at))
            state = state._replace(recorder=recorder)
        jax.block_until_ready((params, state))
        begun = time.perf_counter()
        kept[which] = jax.block_until_ready((step, watched_step)[which](params, state))
        return time.perf_counter() - begun

    plain_times: list[float] = []
    beyond: dict[str, list[float]] = {name: [] for name in PARTS}
    for _ in range(repeats + 1):
        for name, at in PARTS.items():
            plain_times.append(1e3 * seconds(0))
            beyond[name].append(1e3 * seconds(1, at) - plain_times[-1])
    medians = {name: statistics.median(taken[1:]) for name, taken in beyond.items()}
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(kept[1][1].recorder))
    return Costs(statistics.median(plain_times[3:]), medians, (first, second), size)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="small networks, to see that it runs")
    parser.add_argument("--repeats", type=int, help="times of each kind")
    options = parser.parse_args(argv)
    repeats = options.repeats or (2 if options.toy else 100)
    print(
        f"{jax.devices()[0].device_kind}, jax {jax.__version__}; milliseconds, medians of {repeats}"
    )
    print(
        f"| network | step | {' | '.join(PARTS)} | cost at every={EVERY}, "
        f"critical_every={CRITICAL_EVERY} | compile s without, with | recorder KiB |"
    )
    print("|---" * (len(PARTS) + 5) + "|")
    for case in cases(options.toy):
        found = measure(case, repeats)
        times = (f"{found.plain:.2f}", *(f"{one:+.2f}" for one in found.parts.values()))
        compiled = ", ".join(f"{one:.1f}" for one in found.compile_seconds)
        cells = (
            case.name,
            *times,
            f"{found.share:.2%}",
            compiled,
            f"{found.recorder_bytes / 1024:.0f}",
        )
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
