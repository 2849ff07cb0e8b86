"""The README's table of studies, read off their `Study` objects.

python tools/readme_table.py            # print it
python tools/readme_table.py --write    # put it between the README's markers
"""

import sys
from pathlib import Path

from bnjax.frame import study as studies

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- studies: python tools/readme_table.py --write -->\n", "<!-- end of studies -->"


def table() -> str:
    """A row for each study: its page, question and source."""
    rows = ["| study | question | source |", "|---|---|---|"]
    for study in map(studies.find, studies.names()):
        link = f"[{study.name}](bnjax/studies/{study.name}/page.md)"
        rows.append(f"| {link} | {study.question} | {study.source} |")
    return "\n".join(rows) + "\n"


def filled(text: str) -> str:
    """The README with today's table between its markers."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")
