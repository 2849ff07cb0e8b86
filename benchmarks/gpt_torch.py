"""The character GPT of `bnjax.models.gpt` in a plain PyTorch loop; a process of its own.

Speaks JSON lines: `{"norm", "steps", "toy"}` comes in, `{"seconds", "loss", "parameters"}` of a
step goes out. As a careful user writes it for a CPU: one product for queries, keys and values,
fused causal attention, AdamW over all tensors at once, batches drawn by index from one tensor.
"""

import functools
import gzip
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

TEXT = Path(__file__).parents[1] / "bnjax" / "data" / "shakespeare.txt.gz"
HEADS, BATCH = 4, 12


class Block(nn.Module):
    """Attention and a perceptron, each behind its normaliser."""

    def __init__(self, width: int, norm: type[nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.attention, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens through both branches."""
        batch, length, width = x.shape
        parts = self.attention(self.norms[0](x)).split(width, dim=2)
        heads = (part.view(batch, length, HEADS, -1).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        hidden = functional.gelu(self.up(self.norms[1](x)), approximate="tanh")
        return x + self.down(hidden)


class Loop:
    """A network, its data and its optimiser."""

    def __init__(self, norm: str, toy: bool) -> None:
        torch.manual_seed(0)
        context, width, blocks = (8, 16, 1) if toy else (64, 128, 4)
        text = gzip.decompress(TEXT.read_bytes()).decode("ascii")
        places = {character: place for place, character in enumerate(sorted({*text}))}
        tokens = torch.tensor([places[character] for character in text[: 9 * len(text) // 10]])
        count = (len(tokens) - 1) // context
        self.inputs, self.labels = (
            tokens[start : start + count * context].view(count, context) for start in (0, 1)
        )
        kind = {"layer": nn.LayerNorm, "none": nn.Identity}[norm]
        self.network = nn.ModuleDict(
            {
                "tokens": nn.Embedding(len(places), width),
                "positions": nn.Embedding(context, width),
                "blocks": nn.Sequential(*(Block(width, kind) for _ in range(blocks))),
                "norm": kind(width),
                "output": nn.Linear(width, len(places)),
            }
        )
        self.positions = torch.arange(context)
        self.order, self.step = torch.randperm(count), 0
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.0)

    def loss(self) -> torch.Tensor:
        """The loss of the next batch."""
        chosen = self.order[BATCH * self.step % (len(self.order) - BATCH) :][:BATCH]
        parts, inputs, labels = self.network, self.inputs[chosen], self.labels[chosen]
        x = parts["tokens"](inputs) + parts["positions"](self.positions)
        logits = parts["output"](parts["norm"](parts["blocks"](x)))
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def run(self, steps: int) -> dict[str, float]:
        """Some training steps."""
        begun = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss()
            loss.backward()
            self.optimizer.step()
            self.step += 1
        found = loss.item()
        seconds = (time.perf_counter() - begun) / steps
        parameters = sum(one.numel() for one in self.network.parameters())
        return {"seconds": seconds, "loss": found, "parameters": parameters}


loops = functools.lru_cache(maxsize=1)(Loop)


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    torch.set_flush_denormal(os.environ.get("FLUSH_DENORMAL", "1") == "1")
    about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = loops(request["norm"], request["toy"]).run(request["steps"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
