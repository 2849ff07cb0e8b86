"""PyTorch's plain loops for the jobs of bnjax, as a careful user writes them; a process of its own.

Speaks JSON lines: a job `{"model", "norm", "width", "batch", "job", "points", "layers"}` comes in,
`{"seconds"}` or `{"error"}` goes out, so that the caller can take turns with it. Weights move in
place, nothing is copied without need, every gradient stops at the layer that is asked for.
"""

import functools
import json
import os
import resource
import sys
import time

import torch
from torch import nn

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
CHANNELS = (64, 128, 256, 512, 512)
PRECISION = sys.argv[1] if len(sys.argv) > 1 else "highest"  # highest, default or bfloat16


class Network(nn.Module):
    """A VGG for 32×32 images; `layers` are its weight layers in order."""

    def __init__(self, depth: int, width: float, norm: str, hidden: tuple[int, ...]) -> None:
        super().__init__()
        body: list[nn.Module] = []
        self.layers: list[list[nn.Module]] = []
        channels = 3
        for convolutions, full in zip(STAGES[depth], CHANNELS, strict=True):
            features = max(1, round(full * width))
            for _ in range(convolutions):
                layer: list[nn.Module] = [nn.Conv2d(channels, features, 3, padding=1)]
                if norm == "batch":
                    layer.append(nn.BatchNorm2d(features))
                body += [*layer, nn.ReLU(inplace=True)]
                self.layers.append(layer)
                channels = features
            body.append(nn.MaxPool2d(2))
        body.append(nn.Flatten())
        for features in (*hidden, 10):
            dense = nn.Linear(channels, features)
            body.append(dense)
            self.layers.append([dense])
            channels = features
            if features != 10:
                body.append(nn.ReLU(inplace=True))
        self.body = nn.Sequential(*body)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.body(images)


