"""From a command line to a finished run: whatever happens, a person gets one line.

JAX is imported once the options are parsed, so that `--help` and wrong calls are instant.
"""

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tyro

from bnjax.commands import vocabulary
from bnjax.commands.config_file import CONFIG, with_config
from bnjax.errors import UsageError, needs, told
from bnjax.frame import disk, messages
from bnjax.frame import options as option_groups
from bnjax.frame import study as studies
from bnjax.frame.interrupts import INTERRUPTED, Interrupted
from bnjax.frame.messages import complain, hide_details, open_streams
from bnjax.frame.study import Study


def parse(study: Study, arguments: Sequence[str]) -> Any:
    """Parse a command line over the defaults of the preset that it names."""
    known = [*vocabulary.options_of(study.options), CONFIG]
    arguments = with_config(study, known, arguments)
    preset = given(arguments, "--preset") or next(iter(study.presets))
    model = given(arguments, "--model")
    default = study.preset(preset, model)
    others = {} if model else other_defaults(study, preset)
    return parse_options(
        type(default),
        arguments,
        study.name,
        study.description,
        default=default,
        more=[CONFIG],
        others=others,
    )


def other_defaults(study: Study, preset: str) -> dict[str, dict[str, Any]]:
    """The defaults that a preset has for other models, by how these are chosen, by option."""
    found = {}
    for name, changes in study.presets.items():
        own, _, model = name.partition(" ")
        if own == preset and model:
            case = "another --model" if model == "*" else f"--model {model}"
            values = {**vars(study.options(**changes)), "preset": preset}
            values.pop("model")
            found[case] = {option_groups.option_name(key): values[key] for key in values}
    return found


