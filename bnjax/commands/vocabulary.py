"""The options of a command as a person meets them: names, legal values, a help page, complaints.

tyro reads a command line. What it refuses is explained here, in the words of all other messages.
"""

import argparse
import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from bnjax.choices import did_you_mean
from bnjax.frame import options as option_groups

HELP = ("-h", "--help", "--help-all")
KINDS = {float: "number", int: "whole number", Path: "path", str: "word", bool: "True or False"}


class Option(NamedTuple):
    """One option of a command."""

    flags: tuple[str, ...]  # as they are typed, its name first
    kind: Any  # its type
    default: Any
    group: type  # the class that declares it
    text: str
    is_positional: bool = False

    @property
    def name(self) -> str:
        return self.flags[0]


def options_of(kind: type, default: Any = None) -> list[Option]:
    """The options of a dataclass: a study's own first, then those of each group.

    Args:
      kind: the dataclass.
      default: one of its instances, whose values are the defaults.
    """
    hints, found = typing.get_type_hints(kind, include_extras=True), []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        extras = getattr(hint, "__metadata__", ())
        aliases = itertools.chain(*(getattr(extra, "aliases", None) or () for extra in extras))
        declared = [one for one in kind.__mro__ if field.name in inspect.get_annotations(one)]
        texts = (documented(one).get(field.name, "") for one in declared)
        found.append(
            Option(
                (option_groups.option_name(field.name), *aliases),
                hint.__origin__ if extras else hint,
                getattr(default, field.name, field.default),
                declared[0],
                next(filter(None, texts), ""),
                tyro.conf.Positional in extras,
            )
        )
    order = [*kind.__mro__]
    return sorted(found, key=lambda one: (not is_own(one), order.index(one.group)))


def is_own(option: Option) -> bool:
    """Whether an option is a command's own, and of no group that studies share."""
    return option.group.__module__ != option_groups.__name__


@functools.cache
def documented(kind: type) -> Mapping[str, str]:
    """The docstrings below the fields of a class, by field, each in one line."""
    with contextlib.suppress(OSError, TypeError):  # it was typed into an interpreter
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(made, ast.ClassDef)
        return {
            field.target.id: " ".join(str(text.value.value).split())
            for field, text in itertools.pairwise(made.body)
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        }
    return {}


def is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def choices(kind: Any) -> list[str]:
    """The words that a type chooses from; none where it takes others, too.

    Example:
      >>> choices(tuple[Literal["a", "b"], ...]), choices(int)
      (['a', 'b'], [])
    """
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return list(map(str, inner))
    if is_union(kind):
        found = [choices(one) for one in inner if one is not type(None)]
        return [word for words in found for word in words] if all(found) else []
    return choices(inner[0]) if typing.get_origin(kind) is tuple else []


def takes(kind: Any) -> tuple[Any, int | None]:
    """The type of one value of an option, and how many there are; None: any number.

    Example:
      >>> takes(tuple[float, ...]), takes(tuple[int, int]), takes(str)
      ((<class 'float'>, None), (<class 'int'>, 2), (<class 'str'>, 1))
    """
    if is_union(kind):
        tuples = (one for one in typing.get_args(kind) if typing.get_origin(one) is tuple)
        return next(map(takes, tuples), (kind, 1))
    if typing.get_origin(kind) is not tuple:
        return kind, 1
    inner = typing.get_args(kind)
    return inner[0], None if inner[-1] is Ellipsis else len(inner)


def described(kind: Any) -> str:
    """What an option takes, in words.

    Example:
      >>> described(tuple[float, ...]), described(Literal["auto"] | int)
      ('numbers', 'auto or a whole number')
    """
    one, count = takes(kind)
    if is_union(one):
        return " or ".join(map(described, typing.get_args(one)))
    if named := choices(one):
        some = "one" if count == 1 else "some" if count is None else str(count)
        return f"{some} of {' '.join(named)}" if len(named) > 1 else named[0]
    word = KINDS.get(one, "None")
    if count == 1:
        return word if one in (bool, type(None)) else f"a {word}"
    return f"{word}s" if count is None else f"{count} {word}s"


def reads(kind: Any, word: str) -> bool:
    """Whether a word is a value of a type."""
    if is_union(kind):
        return any(reads(one, word) for one in typing.get_args(kind))
    if kind in (int, float):
        with contextlib.suppress(ValueError):
            kind(word)
            return True
        return False
    if kind is type(None):
        return word == "None"
    named = choices(kind)
    return not named or word in named