class Jobs:
    """One network with its batch, and the jobs to time."""

    def __init__(self, model: str, norm: str, width: float, batch: int) -> None:
        torch.manual_seed(0)
        hidden = (512, 512) if model == "vggA" else ()
        depth = 11 if model == "vggA" else int(model.removeprefix("vgg"))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.network = Network(depth, width, norm, hidden).to(device).train()
        images = torch.randn(batch, 3, 32, 32, device=device)
        if device == "cuda" or os.environ.get("CHANNELS_LAST") == "1":
            self.network = self.network.to(memory_format=torch.channels_last)
            images = images.to(memory_format=torch.channels_last)
        self.images = images
        self.labels = torch.randint(10, (batch,), device=device)
        self.params = list(self.network.parameters())
        self.step_size = 0.001

    def loss(self) -> torch.Tensor:
        """The loss at the network's present weights."""
        kind = self.images.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=PRECISION == "bfloat16"):
            logits = self.network(self.images)
        return nn.functional.cross_entropy(logits.float(), self.labels)

    def gradient(self) -> list[torch.Tensor]:
        """All gradients, fresh tensors."""
        return list(torch.autograd.grad(self.loss(), self.params))

    def move(self, direction: list[torch.Tensor], step_size: float) -> None:
        """Move the weights in place."""
        with torch.no_grad():
            torch._foreach_add_(self.params, direction, alpha=-step_size)

    def train_step(self, **_: object) -> None:
        """One step of SGD."""
        self.move(self.gradient(), self.step_size)

    def landscape(self, points: int, **_: object) -> list[float]:
        """One training step, and losses and gradients at `points` points along its gradient."""
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        kept = [p.detach().clone() for p in self.params]
        centre = self.gradient()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(centre)))
        rows = []
        for index in range(points):
            step_size = self.step_size * 2 ** (index / points)
            with torch.no_grad():
                torch._foreach_copy_(self.params, kept)
            self.move(centre, step_size)
            value = self.loss()
            there = torch.autograd.grad(value, self.params)
            difference = torch._foreach_sub(there, centre)
            distance = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(difference)))
            rows.append((value.item(), distance.item(), (distance / (step_size * norm)).item()))
        with torch.no_grad():
            torch._foreach_copy_(self.params, kept)
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
        self.move(centre, self.step_size)
        return [value for row in rows for value in row]

    def landscape_at_best(self, points: int, **_: object) -> torch.Tensor:
        """`landscape` without a word to the host; on a GPU all of it is one CUDA graph."""
        if self.images.device.type != "cuda":
            return self.points_without_host(points)
        if not hasattr(self, "graph"):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # warm-up, as capture wants it
                for _repeat in range(3):
                    self.points_without_host(points)
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.measured = self.points_without_host(points)
        self.graph.replay()
        return self.measured

    def points_without_host(self, points: int) -> torch.Tensor:
        """One training step and `points` points, their numbers left on the device."""
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        kept = [p.detach().clone() for p in self.params]
        centre = self.gradient()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(centre)))
        rows = []
        for index in range(points):
            step_size = self.step_size * 2 ** (index / points)
            with torch.no_grad():
                torch._foreach_copy_(self.params, kept)
            self.move(centre, step_size)
            value = self.loss()
            there = torch.autograd.grad(value, self.params)
            difference = torch._foreach_sub(there, centre)
            distance = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(difference)))
            rows.append(torch.stack([value.detach(), distance, distance / (step_size * norm)]))
        with torch.no_grad():
            torch._foreach_copy_(self.params, kept)
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
        self.move(centre, self.step_size)
        return torch.stack(rows)

    def losses(self, points: int, **_: object) -> list[float]:
        """Losses alone along the gradient, which is given."""
        if not hasattr(self, "direction"):
            self.direction = self.gradient()
        kept = [p.detach().clone() for p in self.params]
        values = []
        with torch.no_grad():
            for index in range(points):
                torch._foreach_copy_(self.params, kept)
                torch._foreach_add_(
                    self.params, self.direction, alpha=-self.step_size * (index + 1)
                )
                values.append(self.loss().item())
            torch._foreach_copy_(self.params, kept)
        return values

    def shift(self, layers: int, **_: object) -> list[float]:
        """Internal covariate shift of the last of `layers` layers, spread evenly; 0 means all."""
        before = self.gradient()
        kept = [p.detach().clone() for p in self.params]
        self.move(before, self.step_size)
        moved = [p.detach().clone() for p in self.params]
        positions = {id(p): index for index, p in enumerate(self.params)}
        groups = [
            [positions[id(p)] for module in layer for p in module.parameters()]
            for layer in self.network.layers
        ]
        count = len(groups)
        chosen = (
            range(count) if not layers else [count * (k + 1) // (layers + 1) for k in range(layers)]
        )
        distances = []
        for layer in chosen:
            below = {index for group in groups[:layer] for index in group}
            with torch.no_grad():
                for index, parameter in enumerate(self.params):
                    parameter.copy_(moved[index] if index in below else kept[index])
            # Only this layer asks for a gradient, so the backward pass stops there.
            own = set(groups[layer])
            for index, parameter in enumerate(self.params):
                parameter.requires_grad_(index in own)
            after = torch.autograd.grad(
                self.loss(), [self.params[index] for index in groups[layer]]
            )
            difference = [a - before[index] for a, index in zip(after, groups[layer], strict=True)]
            distances.append(
                torch.linalg.vector_norm(torch.stack(torch._foreach_norm(difference))).item()
            )
        for parameter in self.params:
            parameter.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_copy_(self.params, kept)
        return distances

    def curvature(self, points: int, **_: object) -> float:
        """`points` Hessian-vector products of a power iteration."""
        vector = [torch.randn_like(p) for p in self.params]
        value = torch.zeros(())
        for _index in range(points):
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(vector)))
            vector = torch._foreach_div(vector, norm)
            gradient = torch.autograd.grad(self.loss(), self.params, create_graph=True)
            product = torch.autograd.grad(gradient, self.params, grad_outputs=vector)
            value = sum((a * b).sum() for a, b in zip(product, vector, strict=True))
            vector = list(product)
        return value.item()


@functools.lru_cache(maxsize=1)
def jobs(model: str, norm: str, width: float, batch: int) -> Jobs:
    """The network that the last requests were about."""
    return Jobs(model, norm, width, batch)


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    torch.set_flush_denormal(os.environ.get("FLUSH_DENORMAL", "1") == "1")
    torch.set_float32_matmul_precision("highest" if PRECISION == "highest" else "high")
    torch.backends.cudnn.allow_tf32 = PRECISION != "highest"
    torch.backends.cudnn.benchmark = True
    print(json.dumps({"torch": torch.__version__, "cuda": torch.cuda.is_available()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        name = request.pop("job")
        subject = jobs(*(request.pop(key) for key in ("model", "norm", "width", "batch")))
        started = time.perf_counter()
        getattr(subject, name)(**request)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "mebibytes": memory}), flush=True)


if __name__ == "__main__":
    main()
