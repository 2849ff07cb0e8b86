"""What a study is: the one object that its command, its results, claims and figures hang on.

A study is a folder of `bnjax/studies`, or one file of yours. `STUDY = Study(__name__, …)` stands in
its `__init__.py` (or in the file) and loads no JAX. The parts are found by their names:

| part | in a folder | what it is |
|---|---|---|
| `probes(arm)` | `measure.py` | the probes that ride along, by name |
| `after(arm)` | `measure.py` | sweeps over the trained network, by name (optional) |
| `axes(options)` | `measure.py` | values of the study's own axes (optional) |
| `check_options(options)`, `check(options, dataset)` | `measure.py` | refuse (optional) |
| `build_model(options, norm, num_classes)` | `measure.py` | another network (optional) |
| `arm_data(options, dataset)` | `measure.py` | the data as an arm sees them (optional) |
| `select(options, shapes, seed)` | `measure.py` | which parameters are trained (optional) |
| `decays(options)` | `measure.py` | which parameters decay (optional) |
| `keep(arm, state)` | `measure.py` | arrays of the trained network, for a file (optional) |
| `fewer_points(options)` | `measure.py` | smaller chunks where memory is short (optional) |
| `CLAIMS` | `claims.py` | callables `run -> verdicts` |
| `FIGURES` | `figure.py` | callables `(run, published) -> drawings` |
"""

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from bnjax.choices import did_you_mean
from bnjax.errors import RunError, UsageError, told
from bnjax.frame import options as option_groups

PACKAGE = Path(__file__).resolve().parents[1]
STUDIES = PACKAGE / "studies"
PLACES = {"CLAIMS": "claims", "FIGURES": "figure"}  # all other parts: measure
MEASURING = (
    "probes", "after", "axes", "check", "build_model", "arm_data", "select", "decays", "keep",
    "fewer_points",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Study:
    """A study: question, source, options and presets; its parts are found beside it.

    Attributes:
      module: `__name__` of the module that makes it.
      question: what it asks, in one sentence.
      source: the publication.
      options: the class of its options, composed of the groups of `bnjax.frame.options`.
      presets: by name, the options that differ from the defaults. The first one is the default;
        `toy` takes seconds and shows that all works; a model may have presets of its own, named
        e.g. `quick dln`.
      reproduced: by model ("" for the presets' own), the options with which `bnjax reproduce` runs
        it.
      shown: variables whose newest values a terminal shows while it runs; empty: some of each
        probe.
      axis_labels: what people call the study's own axes, by name.
      parts: parts in place of those that would be found, by name.
    """

    module: str
    question: str
    source: str = ""
    options: type = option_groups.Training
    presets: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=lambda: {"quick": {}}
    )
    reproduced: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    shown: tuple[str, ...] = ()
    axis_labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def home(self) -> ModuleType:
        return sys.modules[self.module]

    @property
    def file(self) -> Path | None:
        """The file of its module; None where that was typed, e.g. into a notebook."""
        path = Path(getattr(self.home, "__file__", None) or "")
        return path.resolve() if path.is_file() else None

    @property
    def name(self) -> str:
        """The name of its command and of its folder of runs."""
        if self.module == "__main__":
            return Path(str(self.home.__file__)).stem
        return self.module.rpartition(".")[2]

    @property
    def description(self) -> str:
        """What `--help` says of it: the docstring of its module."""
        return inspect.getdoc(self.home) or self.question

    @property
    def is_shipped(self) -> bool:
        """Whether it is one of bnjax's own."""
        return self.module == f"bnjax.studies.{self.name}"

    def preset(self, name: str, model: str = "") -> Any:
        """The options of a preset.

        Args:
          name: of the preset.
          model: a network. `"quick dln"` is the preset of `dln`; `"quick"` names a network, and
            `"quick *"` is the preset of all others.

        Raises:
          UsageError: there is no such preset.
        """
        changes = self.presets.get(name)
        if model and changes is not None and model != changes.get("model"):
            changes = self.presets.get(f"{name} *", changes)
        changes = self.presets.get(f"{name} {model}", changes)
        if changes is None:
            known = dict.fromkeys(key.partition(" ")[0] for key in self.presets)
            raise UsageError(f"--preset {name}: must be {' or '.join(known)}")
        return self.options(preset=name, **changes)

    def part(self, name: str, default: Any = None) -> Any:
        """A part by its name: given, or found beside the study.

        Args:
          name: e.g. `probes` or `CLAIMS`.
          default: where the study has no such part.
        """
        if name in self.parts:
            return self.parts[name]
        home = self.home
        if hasattr(home, "__path__"):  # a folder
            place = PLACES.get(name, "measure")
            if not any((Path(folder) / f"{place}.py").exists() for folder in home.__path__):
                return default
            home = importlib.import_module(f"{self.module}.{place}")
        return getattr(home, name, default)

    @property
    def sources(self) -> list[Path]:
        """The files that the study is written in."""
        found = set() if self.file is None else {self.file}
        if self.file is not None and hasattr(self.home, "__path__"):
            found |= set(self.file.parent.rglob("*.py"))
        given = {file_of(part) for part in (self.options, *self.parts.values())}
        return sorted(found | {path for path in given if path and PACKAGE not in path.parents})

    @property
    def measuring(self) -> list[Path]:
        """The files that it is written in but those of its claims and figures."""
        apart = set()
        if self.file is not None and hasattr(self.home, "__path__"):
            apart = {self.file.with_name(f"{place}.py") for place in PLACES.values()}
        return [path for path in self.sources if path not in apart]

    @property
    def texts(self) -> list[str]:
        """The source of the parts that measure where they have no file, see `texts_of`."""
        seen = set[int]()
        return [text for name in MEASURING for text in texts_of(self.part(name), seen)]

    @property
    def script(self) -> str:
        """Where the study is written, and twelve digits of the SHA-256 of its code.

        `bnjax/studies/landscape 0123456789ab`; of a file elsewhere its name alone, also where it
        takes over most of a shipped study; nothing where it was typed into an interpreter.
        """
        if self.file is None:
            return ""
        sources = self.sources
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
        foreign = [path for path in sources if PACKAGE not in path.parents]
        name = foreign[0].name if foreign else f"bnjax/studies/{self.name}"
        return f"{name} {digest[:12]}"


