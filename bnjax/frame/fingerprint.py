"""What decides the numbers of a run beside its options: data, versions, settings, code, devices.

Equal fingerprints promise equal results, bit for bit, on a CPU. What becomes of a run under another
one is in `folder.differing`.
"""

import ast
import hashlib
import importlib.machinery
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from bnjax import losses, models
from bnjax.data import Dataset
from bnjax.data.dataset import content_digest
from bnjax.errors import RunError
from bnjax.frame import processes
from bnjax.frame.folder import ENVIRONMENT, LAYOUT, TOLD, differing
from bnjax.frame.layout import ALONE, Layout, cpu_lines, version
from bnjax.frame.study import PACKAGE, PLACES, Study, file_of, texts_of
from bnjax.models.settings import flax_settings

PACKAGES = ("bnjax", "jax", "jaxlib", "flax", "optax", "numpy")
# Settings of JAX and Flax that leave numbers as they are; those that choose devices are told by the
# devices. Any other setting, also of a JAX to come, counts as one that decides numbers.
WITHOUT_EFFECT = re.compile(
    r"jax2tf_.*|jax_(export|serialization)_.*"
    r"|jax_(.*cache|log_|.*logging|debug_|.*traceback|.*source_|.*dump|captured_constants_|pprint_).*"
    r"|jax_(enable_checks|check_tracer_leaks|check_proxy_envs)"
    r"|jax_(platforms|platform_name|xla_backend|backend_target|default_device|num_cpu_devices)"
    r"|(jax_)?mock_.*|jax_.*_visible_devices|jax_cpu_(enable_async|get)_.*|jax_sort_devices_.*"
    r"|jax_(force_dcn|cross_host|share_binary|mtls|distributed)_.*|jax_.*_guard.*"
    r"|jax_enable_(recoverability|preemption_service)"
    r"|flax_(filter_frames|profile|use_orbax_checkpointing|max_repr_depth)"
)
# Parts of `bnjax` that no measurement goes through. Those in the frame show what was measured, or
# read curves for a figure: what measures calls them and takes no number from them.
APART = (
    "commands", "draw", "judge", "report",
    "frame/listener.py", "frame/messages.py", "frame/published_curves.py",
)  # fmt: skip
LONGEST = 2**16  # bytes in which processes tell each other


def fingerprint(who: Layout = ALONE) -> dict[str, Any]:
    """Versions, devices and flags.

    CPU results depend on the number of cores that XLA sees and on the processor's instructions,
    for which XLA compiles; so both are part of it.
    """
    (device,), mesh = jax.device_put(0).devices(), who.meshes[0]
    return {
        **{package: version_of(package) for package in PACKAGES},
        "python": platform.python_version(),
        "platform": device.platform,
        "device": device.device_kind,
        "processor": processor(),
        "num_devices": jax.device_count(),
        "processes": who.processes,
        "data_devices": 1 if mesh is None else mesh.shape["data"],
        "probe_devices": 1 if mesh is None else mesh.shape["probe"],
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        **{name: os.environ.get(name, "") for name in ENVIRONMENT},
        "commit": commit(),
        "float64": bool(jax.config.jax_enable_x64),
    }


def version_of(package: str) -> str:
    """A version; where no package manager put the package, with twelve digits of its sources."""
    file = getattr(sys.modules.get(package), "__file__", None)
    home = Path(file or "").parent
    if file is None or is_installed(home) or home == PACKAGE:  # bnjax is told by `code`
        return version(package)
    total = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(home.rglob("*.py"))))
    return f"{version(package)} with sources {total.hexdigest()[:12]}"


def of_run(study: Study, options: Any, dataset: Dataset | None, who: Layout) -> dict[str, Any]:
    """The fingerprint of a run; without a data set, of all but the data."""
    norms, family = models.norms.registry.REGISTRY, models.FAMILIES[options.model]
    makers: list[Callable[..., Any]] = [*(norms[name] for name in options.norms), family.build]
    found = {**fingerprint(who), "script": study.script, **code(study, options.plugins, makers)}
    if dataset is not None:
        found |= {
            "dataset": dataset.note,
            "data": content_digest(dataset),
            "chance_loss": losses.chance(losses.OBJECTIVES[options.objective], dataset),
        }
    return found