def typed(value: Any) -> str:
    """A default value as it would be typed; empty where there is none.

    Example:
      >>> typed((0.1, 0.2)), typed(None), typed(False)
      ('0.1 0.2', '', '')
    """
    if value is None or value is False or value is dataclasses.MISSING:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def calls(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option of a command line with its words; first, without a name, those before any."""
    name, words = "", list[str]()
    for argument in arguments:
        if argument.startswith("--"):
            yield name, words
            name, equals, value = argument.partition("=")
            words = [value] if equals else []
        else:
            words.append(argument)
    yield name, words


def by_flag(options: Sequence[Option]) -> dict[str, Option]:
    """The options by everything that calls them, `--no-augment` included."""
    found = {flag: one for one in options for flag in one.flags if not one.is_positional}
    switches = {f"--no-{flag[2:]}": one for flag, one in found.items() if one.kind is bool}
    return found | switches


def canonical(flag: str) -> str:
    return flag.replace("_", "-")


def explain(options: Sequence[Option], arguments: Sequence[str], name: str) -> str:
    """What is wrong with a command line, in one line; empty where nothing is found.

    Args:
      options: those of the command.
      arguments: its command line.
      name: what a reader calls the command.
    """
    known = by_flag(options)
    free: list[str] = []  # words that belong to no option
    positional = [one for one in options if one.is_positional]
    for flag, words in calls(arguments):
        if not flag:
            free += words
            continue
        if not (option := known.get(canonical(flag))):
            near = did_you_mean(flag, known)
            return f"{flag}: {name} has no such option{near or ': --help-all lists all'}"
        if wrong := misfit(flag, option, words, strict=not positional):
            return wrong
        count = 0 if option.kind is bool else takes(option.kind)[1]
        free += [] if count is None else words[count:]
    if free and not positional:
        near = did_you_mean(free[0], known)
        return f"{free[0]}: {name} takes options, which begin with --{near}"
    for one in positional:
        if not free and one.default is dataclasses.MISSING:
            return f"{name}: {argument_name(one)} is missing: give {described(one.kind)}"
        if len(free) > 1 and takes(one.kind)[1] == 1:
            return f"{free[1]}: {name} takes one {argument_name(one)}"
        if wrong := misfit(name, one._replace(default=None), free, strict=False):
            return wrong
    return ""


def misfit(flag: str, option: Option, words: Sequence[str], *, strict: bool) -> str:
    """Why words do not serve as the value of an option; empty if they do.

    Args:
      flag: as it was typed.
      option: what it calls.
      words: what follows it.
      strict: whether words in excess are wrong.
    """
    if option.kind is bool:
        bare = canonical(flag)
        other = f"--no-{bare[2:]}" if bare in option.flags else option.name
        if words and strict:
            return f"{flag} {' '.join(words)}: takes no value: give {bare} or {other} alone"
        return ""
    one, count = takes(option.kind)
    usual = typed(option.default)
    expected = described(option.kind) + (f", e.g. {usual}" if usual and not choices(one) else "")
    if count is not None and (len(words) < count or (strict and len(words) > count)):
        return f"{' '.join([flag, *words])}: must be {expected}"
    for word in words[:count]:
        if not reads(one, word):
            return f"{flag} {word}: must be {expected}{did_you_mean(word, choices(one))}"
    return ""


def argument_name(option: Option) -> str:
    """The name of a positional option on a help page: `RUN`."""
    return option.name[2:].replace("-", "_").upper()


def print_help(
    options: Sequence[Option],
    program: str,
    description: str,
    *,
    every: bool,
    others: Mapping[str, Mapping[str, Any]],
) -> None:
    """Print the help page of a command.

    Args:
      options: those of the command.
      program: how it is called.
      description: what it does.
      every: whether all options are shown, or its own and the most used ones alone.
      others: in which cases defaults are others, e.g. `with --model dln`, and which, by option.
    """
    positional = [one for one in options if one.is_positional]
    names = [argument_name(one) + " …" * (takes(one.kind)[1] is None) for one in positional]
    usage = " ".join([program, "[OPTIONS]", *names])
    page = argparse.ArgumentParser(
        prog=program,
        usage=usage,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    groups: dict[str, list[Option]] = {}
    for one in options:
        title = (inspect.getdoc(one.group) or one.group.__name__).split(".")[0]
        title = "Options" if description.startswith(title) else title
        if not every and not is_own(one):
            if one.name not in MOST_USED:
                continue
            title = "Most used"
        groups.setdefault(title, []).append(one)
    for title, members in groups.items():
        section = page.add_argument_group(title)
        for one in sorted(members, key=place) if title == "Most used" else members:
            text = help_text(one, others).replace("%", "%%")
            if one.is_positional:
                section.add_argument(argument_name(one), help=text)
            elif one.kind is bool:
                section.add_argument(one.name, action="store_true", help=text)
            else:
                section.add_argument(one.name, metavar=metavar(one.kind), help=text)
    shown = sum(map(len, groups.values()))
    if shown < len(options):
        page.epilog = f"These are {shown} of {len(options)} options; --help-all lists all."
    page.print_help()


MOST_USED = [option_groups.option_name(name) for name in option_groups.MOST_USED]


def place(option: Option) -> int:
    return MOST_USED.index(option.name)


def metavar(kind: Any) -> str:
    one, count = takes(kind)
    if is_union(one):
        one = next(inner for inner in typing.get_args(one) if inner is not type(None))
    word = KINDS.get(one, "word").rpartition(" ")[2].upper()
    return f"{word} …" if count is None else " ".join([word] * count)


def help_text(option: Option, others: Mapping[str, Mapping[str, Any]]) -> str:
    """What an option does, what it chooses from, and its default, also where that is another."""
    named = choices(option.kind)
    notes = [f"one of {' '.join(named)}"] if named else []
    if usual := typed(option.default):
        notes.append(f"default: {'on' if option.default is True else usual}")
    if option.default is True:
        notes.append(f"--no-{option.name[2:]} switches it off")
    cases: dict[str, list[str]] = {}  # by the default that they have
    for case, defaults in others.items():
        cases.setdefault(typed(defaults.get(option.name, option.default)), []).append(case)
    cases.pop(usual, None)
    for value, found in cases.items():
        models = " or ".join(filter(None, (", ".join(found[:-1]), found[-1])))
        notes.append(f"with {models}: {value or 'none'}")
    if option.flags[1:]:
        notes.append(f"also {', '.join(option.flags[1:])}")
    return f"{option.text} ({'; '.join(notes)})" if notes else option.text
