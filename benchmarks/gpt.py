"""Times a training step of the character GPT beside the same network in a plain PyTorch loop.

    python benchmarks/gpt.py --torch-python PYTHON
    python benchmarks/gpt.py --toy

4 blocks of 128 channels, context 64, batches of 12, AdamW, Shakespeare: batch, gradient and update,
as a study trains. PyTorch's loop is `gpt_torch.py`, a process of its own that stands still while
bnjax is timed; both take turns, and medians of turns are printed.
"""

import dataclasses
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import tyro
from run import TorchProcess

from bnjax import data, models, train
from bnjax.models import norms
from bnjax.train import optimizers


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time, and against what."""

    torch_python: str = ""
    """Interpreter with torch installed; empty: no PyTorch."""
    norms: tuple[str, ...] = ("layer", "none")
    """Normalisers, each a row; PyTorch knows these two."""
    steps: int = 20
    """Training steps of a turn."""
    turns: int = 7
    """Counted turns, after one that is not counted."""
    toy: bool = False
    """A tiny network, to see that it runs."""


class BnjaxLoop:
    """A network, its data and its compiled program."""

    def __init__(self, norm: str, toy: bool) -> None:
        context, sizes = (8, {"width": 0.125, "depth": 1}) if toy else (64, {})
        dataset = data.load("shakespeare", context=context)
        self.split, self.key = dataset.train, jax.random.key(0)
        self.pipeline = data.make_pipeline(dataset, 12)
        optimizer = optimizers.by_name("adamw", 1e-3)
        model = models.gpt(norm=norms.by_name(norm), num_classes=dataset.num_classes, **sizes)
        self.program = train.make_program(model, optimizer, self.pipeline)
        tokens = jnp.zeros((12, context), jnp.int32)
        self.state = train.init_state(model, optimizer, self.key, tokens)
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
        self.order, self.loss = self.pipeline.order(self.key, 0), jnp.nan

    def seconds(self, steps: int) -> float:
        """The mean time of some steps; their last loss is kept."""
        begun = time.perf_counter()
        for _ in range(steps):
            batch = self.program.batch(self.split, self.order, self.key, self.state.step)
            gradient = self.program.gradient(self.state, batch)
            self.state, metrics = self.program.update(self.state, gradient)
        self.loss = float(metrics.loss)
        return (time.perf_counter() - begun) / steps


def main(options: Options) -> int:
    """Print a row for each normaliser."""
    torch = None
    if options.torch_python:
        torch = TorchProcess(options.torch_python, "highest", script="gpt_torch.py")
        print(f"PyTorch {torch.about['torch']}, {torch.about['threads']} threads")
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}; medians of {options.turns}")
    print(
        "| GPT | parameters | bnjax ms | PyTorch ms | ratio | losses |\n|---|---|---|---|---|---|"
    )
    for norm in options.norms:
        loop = BnjaxLoop(norm, options.toy)
        ours, theirs, answer = [], [], {}
        for _ in range(options.turns + 1):
            ours.append(1e3 * loop.seconds(options.steps))
            if torch:
                request = {"norm": norm, "steps": options.steps, "toy": options.toy}
                answer = torch.ask(request)
                assert answer["parameters"] == loop.parameters, "not the same network"
                theirs.append(1e3 * answer["seconds"])
        own = statistics.median(ours[1:])
        other = statistics.median(theirs[1:]) if torch else float("nan")
        losses = f"{loop.loss:.2f}, {answer.get('loss', float('nan')):.2f}"
        cells = (norm, f"{loop.parameters:,}", f"{own:.1f}", f"{other:.1f}", f"{own / other:.2f}")
        print("|", " | ".join((*cells, losses)), "|", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
