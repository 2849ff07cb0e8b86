"""A script by which bash or zsh completes the command line of `bnjax`.

It holds all words itself: completing starts no Python.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from bnjax.choices import MODELS, NORMS
from bnjax.commands.config_file import CONFIG
from bnjax.commands.vocabulary import by_flag, choices, options_of

# zsh reads the script of bash through a part of its own.
PRELUDE = {
    "bash": "",
    "zsh": "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
    "autoload -Uz bashcompinit && bashcompinit\n",
}
SCRIPT = """{prelude}_bnjax() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} command=${{COMP_WORDS[1]}} option= words= i
  for ((i = COMP_CWORD - 1; i > 1; i--)); do
    if [[ ${{COMP_WORDS[i]}} == --* ]]; then option=${{COMP_WORDS[i]}}; break; fi
  done
  if ((COMP_CWORD == 1)); then
    words="{names}"
  elif [[ $word == -* ]] || [[ -z $option && " {studies} " == *" $command "* ]]; then
    case $command in
{options}
    esac
  else
    case "$command $option" in
{values}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _bnjax bnjax
"""


def script(
    shell: Literal["bash", "zsh"],
    commands: Mapping[str, type],
    presets: Mapping[str, Sequence[str]],
) -> str:
    """The script.

    Args:
      shell: which reads it.
      commands: the options of all commands and studies, by name.
      presets: those of each study, by its name.
    """
    values: dict[str, list[str]] = {}  # by the words, where they are offered
    options = []
    for name, kind in commands.items():
        known = [*options_of(kind), *([CONFIG] if name in presets else [])]
        flags = [*by_flag(known), "--help", "--help-all"]
        options.append(f'      {name}) words="{" ".join(flags)}" ;;')
        for option in known:
            place = f"{name} " if option.is_positional else f"{name} {option.name}"
            of_name = {"--norms": NORMS, "--model": MODELS, "--preset": presets.get(name, ())}
            named = of_name.get(option.name) or choices(option.kind)
            values.setdefault(" ".join(named), []).append(f'"{place}"')
    values.setdefault(" ".join(commands), []).append('"help "')
    values.pop("")  # files, by the shell itself
    return SCRIPT.format(
        prelude=PRELUDE[shell],
        names=" ".join((*commands, "help")),
        studies=" ".join(presets),
        options="\n".join(options),
        values="\n".join(
            f'      {"|".join(places)}) words="{words}" ;;' for words, places in values.items()
        ),
    )
