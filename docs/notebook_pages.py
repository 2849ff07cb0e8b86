"""A page of these docs from an executed notebook: text, code and what the code showed."""

import base64
import itertools
import json
import operator
import re
from pathlib import Path
from typing import Any

COLAB = "https://colab.research.google.com/"
GITHUB = "https://github.com/"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal
BADGE = "[![Open in Colab](../open_in_colab.svg)]({address})"


def page(path: Path, folder: Path, repository: str) -> str:
    """A notebook as Markdown, its pictures as files beside the page.

    Args:
      path: the notebook; its first cell begins with the title.
      folder: of the page.
      repository: address of the repository on GitHub. Empty: Colab opens without the notebook.

    Returns:
      The page.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, _, rest = joined(cells[0]["source"]).partition("\n")
    parts = [title, badge(path.name, repository), rest.strip()]
    for number, cell in enumerate(cells[1:], start=1):
        source = joined(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else fenced(source, "python"))
        shown = map(output, cell.get("outputs", ()))
        for place, (kind, found) in enumerate(itertools.groupby(shown, operator.itemgetter(0))):
            contents = [content for _, content in found]
            if kind == "text/plain":  # printed lines become one block
                parts.append(fenced("".join(contents), "text"))
            for copy, content in enumerate(contents if kind == "image/png" else ()):
                picture = folder / f"{path.stem}_{number}_{place}_{copy}.png"
                picture.write_bytes(base64.b64decode(content))
                parts.append(f"![Shown by the code above]({picture.name})")
    return "\n\n".join(filter(None, parts)) + "\n"


def badge(name: str, repository: str) -> str:
    """The badge that opens a notebook in Colab, and how to get it there without an address."""
    if repository:
        place = repository.removeprefix(GITHUB)
        return BADGE.format(address=f"{COLAB}github/{place}/blob/main/notebooks/{name}")
    return f"{BADGE.format(address=COLAB)} (*File → Upload notebook*: `notebooks/{name}`)"


def output(found: dict[str, Any]) -> tuple[str, str]:
    """What one output shows: a picture if it has one, else its text."""
    if found["output_type"] == "stream":
        return "text/plain", joined(found["text"])
    data = found["data"]
    if "image/png" in data:
        return "image/png", joined(data["image/png"])
    return "text/plain", f"{COLOURS.sub('', joined(data['text/plain'])).rstrip()}\n"


def joined(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
