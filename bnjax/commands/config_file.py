"""`--config FILE`: options from a YAML file, or from a run's own `config.json`.

They count as if they stood on the command line, before the options that are typed there.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnjax.choices import did_you_mean
from bnjax.commands.vocabulary import Option, by_flag, calls, canonical, explain
from bnjax.errors import UsageError, told
from bnjax.frame import options as option_groups
from bnjax.frame.study import Study

CONFIG = Option(
    ("--config",),
    Path,
    None,
    option_groups.Execution,
    "YAML file of options, or the config.json of a run; options that are typed replace the file's.",
)
REMEDY = "give one YAML file of options, or the config.json of a run"
LARGEST = 2**20  # bytes


def with_config(study: Study, options: Sequence[Option], arguments: Sequence[str]) -> list[str]:
    """A command line with the options of its `--config` file in its place."""
    rest, known = list(arguments), by_flag(options)
    place = next((i for i, word in enumerate(rest) if word.partition("=")[0] == CONFIG.name), None)
    if place is None:
        return rest
    _, equals, name = rest.pop(place).partition("=")
    if not equals and rest[place:]:
        name = rest.pop(place)
    typed = {known[canonical(flag)].name for flag, _ in calls(rest) if canonical(flag) in known}
    if not name or name.startswith("--") or CONFIG.name in typed:
        raise UsageError(f"--config {name}: {REMEDY}")
    path = Path(name)
    values, is_run = read(study, path)
    if is_run and "--preset" in typed:
        raise UsageError(f"--preset: {path} settles all that a preset does: leave one of them out")
    stored: list[str] = []
    seen = set[str]()
    for key, value in values:
        flag = f"--{canonical(str(key)).lstrip('-')}"
        if flag not in known or flag == CONFIG.name:
            near = did_you_mean(flag, known)
            raise UsageError(f"--config {path}: {key}: {study.name} has no such option{near}")
        if known[flag].name in seen:
            raise UsageError(f"--config {path}: {key} is there twice: leave one out")
        seen.add(known[flag].name)
        if known[flag].name in typed:
            continue
        if known[flag].name == "--plugins" and value:
            raise UsageError(
                f"--config {path}: it names plugins, files that would be run: give --plugins on "
                "the command line"
            )
        stored += words_of(flag, value, path)
    if wrong := explain(options, stored, study.name):
        raise UsageError(f"--config {path}: {wrong}")
    return [*stored, *rest]


def read(study: Study, path: Path) -> tuple[list[tuple[Any, Any]], bool]:
    """The options in a file, and whether it is a run's own; how a run was carried out is left."""
    import yaml  # neither is needed without a file

    from bnjax.frame import files

    try:
        text = files.read(path, LARGEST, follow=True)
        content = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f"line {mark.line + 1}: {why}" if mark and why else told(error)
        raise UsageError(f"--config {path}: cannot be read ({where}): {REMEDY}") from error
    if isinstance(content, dict) and isinstance(content.get("options"), dict):
        if content.get("study") != study.name:
            raise UsageError(
                f"--config {path}: it is of the study {content.get('study')}: give it to that one"
            )
        stored = content["options"].items()
        return [
            (name, value) for name, value in stored if name not in option_groups.EXECUTION
        ], True
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: has no options by name, such as `lr: 0.1`: {REMEDY}")
    # As a dictionary it has the last one of equal names alone.
    names = [name.value for name, _ in yaml.compose(text, yaml.SafeLoader).value]
    twice = [(name, None) for name, count in Counter(names).items() if count > 1]
    return [*content.items(), *twice], False


def words_of(flag: str, value: Any, path: Path) -> list[str]:
    """An option with its value as it would be typed."""
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    words = value if isinstance(value, list) else [value]
    if any(not isinstance(word, str | int | float | None) for word in words):
        raise UsageError(f"--config {path}: {flag[2:]}: must be a value, or a list of values")
    if any(str(word).startswith("--") for word in words):
        raise UsageError(f"--config {path}: {flag[2:]}: a value may not begin with --")
    return [flag, *map(str, words)]