def settings() -> dict[str, str]:
    """The settings of JAX and Flax that can change numbers.

    All of them, for neither library tells which differ from their defaults.
    """
    known = {**jax.config.values, **flax_settings()}
    return {
        setting_name(name): str(known[name])
        for name in sorted(known)
        if not WITHOUT_EFFECT.fullmatch(name)
    }


def setting_name(name: str) -> str:
    """A setting's name with its library in front, which a few of JAX's lack."""
    return name if name.startswith(("jax_", "flax_", "nnx_")) else f"jax_{name}"


def refuse_other_processes(own: Mapping[str, Any]) -> None:
    """Refuse to be one of several processes that have not the same data, code and settings."""
    if not processes.several():
        return
    deciding = {name: own[name] for name in own if name not in LAYOUT | TOLD}
    sent = json.dumps(deciding, default=str).encode().ljust(LONGEST)
    received = processes.broadcast(np.frombuffer(sent, np.uint8)).tobytes()
    if changed := differing(json.loads(received), json.loads(sent)):
        raise RunError(
            f"process {jax.process_index()} has not what process 0 has ({', '.join(changed)}): "
            "give all processes the same data, code and settings"
        )


def code(
    study: Study, plugins: Iterable[Path], makers: Sequence[Callable[..., Any]] = ()
) -> dict[str, str]:
    """Twelve digits of the SHA-256 of all code that measures, and versions of what it imports.

    `code` is the digest of bnjax's own modules but those that judge, draw and report; of the study
    but its claims and figures; of the plugins, and of the `makers` of norms and networks, which may
    be registered without one; and of every local file that these import. Local is what lies neither
    in Python's library nor in `site-packages`; of what lies there, the imports of files outside
    bnjax are told by their versions.
    """
    roots = [*study.measuring, *(Path(path).resolve() for path in plugins)]
    made = {file_of(make) for make in makers}
    roots += [path for path in made if path and PACKAGE not in path.parents]
    apart = [PACKAGE / part for part in (*APART, "studies")]
    own = [path for path in PACKAGE.rglob("*.py") if not {path, *path.parents} & {*apart}]
    followed, _ = follow(roots)
    contents = {path: path.read_bytes() for path in {*own, *followed}}
    if study.file is not None and not hasattr(study.home, "__path__"):
        contents[study.file] = measuring_text(contents[study.file])
    refuse_stale(contents)
    named = sorted((path.name, content) for path, content in contents.items())
    seen = set[int]()
    typed = [*study.texts, *(text for make in makers for text in texts_of(make, seen))]
    named += [("", text.encode()) for text in typed]
    total = hashlib.sha256()
    for name, content in named:
        total.update(name.encode() + hashlib.sha256(content).digest())
    _, others = follow(root for root in roots if PACKAGE not in root.parents)
    others -= {*sys.stdlib_module_names, *PACKAGES}
    distributions = importlib.metadata.packages_distributions() if others else {}
    names = sorted({name for other in others for name in distributions.get(other, ())})
    return {"code": total.hexdigest()[:12], **{name: version(name) for name in names}}


# By file: how its module was loaded when this process first looked, and the file's digest then.
LOADED: dict[Path, tuple[object, bytes]] = {}


def refuse_stale(contents: Mapping[Path, bytes]) -> None:
    """Refuse files that are not any more what this process loaded: what runs is another code."""
    modules = [vars(one) for one in [*sys.modules.values()] if isinstance(one, ModuleType)]
    files = ((one.get("__file__"), one.get("__spec__")) for one in modules)
    specs = {Path(file).resolve(): spec for file, spec in files if file}
    for path in contents.keys() & specs.keys():
        now = specs[path], hashlib.sha256(contents[path]).digest()
        before = LOADED.setdefault(path, now)
        if before[0] is now[0] and before != now:
            raise RunError(
                f"{path} was changed after this process had loaded it: start a new process (in a "
                "notebook restart the kernel)"
            )
        LOADED[path] = now
        if PACKAGE not in path.parents and not is_compiled(path, specs[path]):
            raise RunError(
                f"{path} is not what Python runs, which is a compiled file of the same time and "
                f"size: remove {path.with_name('__pycache__')}"
            )


