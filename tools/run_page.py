"""Run the programs of a page, in their order, and keep the last picture that they draw.

python tools/run_page.py docs/concepts/invariance.md    # figures/invariance.png
"""

import contextlib
import re
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

FIGURES = Path(__file__).parents[1] / "figures"
PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main(page: Path) -> None:
    """Run all programs as one, in a folder of their own."""
    programs = PROGRAM.findall(page.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        Path("page.py").write_text("\n".join(programs), encoding="utf-8")
        runpy.run_path("page.py")
        drawn = max(Path().glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
        shutil.copyfile(drawn, FIGURES / f"{page.stem}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