def file_of(part: Any) -> Path | None:
    """The file that a function or class is written in; None where it was typed."""
    try:
        path = Path(inspect.getfile(inspect.unwrap(getattr(part, "func", part)))).resolve()
    except (TypeError, OSError):
        return None
    return path if path.is_file() else None


def texts_of(part: Any, seen: set[int]) -> Iterator[str]:
    """The source of a typed function or class, and of all that it uses; plain values as they are.

    `seen` has the identities of what was told already.
    """
    part = inspect.unwrap(getattr(part, "func", part))
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, bool | int | float | complex | str | bytes):
        yield repr(part)
    if inspect.isclass(part) and file_of(part) is None:
        for own in vars(part).values():
            yield from texts_of(own, seen)
    if inspect.isfunction(part) and file_of(part) is None:
        with contextlib.suppress(TypeError, OSError):
            yield inspect.getsource(part)
        used = {**part.__globals__, **inspect.getclosurevars(part).nonlocals}
        for name in sorted(names_in(part.__code__) & used.keys()):
            yield from texts_of(used[name], seen)


def names_in(code: CodeType) -> set[str]:
    """The names that a function and those inside it read from around it."""
    inner = (names_in(one) for one in code.co_consts if isinstance(one, CodeType))
    return {*code.co_names, *code.co_freevars}.union(*inner)


def names() -> list[str]:
    return sorted(path.parent.name for path in STUDIES.glob("*/__init__.py"))


def find(name: str) -> Study:
    if name not in names():
        raise UsageError(
            f"no study is named {name!r}: there are {', '.join(names())}; call one of your own by "
            f"its own file{did_you_mean(name, names())}"
        )
    study: Study = importlib.import_module(f"bnjax.studies.{name}").STUDY
    return study


LARGEST_PLUGIN = 2**20  # bytes
PLUGIN = "bnjax_plugin_"  # name of its module, before its digest


def load_plugins(paths: Iterable[Path]) -> None:
    """Run Python files of a user's own that call `register` of `norms` or `models`, each once."""
    for path in paths:
        (content,) = plugin_digests([path])
        name = f"{PLUGIN}{content[:12]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"--plugins {path}: is not a Python file: its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:  # it is the user's own code: whatever it raises
            del sys.modules[name]
            if isinstance(error, KeyboardInterrupt):
                raise
            if isinstance(error, UsageError):
                raise UsageError(f"--plugins {path}: {error}") from error
            raise RunError(f"--plugins {path} does not run: {error!r}; mend it") from error


@contextlib.contextmanager
def answering_for_plugins(what: str = "") -> Iterator[None]:
    """Within the block an error in a plugin's code names its file; `sys.exit` is an error, too.

    Where `what` is given, so is any other error, which names that.
    """
    try:
        yield
    except (KeyboardInterrupt, UsageError, RunError):
        raise
    except BaseException as error:
        place = place_in_plugin(error)
        if not place and not (what and isinstance(error, Exception)):
            raise
        raise RunError(f"{what}{type(error).__name__}: {told(error)}{place}; mend it") from error


def place_in_plugin(error: BaseException) -> str:
    """Where in a plugin an error was raised, ` (my_norm.py, line 3)`; empty where none was."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").startswith(PLUGIN):
            return f" ({frame.f_code.co_filename}, line {line})"
    # Of a callback XLA tells the traceback as text.
    for module in [module for name, module in sys.modules.items() if name.startswith(PLUGIN)]:
        named = re.findall(rf'File "{re.escape(str(module.__file__))}", line (\d+)', str(error))
        if named:
            return f" ({module.__file__}, line {named[-1]})"
    return ""


def plugin_digests(paths: Iterable[Path]) -> list[str]:
    from bnjax.frame import files

    try:
        contents = [files.read(path, LARGEST_PLUGIN, follow=True) for path in paths]
    except ValueError as error:
        shown = " ".join(map(str, paths))
        raise UsageError(
            f"--plugins {shown}: is not a file ({error}): give one that registers a norm or a model"
        ) from error
    return [hashlib.sha256(content).hexdigest() for content in contents]
