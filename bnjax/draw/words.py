"""The words of captions: network, data, how it was trained, and which arms do not train."""

from collections.abc import Mapping
from typing import Any

from bnjax.frame.results import Run
from bnjax.judge.compare import why_not_trained

NETWORKS = {
    **{f"vgg{depth}": f"VGG-{depth}" for depth in (11, 13, 16, 19, 38)},
    "vgg38_residual": "VGG-38 with residual connections",
    "resnet": "ResNet",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "mlp": "Perceptron",
}
OPTIMIZERS = {"sgd": "SGD", "momentum": "SGD with momentum", "nesterov": "Nesterov momentum"}


def network(options: Mapping[str, Any]) -> str:
    """The network as a caption names it."""
    from bnjax.models import FAMILIES  # imports JAX and Flax, which drawing does not need

    model, dropout = options["model"], options["dropout"]
    family = FAMILIES.get(model)  # not there: another program registered it
    depth = options["depth"] or (family.depth if family else None)
    if model == "dln":
        return f"{depth} linear layers of 10×10"
    name = NETWORKS.get(model, model)
    words = f"{name}-{depth}" if options["depth"] or model == "resnet" else name
    if family and "width" in family.options:
        words += f" ×{options['width']:g}"
    return f"{words}, dropout {dropout:g}" if dropout else words


def subject(run: Run) -> str:
    """What was trained, on what and how long: the scale of what a figure shows."""
    return f"{network(run.options)}, {run.facts['dataset']}; {run.options['steps']:,} steps"


def setting(run: Run, *, lr: bool = True) -> str:
    """How it was trained: optimiser, batch size and, if `lr`, the learning rate."""
    name = run.options["optimizer"]
    rate = f" lr {run.options['lr']:g}" if lr else ""
    return f"{OPTIMIZERS.get(name, name.capitalize())}{rate}, batch {run.options['batch_size']}"


def unit(run: Run) -> str:
    """The loss's unit as an axis shows it."""
    return "[nat]" if run.options["objective"] == "cross_entropy" else ""


def spread(run: Run) -> str:
    """What a line is of the seeds."""
    seeds = len(run.seeds)
    return "one seed" if seeds == 1 else f"median over {seeds} seeds"


def untrained(run: Run) -> list[str]:
    """Arms whose curves must not be compared, and why; at most one line."""
    reasons = filter(None, (why_not_trained(run, norm) for norm in run.norms))
    return list(filter(None, ["; ".join(reasons)]))
