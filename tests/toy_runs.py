"""Runs of seconds that save at each step, and a look at what lies in a folder."""

import dataclasses
import hashlib
import os
import signal
import stat
from pathlib import Path

from bnjax.frame import disk, layout, listener
from bnjax.studies import lp_norms

TOY = ["--norms", "none", "batch", "--steps", "4", "--batch-size", "16", "--window", "1"]
TOY += ["--checkpoint-steps", "1", "--seeds", "1", "--lr", "0.1"]


class Drawing:
    """A figure that takes no time."""

    name = "figure"
    title = text = source = caption = ""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def save(self, folder: Path) -> list[Path]:
        disk.write(folder / "figure.png", self.content)
        return [folder / "figure.png"]


def figure(run, published):
    return Drawing(run["train_loss"].values.tobytes())


STUDY = dataclasses.replace(lp_norms.STUDY, parts={"FIGURES": (figure,), "CLAIMS": ()})


def look(place: Path) -> dict[str, str]:
    """Everything below a place: kind, and what is in it."""
    return {
        path.relative_to(place).as_posix(): content(path)
        for path in (place, *place.rglob("*"))
        if ".locks" not in path.parts
    }


def content(path: Path) -> str:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return f"link {os.readlink(path)}"
    if not stat.S_ISREG(info.st_mode):
        return str(stat.S_IFMT(info.st_mode))
    if info.st_size > 2**24:  # sparse
        return f"{info.st_size} bytes"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stop_at(monkeypatch, count):
    """Send SIGTERM to this process at the `count`-th step from now, of one arm after the other."""
    monkeypatch.setattr(layout, "SIDE_BY_SIDE", layout.ALONE)
    advance = listener.PlainDisplay.advance
    steps = iter(range(1, 1000))

    def stopping(self, *args):
        if next(steps) == count:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, *args)

    monkeypatch.setattr(listener.PlainDisplay, "advance", stopping)
