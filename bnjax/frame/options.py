"""Groups of options. A study composes those that it needs; each group checks its own values.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options(options.Training, options.LearningRate):
        layers: tuple[str, ...] = ("conv5",)
        \"\"\"Layers to show.\"\"\"

        def check(self):
            require("--layers", " ".join(self.layers), len(self.layers) > 0, "one or more layers")

The settings of publications stand at the end. Nothing here imports JAX: options are parsed and
`--help` is printed without it.
"""

import ctypes
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from bnjax.choices import (
    COLOUR_DATASETS,
    EMBEDDED,
    LINEAR_DATASETS,
    MODELS,
    TEXT_DATASETS,
    DatasetName,
    InitializerName,
    ObjectiveName,
    OptimizerName,
    PixelScale,
    PlaceName,
    Precision,
)
from bnjax.errors import UsageError, needs, require

with needs("studies"):
    import tyro

    from bnjax.frame.messages import printable

MOST = 10**7  # steps
MOST_SEEDS = 10_000
MOST_DEVICES = 65_536
MOST_HIDDEN = 65_536  # channels of a layer
LARGEST_WHOLE = 2**31
LEAST_SINGLE, LARGEST_SINGLE = 1.2e-38, 3.4e38  # that float32 holds with all its digits
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution:
    """How a run is carried out, kept and shown. None of it changes results or the run's folder."""

    published: Path | None = None
    """CSV of published curves to draw over the measured ones (panel,series,step,low,high)."""
    plan: bool = False
    """Estimate time, memory and disk, then exit."""
    tensorboard: bool = False
    """Write event files for TensorBoard into the run's folder, too."""
    checkpoint_minutes: float = 1.0
    """Minutes between checkpoints of an arm (0: after every step), more if saving would take over
    2 % of the time."""
    checkpoint_steps: int = 0
    """Steps between checkpoints, if that is sooner (0: by time only)."""
    checkpoints_kept: int = 2
    """Checkpoints kept of each arm; if one is damaged, the one before is used."""
    data_devices: int = 1
    """Devices over which a batch is spread; statistics stay those of the whole batch. The other
    devices take other arms and seeds at the same time."""
    probe_devices: int = 1
    """Devices over which the points of a probe are spread."""
    distributed: bool = False
    """Join a job of several processes (SLURM, Open MPI, GKE, TPU pod, or JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES, JAX_PROCESS_ID)."""
    heartbeat_seconds: int = 20
    """Seconds without a sign of life after which a process of a job counts as dead."""
    deterministic: bool = False
    """Give the same bits on a GPU each time, somewhat slower; a CPU always does."""
    out: Path = Path("runs")
    """Folder of all runs; this one goes to OUT/<study>/<digest of the options>."""
    fresh: bool = False
    """Set an existing run of the same options aside and begin anew."""
    redraw: bool = False
    """Judge and draw a finished run again from its arrays."""
    accept_changes: bool = False
    """Go on with a run though its data, code, settings or versions have changed; the change is
    recorded."""
    debug: bool = False
    """Show tracebacks."""

    def check(self) -> None:
        minutes = self.checkpoint_minutes
        require("--checkpoint-minutes", minutes, 0 <= minutes < math.inf, "0 or more")
        steps = self.checkpoint_steps
        require("--checkpoint-steps", steps, steps >= 0, "0 or more")
        require_range("--checkpoints-kept", self.checkpoints_kept, 2, 1000)
        require_range("--heartbeat-seconds", self.heartbeat_seconds, 5, 3600)
        require_range("--data-devices", self.data_devices, 1, MOST_DEVICES)
        require_range("--probe-devices", self.probe_devices, 1, MOST_DEVICES)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Path):
                    require_path(option_name(field.name), one)