def parse_options(
    kind: Any,
    arguments: Sequence[str],
    name: str,
    description: str,
    *,
    default: Any = None,
    more: Sequence[vocabulary.Option] = (),
    others: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Any:
    """Parse a command line into a dataclass, or print its help page and end.

    Args:
      kind: the dataclass.
      arguments: the command line.
      name: of the command.
      description: for its help page.
      default: the values of options that are not given.
      more: options that are read before.
      others: see `vocabulary.print_help`.

    Raises:
      UsageError: an option or a value is not legal.
      SystemExit: the help page is printed.
    """
    options = [*vocabulary.options_of(kind, default), *more]
    if asked := {*vocabulary.HELP} & {*arguments}:
        called = program(name)
        described = description.replace(f"python experiments/{name}.py", called)
        every = "--help-all" in asked
        vocabulary.print_help(options, called, described, every=every, others=others)
        raise SystemExit
    defaults = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # what tyro says takes many lines
            return expand_homes(tyro.cli(kind, args=list(arguments), **defaults))
    except SystemExit:
        said = " ".join(arguments)
        wrong = vocabulary.explain(options, arguments, name)
        raise UsageError(wrong or f"{said}: cannot be read: see --help") from None


def program(name: str) -> str:
    """How a command is called here: `bnjax landscape`, or `python experiments/landscape.py`."""
    called = Path(sys.argv[0])
    if called.suffix != ".py":
        return f"bnjax {name}"
    if called.stem == "__main__":
        return f"python -m bnjax {name}"
    shown = os.path.relpath(called)
    return f"python {called.name if shown.startswith(os.pardir) else shown}"


def typed() -> list[str]:
    """This process's command line, once its standard streams take anything."""
    open_streams()
    return sys.argv[1:]


def expand_homes(options: Any) -> Any:
    """The options with `~` in paths as a shell expands it, which leaves `--out=~/runs` as it is."""

    def expand(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(expand, value))
        return value.expanduser() if isinstance(value, Path) else value

    try:
        changes = {f.name: expand(getattr(options, f.name)) for f in dataclasses.fields(options)}
    except RuntimeError as error:
        raise UsageError(f"a path begins with ~ and is nobody's home: {told(error)}") from error
    return dataclasses.replace(options, **changes)


def given(arguments: Sequence[str], option: str) -> str:
    """The value of an option on a command line that is not parsed yet; empty if it is not there."""
    for position, argument in enumerate(arguments):
        if argument == option and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{option}="):
            return argument.removeprefix(f"{option}=")
    return ""


PUBLISH = "bnjax.report.publish"
ONE_RUN = threading.RLock()  # of a process: displays, warnings and styles are one for all threads
HUGE_PAGES = "glibc.malloc.hugetlb=1"
LEVEL = "--xla_backend_optimization_level"  # LLVM's
AUTOTUNE = "--xla_gpu_autotune_level"


def suit_xla(arguments: Sequence[str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Settings for XLA before JAX is imported: cheap compilation, and on a CPU huge pages.

    On a CPU, at LLVM's level 1, programs compile in a third less time and run no slower: the work
    is in libraries. Where there may be a GPU that level stays, and short presets choose its kernels
    without timing them, which takes most of a cold start. A run that is resumed has its kernels
    chosen as when it was begun.

    XLA's temporaries on a CPU are fresh memory at every call, and their page faults cost up to a
    fifth of a run (`benchmarks/README.md`). glibc 2.35 or later reads the setting at the start of a
    process only, so this process starts again. Elsewhere, and where `GLIBC_TUNABLES` says something
    of it, it goes on.
    """
    platforms, flags = environment.get("JAX_PLATFORMS", ""), environment.get("XLA_FLAGS", "")
    plugins, tpu = (importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    on_cpu = platforms == "cpu" or not (platforms or plugins or tpu)
    preset, file = given(arguments, "--preset"), given(arguments, "--config")
    short = preset in ("", "quick", "toy") and not file
    if arguments[:1] == ["resume"]:
        short = was_untuned(arguments[1:])
    on_gpu = platforms in ("cuda", "gpu") or (plugins and not platforms and not tpu)
    wanted = f"{LEVEL}=1" if on_cpu else f"{AUTOTUNE}=0" if on_gpu and short else ""
    if wanted and wanted.partition("=")[0] not in flags:
        environment["XLA_FLAGS"] = f"{flags} {wanted}".strip()
    tunables = environment.get("GLIBC_TUNABLES", "")
    try:
        version = (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ").split(".")
        known = [int(part) for part in version[:2]] >= [2, 35]
    except (AttributeError, OSError, ValueError):  # another system, or another C library
        return
    if known and sys.executable and "glibc.malloc.hugetlb" not in tunables:
        tunables = ":".join(filter(None, (tunables, HUGE_PAGES)))
        again = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, again, {**environment, "GLIBC_TUNABLES": tunables})


def was_untuned(arguments: Sequence[str]) -> bool:
    """Whether the run of a folder among some arguments was begun with kernels chosen untimed."""
    for argument in arguments:
        with contextlib.suppress(RuntimeError, OSError, ImportError):  # said when it is resumed
            from bnjax.frame import folder

            found = folder.read_config(Path(argument).expanduser()).fingerprint
            return f"{AUTOTUNE}=0" in str(found.get("XLA_FLAGS")).split()
    return False


def main(study: Study, arguments: Sequence[str] | None = None) -> int:
    """Run a study from the command line.

    Args:
      study: the study.
      arguments: the command line without the program's name; by default the process's own.

    Returns:
      The exit status: 0, 2 for a wrong call, 1 for any other failure, 130 after a signal.
    """
    if arguments is None:
        arguments = typed()
        if not {*vocabulary.HELP} & {*arguments}:
            suit_xla(arguments)
    status = guarded(lambda: act(study, arguments), arguments)
    if "jax" in sys.modules:
        from bnjax.frame import processes

        processes.leave(status)
    return status


def act(study: Study, arguments: Sequence[str]) -> None:
    options = prepare(study, arguments)
    if options.plan:
        from bnjax.commands import plan

        plan.show(study, options)
    else:
        from bnjax.frame.listener import Meanwhile
        from bnjax.frame.run import run

        # What draws is imported while the arms train, and not before the first loss is there.
        load = functools.partial(importlib.import_module, PUBLISH)
        run(study, options, lambda *given: load().publish(*given), listeners=[Meanwhile(load)])


def start(study: str | Study, *arguments: str, listeners: Sequence[Any] = ()) -> Path:
    """Run a study from Python: what its command line does, but errors are raised.

    A call from a second thread waits until the first one has ended: a run uses all cores.

    Args:
      study: its name, e.g. `landscape`, or one of your own.
      arguments: as on its command line.
      listeners: are told of arms, steps, probes, verdicts and figures, see
        `bnjax.frame.listener.Listener`.

    Returns:
      The run's folder.

    Raises:
      UsageError: a wrong call.
      RunError: the run cannot go on.
      Interrupted: asked to stop; the same call continues. A step that is under way is waited for.
      KeyboardInterrupt: asked a second time; the same call continues from the last checkpoint.

    Example:
      >>> start("landscape", "--lr", "0.4")  # doctest: +SKIP
      PosixPath('runs/landscape/…')
    """
    if isinstance(study, str):
        study = studies.find(study)
    with ONE_RUN:
        options = prepare(study, arguments)
        if options.plan:
            raise UsageError("--plan begins no run: give it on the command line, where it prints")
        from bnjax.frame.run import run
        from bnjax.report.publish import publish

        return run(study, options, publish, listeners=listeners, ends_process=False)


def prepare(study: Study, arguments: Sequence[str]) -> Any:
    """The options of a command line, checked, and what they want settled before JAX starts."""
    options = parse(study, arguments)
    return settle(study, options)


def settle(study: Study, options: Any) -> Any:
    """Check options, and settle what they want before JAX starts its devices."""
    option_groups.Execution.check(options)
    from bnjax.frame import arm, layout, processes

    layout.prepare(options.data_devices, options.probe_devices, options.deterministic)
    if options.distributed:
        processes.join(options.heartbeat_seconds)
    layout.require_platform()
    studies.load_plugins(options.plugins)
    option_groups.check(options)
    with studies.answering_for_plugins():
        arm.check_networks(study, options)
        options = arm.spread_layers(study, options)
        study.part("check_options", lambda options: None)(options)
    return options


def guarded(act: Callable[[], int | None], arguments: Sequence[str]) -> int:
    """Do something for a person: whatever goes wrong becomes one line and an exit status."""
    hide_details()
    os.environ.pop("MPLBACKEND", None)  # figures are files: a backend that is not here is no matter
    status = answered(act, arguments)
    if lost := messages.lost_output():
        complain(f"standard output was lost on the way ({lost}): give a file with room")
        return status or 1
    return status


def answered(act: Callable[[], int | None], arguments: Sequence[str]) -> int:
    try:
        with needs("studies"), disk.naming_errors():
            return act() or 0
    except UsageError as error:
        return fail(error, arguments, status=2)
    except Interrupted as error:
        print(
            f"interrupted {error}; everything is saved: the same command continues", file=sys.stderr
        )
        return INTERRUPTED
    except KeyboardInterrupt:
        print(
            "interrupted at once: the same command continues from the last checkpoint",
            file=sys.stderr,
        )
        return INTERRUPTED
    except Exception as error:  # whatever it is, a person gets one line
        return fail(error, arguments, status=1)


def fail(error: Exception, arguments: Sequence[str], status: int) -> int:
    """Say in one line what went wrong; with `--debug`, raise it instead."""
    if "--debug" in arguments:
        raise error
    message = " ".join(str(error).split())
    if type(error).__module__ == "bnjax.errors":
        complain(message)
    elif settings := blamed(message):
        complain(
            f"{', '.join(settings)} does not serve ({told(error, 500)}): unset it, or change it"
        )
    else:
        with contextlib.suppress(ImportError):  # a file may stand where the real JAX should
            from bnjax.frame import processes

            message = processes.explain(error) if processes.several() else message
        complain(f"{type(error).__name__}: {message} (--debug shows where)")
    return status


def blamed(message: str) -> list[str]:
    """The variables of the environment that an error of JAX names, with what a user gave them."""
    given = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_"))}
    if "jax" in sys.modules and "XLA_FLAGS" in given:
        from bnjax.frame import layout

        own = {f"{LEVEL}=1", f"{AUTOTUNE}=0", *layout.DETERMINISTIC, *layout.ONE_ORDER}
        flags = [flag for flag in given["XLA_FLAGS"].split() if flag not in own]
        given["XLA_FLAGS"] = " ".join(flags)
    return [f"{n}={value}" for n, value in given.items() if value and n.lower() in message.lower()]
