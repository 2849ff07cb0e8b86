"""Run the programs of a page, in their order, and keep the last picture that they draw.

python tools/run_page.py docs/concepts/invariance.md    # figures/invariance.png
"""

import contextlib
import re
import shutil
import sys
import tempfile
from pathlib import Path

FIGURES = Path(__file__).parents[1] / "figures"
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main(page: Path) -> None:
    """Run all programs in one namespace, in a folder of their own."""
    programs, names = PROGRAM.findall(page.read_text(encoding="utf-8")), {"__name__": "page"}
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        for program in programs:
            exec(compile(program, str(page), "exec"), names)
        drawn = max(Path().glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
        shutil.copyfile(drawn, FIGURES / f"{page.stem}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