def is_compiled(path: Path, spec: Any) -> bool:
    """Whether the compiled file that a module was loaded from, if any, is of its source."""
    if type(getattr(spec, "loader", None)) is not importlib.machinery.SourceFileLoader:
        return True
    try:
        loader = importlib.machinery.SourcelessFileLoader(spec.name, spec.cached or "")
        compiled = loader.get_code(spec.name)
    except (ImportError, OSError, EOFError):  # none, or one that does not serve
        return True
    return compiled == compile(path.read_bytes(), path, "exec", dont_inherit=True)


def measuring_text(source: bytes) -> bytes:
    r"""A study in one file without comments, and without what its claims and figures alone use.

    Example:
      >>> measuring_text(b"def figure(run): ...\ndef probes(arm): ...\nFIGURES = (figure,)")
      b'def probes(arm):\n    ...'
    """
    statements = [
        (one, names_defined(one), {node.id for node in ast.walk(one) if isinstance(node, ast.Name)})
        for one in ast.parse(source).body
    ]

    def needed_by(names: set[str]) -> set[str]:
        found = names.union(*(uses for _, own, uses in statements if own & names))
        return names if found == names else needed_by(found)

    shown = needed_by({*PLACES})
    rest = (uses for _, own, uses in statements if not own or not own <= shown)
    measuring = needed_by(set().union(*rest))
    kept = (one for one, own, _ in statements if not own or not own <= shown or own & measuring)
    return "\n".join(map(ast.unparse, kept)).encode()


def names_defined(statement: ast.stmt) -> set[str]:
    """The names that a function, a class or an assignment defines; nothing of other statements."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return {target.id for target in targets if isinstance(target, ast.Name)}


def is_installed(path: Path) -> bool:
    """Whether a file or folder is Python's or a package manager's, and none of bnjax."""
    path, library = path.resolve(), Path(sysconfig.get_path("stdlib")).resolve()
    if path.is_relative_to(PACKAGE):
        return False
    return path.is_relative_to(library) or bool({"site-packages", "dist-packages"} & {*path.parts})


def follow(roots: Iterable[Path]) -> tuple[set[Path], set[str]]:
    """Some files with all local ones that they import, and the names of other packages.

    Nothing is run. Of bnjax, studies alone are followed.
    """
    # Where loaded modules lie, as well: an editable installation need not be on the path.
    loaded = (module for name, module in [*sys.modules.items()] if "." not in name)
    files = (Path(file) for module in loaded if (file := getattr(module, "__file__", None)))
    homes = (file.parents[int(file.name == "__init__.py")] for file in files)
    places = {place.resolve() for place in {*map(Path, sys.path), *homes}}
    places = {place for place in places if not is_installed(place)}
    found, others, todo = set[Path](), set[str](), [*roots]
    while todo:
        if (path := todo.pop()) in found:
            continue
        found.add(path)
        for level, name in imports(path):
            around = {path.parents[level - 1]} if level else places
            if name.startswith("bnjax."):
                around = {PACKAGE.parent} if name.startswith("bnjax.studies.") else set()
            own = [file for place in around for file in locate(place, name.split("."))]
            todo += own
            if not own and not level:
                others.add(name.partition(".")[0])
    return found, others


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """What a file of Python imports, at whatever depth: dots in front of a name, and the name."""
    try:
        nodes = [*ast.walk(ast.parse(path.read_bytes()))] if path.suffix == ".py" else []
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            yield from ((node.level, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                yield 0, str(node.args[0].value)


def locate(place: Path, names: Iterable[str]) -> Iterator[Path]:
    """The files that are run to import a module, as far as its names are modules of a folder."""
    for name in names:
        if (package := place / name / "__init__.py").is_file():
            yield package
        else:
            for suffix in importlib.machinery.all_suffixes():
                if (module := place / f"{name}{suffix}").is_file():
                    yield module
                    return
        place /= name


def processor() -> str:
    named = (re.fullmatch(r"model name\s*:\s*(.*\S)\s*", line) for line in cpu_lines())
    return next((found[1] for found in named if found), platform.processor())


def commit() -> str:
    """The commit of the source tree, and `+` where files differ from it; empty if there is none.

    A module or an experiment that git does not know is a difference, too.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        call = ["git", "-C", str(root), *arguments]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        described = git("describe", "--always", "--abbrev=12", "--dirty=+")
        unknown = git("ls-files", "--others", "--exclude-standard", "bnjax", "experiments")
    except (OSError, subprocess.SubprocessError):
        return ""
    return described.removesuffix("+") + "+" if unknown else described
