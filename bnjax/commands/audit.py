"""Which weights of a network are scale-invariant, in float64 on a few batches of a data set.

    bnjax audit --model vgg5 --norm batch
    bnjax audit --model resnet --depth 8 --norm layer --lr 0.1 --weight-decay 5e-4 --momentum 0.9
    bnjax audit --model gpt --norm layer --place peri --qk-norm
    bnjax audit --plugins my_norm.py --norm tanh --json

`bnjax.audit(loss, params, key)` audits any other model.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bnjax.choices import DatasetName
from bnjax.commands import command_line
from bnjax.commands.command_line import guarded
from bnjax.errors import require
from bnjax.frame import options as option_groups
from bnjax.frame import study as studies

OWN_DATA = {"dln": "gaussian", "gpt": "shakespeare", "vit": "digits8"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(
    option_groups.Network, option_groups.Initializer, option_groups.Attention, option_groups.Text
):
    """What to audit, and where."""

    model: str = "vgg5"
    """Network: vgg5 vgg11 vgg13 vgg16 vgg19 vgg38 vgg38_residual resnet lenet alexnet mlp dln gpt
    vit, or what --plugins add."""
    norm: str = "batch"
    """Normaliser: none batch layer group instance rms unitize weight_standard weight_norm l1 l2
    linf noisy_batch noise dyt derf, of transformers skipinit, or what --plugins add."""
    plugins: tuple[Path, ...] = ()
    """Python files that register further normalisers or networks; they are run."""
    width: float = 0.25
    """Factor on the network's channels; 1 is the full network."""
    dataset: DatasetName | None = None
    """Data set (default: digits; of dln gaussian, with the squared error; of gpt shakespeare; of
    vit digits8)."""
    data_dir: Path | None = None
    """Folder of prepared data sets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    batch_size: int = 16
    """Examples of a batch, over which BatchNorm takes its statistics."""
    batches: int = 2
    """Batches that the draws take in turn."""
    draws: int = 8
    """Random points around the initial parameters."""
    seed: int = 0
    """Of the initial parameters and of the draws."""
    lr: float | None = None
    """Learning rate, for effective rates and the equilibrium angle."""
    weight_decay: float = 0.0
    """For the equilibrium angle."""
    momentum: float = 0.0
    """Of SGD, for the equilibrium angle."""
    b1: float | None = None
    """Of AdamW, for the equilibrium angle; without it that of SGD."""
    json: bool = False
    """Print one JSON document."""
    debug: bool = False
    """Show tracebacks."""


def audit(options: Options) -> Any:
    """The `Audit` of a network of bnjax."""
    require("--draws", options.draws, options.draws >= 2, "2 or more, e.g. 8")
    require("--batches", options.batches, options.batches >= 1, "1 or more")
    decays = options.weight_decay or options.momentum or options.b1 is not None
    expected = "given with --weight-decay, --momentum or --b1, e.g. 0.1"
    require("--lr", options.lr, not decays or options.lr is not None, expected)
    for group in (option_groups.Network, option_groups.Text):
        group.check(options)
    studies.load_plugins(options.plugins)
    import jax

    from bnjax import data, losses, probes
    from bnjax.arithmetic.trees import cast_floating
    from bnjax.frame.arm import build_model

    with jax.enable_x64(True), studies.answering_for_plugins():
        name = options.dataset or OWN_DATA.get(options.model, "digits")
        dataset = data.load(name, options.data_dir, context=options.context, text=options.text)
        network = SimpleNamespace(**vars(options), dropout=0.0)  # its units would be random
        model = build_model(network, options.norm, dataset.num_classes)
        size, split = options.batch_size, dataset.train
        pipeline = data.make_pipeline(dataset, size)
        most = split.labels.shape[0] // size
        require("--batches", options.batches, options.batches <= most, f"at most {most}")
        pipeline = dataclasses.replace(pipeline, dtype="float64")
        key = jax.random.key(options.seed)
        places = [slice(i * size, (i + 1) * size) for i in range(options.batches)]
        batches = [
            (pipeline.standardise(split.pixels[at]), cast_floating(split.labels[at], "float64"))
            for at in places
        ]
        variables = model.init(key, batches[0][0].astype(dataset.example[1]))
        variables = cast_floating(variables, "float64")
        objective = losses.squared_error if dataset.is_regression else losses.cross_entropy

        def loss(params: Any, images: Any, labels: Any) -> Any:
            batch = data.Batch(images, labels, key)
            stats = variables["batch_stats"]
            return losses.on_batch(model, stats, batch, objective=objective)(params)

        return probes.audit(
            loss,
            variables["params"],
            key,
            batches=batches,
            draws=options.draws,
            learning_rate=options.lr,
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            b1=options.b1,
        )


def as_json(found: Any) -> str:
    """The audit as one JSON document; a number that is not finite is null."""
    rows = [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row._asdict().items()
        }
        for row in found.groups
    ]
    return json.dumps({**found._asdict(), "groups": rows}, ensure_ascii=False, indent=1)


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = command_line.typed() if arguments is None else arguments

    def act() -> None:
        options = command_line.parse_options(Options, arguments, "audit", __doc__ or "")
        found = audit(options)
        print(as_json(found) if options.json else found)

    return guarded(act, arguments)