EXECUTION = frozenset(field.name for field in dataclasses.fields(Execution))
# What `--help` shows beside a study's own options, in this order; `--help-all` shows the others.
MOST_USED = (
    "preset", "norms", "model", "width", "dataset", "data_dir", "lr", "optimizer", "batch_size",
    "steps", "seeds", "probe_every", "config", "plan", "out",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base(Execution):
    """What every study needs: arms and seeds, a network, data, and when to measure."""

    preset: str = "quick"
    """quick: minutes on two cores. paper: the setting of the publication's text. toy: seconds, to
    see that all works."""
    norms: tuple[str, ...] = ("none", "batch")
    """The arms: one network for each normaliser, alike in all else: none batch layer group instance
    rms unitize weight_standard weight_norm l1 l2 linf noisy_batch noise dyt derf, of transformers
    skipinit, or what --plugins add."""
    plugins: tuple[Path, ...] = ()
    """Python files that register further normalisers (bnjax.norms.register) or networks
    (bnjax.models.register); they are run."""
    seeds: int = 1
    """Number of seeds; each gives an initialisation and an order of the data to all arms."""
    seed: int = 0
    """The first seed."""
    model: str = "vgg11"
    """Network: vgg5 vgg11 vgg13 vgg16 vgg19 vgg38 vgg38_residual resnet lenet alexnet mlp, dln (the
    deep linear one, 25 layers of 10×10, with presets of its own), the transformers gpt (of
    characters, where a study has presets of it) and vit (of 4×4 patches), or what --plugins add."""
    width: float = 0.25
    """Factor on the network's channels; 1 is the full network."""
    dataset: DatasetName = "digits"
    """Data set: digits (32×32 pixels), digits16, digits8, binary_digits and shakespeare (text) are
    embedded; gaussian and gaussian_positive are generated (linear targets of a matrix with Gaussian
    or with positive entries), mnist1d by the package of that name; the others are read from
    prepared tensorflow-datasets. binary_… have pixels 0 or 1 (8×8 and 28×28); these and mnist1d are
    for perceptrons."""
    data_dir: Path | None = None
    """Folder of prepared data sets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    pixel_scale: PixelScale = "standardised"
    """Images that the network gets: standardised (mean 0 and deviation 1 of each channel over the
    training set), per_image (of all pixels of each image) or unscaled (grey levels 0 to 255)."""
    objective: ObjectiveName = "cross_entropy"
    """Training loss."""
    steps: int = 200
    """Training steps."""
    microbatches: int = 1
    """Parts of a batch whose gradients are computed one after the other, to save memory."""
    weight_decay: float = 0.0
    """L2 coefficient of training on all parameters, added to the gradient (per step and unit of
    lr)."""
    kernel_penalty: float = 0.0
    """C of the penalty C·Σ kernel², part of the loss that is trained and probed (the published
    losses contain 2e-4); recorded training and test losses are without it. In plain SGD a weight
    decay of 2·C on kernels alone."""
    lr_drops: tuple[float, ...] = ()
    """When the learning rate is divided by 10: shares of the run if below 1, else steps, e.g. 0.5
    0.75."""
    precision: Precision = "default"
    """Matrix-product precision of training (TF32 on GPUs and bfloat16 on TPUs by default);
    bfloat16: of its whole network. Parameters, statistics and loss stay in 32 bits."""
    probe_every: int = 5
    """Steps between probes."""
    evaluate_every: int = 50
    """Steps between evaluations on the whole test set."""
    watch: int = 0
    """Steps between rows of the flight recorder (0: none): norms, rotation and update of each
    layer's kernel, and the critical step, each row at the cost of about six forward passes."""

    def check(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = value if isinstance(value, tuple) else (value,)
            legal = all(not isinstance(n, int) or abs(n) < LARGEST_WHOLE for n in whole)
            require(option_name(field.name), value, legal, f"below {LARGEST_WHOLE}")
            for number in whole:
                if isinstance(number, float) and number and math.isfinite(number):
                    require_single(option_name(field.name), number)
        require("--width", self.width, 0 < self.width <= 16, "above 0 and at most 16, e.g. 0.25")
        decay = self.weight_decay
        require("--weight-decay", decay, 0 <= decay < math.inf, "0 or more")
        penalty = self.kernel_penalty
        require("--kernel-penalty", penalty, 0 <= penalty < math.inf, "0 or more and finite")
        most = {"steps": MOST, "seeds": MOST_SEEDS, "probe_every": MOST, "evaluate_every": MOST}
        for name, limit in most.items():
            require_range(option_name(name), getattr(self, name), 1, limit)
        require_range("--watch", self.watch, 0, MOST)
        last = LARGEST_WHOLE - self.seeds
        require("--seed", self.seed, 0 <= self.seed <= last, f"from 0 to {last}")
        for drop in self.lr_drops:
            require("--lr-drops", drop, math.isfinite(drop), "finite")
        drops = self.drop_steps
        legal = all(0 < drop < self.steps for drop in drops) and drops == sorted(set(drops))
        shown = " ".join(f"{drop:g}" for drop in self.lr_drops)
        expected = f"rising shares of the run between 0 and 1, or steps below {self.steps}"
        require("--lr-drops", shown, legal, expected)
        distinct = len(set(self.norms)) == len(self.norms) > 0
        require("--norms", " ".join(self.norms), distinct, "one or more different normalisers")
        if self.data_dir is not None:
            try:
                is_folder = self.data_dir.expanduser().is_dir()
            except (OSError, RuntimeError):  # a name that is too long, the home of nobody
                is_folder = False
            require("--data-dir", self.data_dir, is_folder, "a folder of prepared data sets")
        if self.dataset in (*EMBEDDED, *LINEAR_DATASETS) and self.data_dir is not None:
            raise UsageError(f"--data-dir has no use with --dataset {self.dataset}: leave it out")
        if (self.model == "dln") != (self.dataset in LINEAR_DATASETS):
            raise UsageError(
                f"--model {self.model} does not go with --dataset {self.dataset}: the deep linear "
                "network and the Gaussian data need each other; in studies that have presets "
                "of it, --model dln alone chooses both"
            )
        self.check_text()
        without = (*LINEAR_DATASETS, *TEXT_DATASETS, "mnist1d")
        grey = not self.dataset.startswith("binary_") and self.dataset not in without
        legal = grey or self.pixel_scale == "standardised"
        expected = f"standardised with --dataset {self.dataset}, which has no grey levels"
        require("--pixel-scale", self.pixel_scale, legal, expected)
        if self.preset == "published" and self.dataset not in COLOUR_DATASETS:
            raise UsageError(
                f"--dataset {self.dataset}: --preset published needs colour images of 32×32 "
                f"pixels: give {' or '.join(COLOUR_DATASETS)}"
            )
        legal = self.dataset not in LINEAR_DATASETS or self.objective != "cross_entropy"
        expected = "a squared error with --dataset gaussian…, which has no classes"
        require("--objective", self.objective, legal, expected)

    def check_text(self) -> None:
        """Refuse text where a study or a network is of images, and images where it is of text."""
        is_text, takes_text = self.dataset in TEXT_DATASETS, isinstance(self, Transformer)
        if not takes_text and (is_text or self.model == "gpt"):
            raise UsageError(
                f"--model {self.model} --dataset {self.dataset}: this study measures networks of "
                "images alone, and gpt reads text: give another network and images"
            )
        if is_text != (self.model == "gpt") and self.model in MODELS:
            raise UsageError(
                f"--model {self.model} does not go with --dataset {self.dataset}: gpt and "
                f"{' '.join(TEXT_DATASETS)} need each other, and --model gpt alone chooses both in "
                "the presets quick and toy"
            )
        if is_text and getattr(self, "augment", False):
            raise UsageError(f"--augment: --dataset {self.dataset} has no images: leave it out")

    @property
    def drop_steps(self) -> list[int]:
        """The steps, counted from 0, from which on the learning rate is a tenth of before."""
        return [round(d * self.steps) if d < 1 else int(d) for d in self.lr_drops]

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        """The factors in which arms differ with their values, in the order of the results' axes."""
        return {"norm": self.norms}

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What an arm has in place of the run's options.

        Args:
          values: the arm's value of each factor, e.g. `{"norm": "batch", "lr": 0.1}`.
        """
        names = {field.name for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if name in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """Depth, head and first biases of a network."""

    depth: int | None = None
    """Weight layers of resnet (6D + 2; default 20), mlp (4) and dln (25); blocks of gpt and vit
    (4)."""
    hidden: tuple[int, ...] = ()
    """Channels of hidden dense layers before the classifier of vgg5 … vgg19, which --width does not
    scale, e.g. 4096 4096."""
    bias_init: float = 0.0
    """Initial value of the biases of weight layers (not of a normaliser's β)."""

    def check(self) -> None:
        legal = all(1 <= features <= MOST_HIDDEN for features in self.hidden)
        shown = " ".join(map(str, self.hidden))
        require("--hidden", shown, legal, f"from 1 to {MOST_HIDDEN} each, e.g. 4096 4096")
        require("--bias-init", self.bias_init, math.isfinite(self.bias_init), "finite, e.g. 0.1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
    """How a transformer is built."""

    place: PlaceName = "pre"
    """Place of the normaliser n beside a branch f of gpt and vit: pre, x + f(n(x)); post,
    n(x + f(x)); peri, x + n(f(n(x)))."""
    qk_norm: bool = False
    """RMSNorm of queries and keys, head by head."""
    heads: int = 4
    """Heads of the attention, which divide the channels (128 at --width 1)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """The text that a transformer reads."""

    context: int = 64
    """Characters of a window of text."""
    text: Path | None = None
    """Text file in UTF-8 in place of Shakespeare."""

    def check(self: Any) -> None:
        require_range("--context", self.context, 2, MOST_HIDDEN)
        if self.text is not None and self.dataset not in (None, *TEXT_DATASETS):
            raise UsageError(
                f"--text {self.text}: has no use with --dataset {self.dataset}: give --model gpt"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformer(Attention, Text):
    """Transformers, their text and loss. A study without this group is of images alone."""

    z_loss: float = 0.0
    """C of C·(log Σ exp logits)², added to each cost, also in recorded losses (PaLM: 1e-4)."""

    def check(self: Any) -> None:
        require("--z-loss", self.z_loss, 0 <= self.z_loss < math.inf, "0 or more and finite")
        legal = not self.z_loss or self.objective == "cross_entropy"
        require("--z-loss", self.z_loss, legal, "0 beside a squared error, which has no softmax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regularisation:
    """Dropout and augmentation."""

    dropout: float = 0.0
    """Share of the units that are dropped before dense layers, when training."""
    augment: bool = False
    """Random flips and translations by up to 4 pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initializer:
    """The initialiser of kernels."""

    initializer: InitializerName = "glorot_uniform"
    """Initialisation of kernels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The optimiser."""

    optimizer: OptimizerName = "sgd"
    """Optimiser; the publication: plain SGD. Momentum is 0.9. muon is of kernels of hidden layers
    (momentum 0.95, updates of Adam's size), Adam of all else."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchSize:
    """The size of a batch."""

    batch_size: int = 128
    """Examples a step."""

    def check(self) -> None:
        require("--batch-size", self.batch_size, self.batch_size >= 1, "1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(Network, Regularisation, Initializer, Optimizer, BatchSize, Base):
    """All that trains a network but the learning rate: `LearningRate` or `LearningRates`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningRate:
    """One learning rate."""

    lr: Annotated[float, tyro.conf.arg(aliases=["--learning-rate"])] = 0.1
    """Learning rate (of plain SGD: parameter units per gradient unit)."""

    def check(self) -> None:
        require("--lr", self.lr, 0 < self.lr < math.inf, "above 0 and finite, e.g. 0.1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningRates:
    """One or several learning rates, each with arms and claims of its own."""

    lr: Annotated[
        tuple[float, ...], tyro.conf.arg(aliases=["--lrs", "--learning-rate", "--learning-rates"])
    ] = (0.1,)
    """Learning rates (of plain SGD: parameter units per gradient unit); several make a factor."""

    def check(self) -> None:
        names = [f"{rate:g}" for rate in self.lr]  # of figures and claims
        legal = len(set(names)) == len(names) > 0 and all(0 < lr < math.inf for lr in self.lr)
        expected = "one or more different learning rates above 0 and finite, e.g. 0.1"
        require("--lr", " ".join(names), legal, expected)

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        several = {"lr": self.lr} if len(self.lr) > 1 else {}
        return {**super().factors, **several}  # type: ignore[misc]

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"lr": self.lr[0], **super().settings(values)}  # type: ignore[misc]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A target of training to which steps are counted."""

    target_accuracy: float = 0.9
    """Training accuracy, above 0 and at most 1, to which steps are counted."""
    target_loss: float | None = None
    """Training loss to which steps are counted, in place of --target-accuracy."""
    window: int = 11
    """Training loss and accuracy are medians over so many last minibatches."""

    def check(self: Any) -> None:
        accuracy, loss = self.target_accuracy, self.target_loss
        require("--target-accuracy", accuracy, 0 < accuracy <= 1, "above 0 and at most 1, e.g. 0.9")
        positive = loss is None or 0 < loss < math.inf
        require("--target-loss", loss, positive, "above 0 and finite, e.g. 0.5")
        known = loss is not None or self.model != "dln"
        require("--target-loss", loss, known, "a number, e.g. 5000: there is no accuracy here")
        require_range("--window", self.window, 1, self.steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbePrecision:
    """The precision of probes."""

    probe_precision: Precision = "highest"
    """Matrix-product precision of the probes; bfloat16: of the network that they see."""


def check(options: Any) -> None:
    """Have every group of a study's options check its values, the most general first."""
    for kind in reversed(type(options).__mro__):
        if "check" in vars(kind):
            vars(kind)["check"](options)


def option_name(field: str) -> str:
    """An option as it is typed: `--probe-every`.

    Example:
      >>> option_name("probe_every")
      '--probe-every'
    """
    return f"--{field.replace('_', '-')}"


def require_range(option: str, value: int | float, least: int, most: int) -> None:
    require(option, value, least <= value <= most, f"from {least} to {most}")


def require_single(option: str, value: float) -> None:
    """Refuse a number that would be 0 or infinite in float32, in which networks compute."""
    legal = LEAST_SINGLE <= abs(value) <= LARGEST_SINGLE
    expected = f"from {LEAST_SINGLE:g} to {LARGEST_SINGLE:g} in size: float32 has no other number"
    require(option, value, legal, expected)


def require_path(option: str, path: Path) -> None:
    """Refuse a path that is no text, or that file systems do not hold."""
    text = str(path)
    try:
        names = [name.encode() for name in text.split("/")]
        legal = "\0" not in text and max(map(len, names)) <= LONGEST_NAME
        legal = legal and len(text.encode()) <= LONGEST_PATH
    except UnicodeEncodeError:
        legal = False
    expected = f"a path in UTF-8, each name of at most {LONGEST_NAME} bytes"
    require(option, printable(path, 100), legal, expected)


def require_distinct(option: str, values: Sequence[Any], expected: str) -> None:
    legal = len(set(values)) == len(values) > 0
    require(option, " ".join(map(str, values)), legal, expected)


def require_multiples(multiples: Sequence[float], *, least: Literal[1, 2] = 1) -> None:
    """Refuse multiples of a learning rate that are too few, not rising or not positive and finite.

    Example:
      >>> require_multiples((1.0,), least=2)
      Traceback (most recent call last):
      bnjax.errors.UsageError: --multiples 1: must be 2 or more above 0, rising, e.g. 0.5 1 2 4
    """
    legal = len(multiples) >= least and are_steps(multiples)
    shown = " ".join(f"{multiple:g}" for multiple in multiples)
    some = "2 or more above 0, rising, e.g. 0.5 1 2 4"
    one = "one or more above 0, rising, e.g. 0.1 1 10"
    require("--multiples", shown, legal, some if least > 1 else one)


def are_steps(sizes: Sequence[float]) -> bool:
    """Whether numbers are positive, finite and rising in float32, too.

    Example:
      >>> are_steps([0.5, 1.0]), are_steps([1.0, 1.0 + 1e-9]), are_steps([1e-46, 1.0])
      (True, False, False)
    """
    singles = [ctypes.c_float(size).value for size in sizes]
    rising = all(low < high for low, high in itertools.pairwise(singles))
    return rising and all(LEAST_SINGLE <= size <= LARGEST_SINGLE for size in singles)


def require_steps(rates: float | tuple[float, ...], steps: Sequence[float]) -> None:
    """Refuse step sizes, in units of each rate, that float32 does not tell apart or hold."""
    for rate in rates if isinstance(rates, tuple) else (rates,):
        shown = f"{steps[0]:g} … {steps[-1]:g} times --lr {rate:g}"
        expected = f"rising in float32, from {LEAST_SINGLE:g} to {LARGEST_SINGLE:g}"
        require("step sizes", shown, are_steps([rate * step for step in steps]), expected)


# Their §2 and appendix A: VGG on CIFAR-10, 15,000 steps of plain SGD; the depth is not stated, but
# a 13th convolution is plotted.
VGG: Mapping[str, Any] = {
    "dataset": "cifar10",
    "model": "vgg16",
    "width": 1.0,
    "steps": 15_000,
    "evaluate_every": 500,
}
# What its published curves were made with, as far as they tell: the losses contain this penalty,
# and Σ kernel² at the start is that of this network.
PUBLISHED_VGG: Mapping[str, Any] = {
    **VGG,
    "model": "vgg19",
    "hidden": (4096, 4096),
    "kernel_penalty": 2e-4,
}
# No publication's: a small setting in which all three effects on the landscape show at equal step
# and at equal loss, by factors of 1.25 and more on nine of nine seeds. Deeper networks and higher
# rates lose the half at equal loss, or become chaotic without normalisation.
QUICK: Mapping[str, Any] = {
    "model": "vgg5",
    "dataset": "digits16",
    "steps": 160,
    "seeds": 3,
    "evaluate_every": 40,
}
QUICK_RATE = 0.05
QUICK_LAYERS = ("conv2", "conv4")
# No publication's: a run of seconds that has all parts of a long one.
TOY: Mapping[str, Any] = {
    "model": "mlp",
    "width": 0.1,
    "steps": 6,
    "probe_every": 2,
    "evaluate_every": 3,
    "batch_size": 32,
}

# Their §2.2: 25 layers of 10×10, full batch. Data and objective are those that the published losses
# fit; the text says Gaussian entries (`--dataset gaussian`).
DEEP_LINEAR: Mapping[str, Any] = {
    "dataset": "gaussian_positive",
    "model": "dln",
    "objective": "summed_squared_error",
    "batch_size": 1000,
    "evaluate_every": 500,
}
DEEP_LINEAR_RATE = 1e-6
DEEP_LINEAR_STEPS = 10_000

# The transformer that nanoGPT gives for a CPU, on characters; a ViT of the same blocks.
GPT: Mapping[str, Any] = {
    "model": "gpt",
    "dataset": "shakespeare",
    "norms": ("none", "layer"),
    "width": 1.0,
    "batch_size": 12,
    "steps": 160,
    "evaluate_every": 80,
}
VIT: Mapping[str, Any] = {**GPT, "model": "vit", "dataset": "digits8", "batch_size": 128}
TOY_TRANSFORMER: Mapping[str, Any] = {
    "width": 0.125,
    "depth": 1,
    "batch_size": 4,
    **{name: TOY[name] for name in ("steps", "probe_every", "evaluate_every")},
}

# Frankle et al. 2020: 160 epochs of batches of 128, lr divided by 10 at epochs 80 and 120. Their
# inputs are standardised per pixel, here per channel.
RESNET: Mapping[str, Any] = {
    "model": "resnet",
    "norms": ("batch",),
    "optimizer": "momentum",
    "initializer": "he_normal",
    "lr_drops": (0.5, 0.75),
    "weight_decay": 1e-4,
    "augment": True,
    "width": 1.0,
}
RESNET_STEPS = 62_500


def deep_linear_presets(
    *, paper_probe_every: int | None = None, **quick: Any
) -> dict[str, dict[str, Any]]:
    """The presets `quick dln` and, longer but else alike, `paper dln` of the deep linear network.

    Example:
      >>> presets = deep_linear_presets(steps=2000, probe_every=20, lr=1e-6)
      >>> [(name, preset["steps"], preset["probe_every"]) for name, preset in presets.items()]
      [('quick dln', 2000, 20), ('paper dln', 10000, 20)]
    """
    short = {**DEEP_LINEAR, **quick}
    every = short["probe_every"] if paper_probe_every is None else paper_probe_every
    return {
        "quick dln": short,
        "paper dln": {**short, "steps": DEEP_LINEAR_STEPS, "probe_every": every},
    }


def transformer_presets(
    toy: Mapping[str, Any] = MappingProxyType({}), **quick: Any
) -> dict[str, dict[str, Any]]:
    """The presets `quick gpt`, `toy gpt`, `quick vit` and `toy vit`.

    Args:
      toy: what a study changes in the toys alone.
      quick: what it changes in all of them, e.g. `lr=(0.5,)`.

    Example:
      >>> presets = transformer_presets(lr=0.5)
      >>> [(name, preset["steps"], preset["lr"]) for name, preset in presets.items()][:2]
      [('quick gpt', 160, 0.5), ('toy gpt', 6, 0.5)]
    """
    found = {}
    for usual in (GPT, VIT):
        name, short = usual["model"], {**usual, **quick}
        found[f"quick {name}"] = short
        found[f"toy {name}"] = {**short, **TOY_TRANSFORMER, **toy}
    return found
