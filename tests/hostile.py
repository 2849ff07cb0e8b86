"""Damage and malice for run folders, configurations and tables, drawn from a seeded generator."""

import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np

from bnjax.frame import files as documents

TEXTS = ["", "\x1b[31mred\x1b]0;title\x07", "a\r\nb", "\u202eevil", "\ud800"]
TEXTS += ["../../../outside/kept", "/etc/passwd", "a/b", "n" * 300, "[bold]x[/nothing]", ":smile:"]
TEXTS += ["NaN", "-Infinity", "é" * 50, "%s%n{}", "\x7f\x9b2J"]
NUMBERS = [0, -1, 2**31, 2**63, 10**400, 1e308, -0.0, 1e-320, 0.5]
VALUES = [*TEXTS, *NUMBERS, None, True, [], {}, [[]], {"": {"": []}}, ["x"] * 1000]
RAW = [b"", b"\x00" * 100, b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000]
RAW += [b"{}", b"[]", b"null", b'"text"', b'{"format": 1}', b"NaN", b'{"format": NaN}', b"\x1b[2J"]


def files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 2**24
    )


def draw_file(generator: random.Random, folder: Path) -> Path:
    """A file of a run: as often one of the few at the top as one of the many of a checkpoint."""
    found = files(folder)
    top = [path for path in found if path.parent == folder]
    manifests = [path for path in found if path.name == "MANIFEST.json"]
    kinds = [kind for kind in (top, manifests, found) if kind]
    return generator.choice(generator.choice(kinds))


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def flip(generator, path, arena):
    content = bytearray(path.read_bytes()) or bytearray(1)
    for _ in range(generator.choice([1, 1, 1, 20])):
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def truncate(generator, path, arena):
    os.truncate(path, generator.randrange(path.stat().st_size + 1))


def extend(generator, path, arena):
    with path.open("ab") as file:
        file.write(generator.choice([b"\n", b"\x00", b"{}", bytes(5000)]))


def make_huge(generator, path, arena):
    os.truncate(path, generator.choice([2**25, 2**34, 2**42]))


def delete(generator, path, arena):
    path.unlink()


def overwrite(generator, path, arena):
    path.write_bytes(generator.choice(RAW))


def swap(generator, path, arena):
    other = draw_file(generator, generator.choice(sorted(arena.glob("runs/[!.]*/*"))))
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def copy_foreign(generator, path, arena):
    """The file of the same name of another run."""
    others = [
        other
        for run in sorted(arena.glob("runs/[!.]*/*"))
        for other in files(run)
        if other.name == path.name and other != path
    ]
    if others:
        shutil.copyfile(generator.choice(others), path)
    else:
        path.unlink()


def make_folder(generator, path, arena):
    path.unlink()
    path.mkdir()
    if generator.random() < 0.5:
        (path / "inside").write_text("kept")


def make_pipe(generator, path, arena):
    path.unlink()
    os.mkfifo(path)


def link_file(generator, path, arena):
    path.unlink()
    path.symlink_to(generator.choice([arena / "outside" / "kept", "/dev/zero", "nowhere", "."]))


def folder_of(path):
    """The folder of a file, or that of all checkpoints where it is the run's own."""
    return path.parent / "checkpoints" if path.parents[2].name == "runs" else path.parent


def link_folder(generator, path, arena):
    folder = folder_of(path)
    remove(folder)
    folder.symlink_to(arena / "outside", target_is_directory=True)


def flatten(generator, path, arena):
    """A file in place of a folder."""
    folder = folder_of(path)
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.write_text("flat")


NAMES = ["007", "²", "-1", "9" * 30, "\x1b[31m", "a\nb", ".x.1.tmp", "x" * 255, "models", "10", "é"]


def add_names(generator, path, arena):
    """Files and folders of odd names beside a file."""
    for name in generator.sample(NAMES, 3):
        place = path.parent / name
        if not place.exists():
            place.mkdir() if generator.random() < 0.6 else place.write_text("odd")


def leaves(value, place=()):
    """All places in a JSON value."""
    yield place
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, (*place, key))


def mutate(generator, content):
    """One entry of a JSON value replaced, removed or added."""
    places = [place for place in leaves(content) if place]
    if not places:
        return generator.choice(VALUES)
    depth = generator.randrange(1, 1 + max(map(len, places)))
    *way, last = generator.choice([place for place in places if len(place) <= depth])
    inner = content
    for key in way:
        inner = inner[key]
    action = generator.random()
    if action < 0.2:
        del inner[last]
    elif action < 0.3 and isinstance(inner, dict):
        inner[generator.choice(TEXTS)] = inner.pop(last)
    elif action < 0.4 and isinstance(inner[last], int | float):
        inner[last] = inner[last] * 2 + 1
    else:
        inner[last] = generator.choice(VALUES)
    return content


def forge(generator, path, arena):
    """A document of another content that carries its own right digest."""
    try:
        content = json.loads(path.read_text())
        content.pop(documents.SEAL, None)
        for _ in range(generator.choice([1, 1, 2])):
            content = mutate(generator, content)
        path.write_text(documents.seal(content) if isinstance(content, dict) else str(content))
    except (ValueError, AttributeError, RecursionError):  # no document: damaged otherwise
        flip(generator, path, arena)


def rewrite_archive(generator, path, arena):
    """An archive of numpy arrays with other arrays, names, types or sizes."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except Exception:  # damaged before
        arrays = {}
    name = generator.choice(sorted(arrays) or ["a"])
    kind = generator.randrange(7)
    if kind == 0:
        arrays.pop(name, None)
    elif kind == 1:
        arrays[name] = np.zeros(generator.choice([(0,), (3, 3), (1000,)]))
    elif kind == 2:
        arrays[name] = np.array(generator.choice([text for text in TEXTS if text != "\ud800"]))
    elif kind == 3:
        arrays[generator.choice(["../../x", "facts", "record/complete", "x" * 300])] = np.zeros(2)
    elif kind == 4:
        arrays["facts"] = np.array(generator.choice(["[" * 90_000, "{}", "[]", '{"a": 1}', "NaN"]))
    save = np.savez_compressed if kind == 5 else np.savez
    save(path, **arrays)
    if kind == 6:
        write_bomb(generator, path)


BOMBS = [("(1000000000000,)", "<f8"), ("(3,)", "|O"), ("()", "<U99999999")]


def write_bomb(generator, path):
    """A small file that says that it is a large array."""
    shape, descr = generator.choice(BOMBS)
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("facts.npy", member)


FILE_DAMAGE = [flip, truncate, extend, make_huge, delete, overwrite, make_folder, make_pipe]
FILE_DAMAGE += [link_file]
DAMAGE = [*FILE_DAMAGE, swap, copy_foreign, link_folder, flatten, add_names, forge, forge, forge]
DAMAGE += [rewrite_archive]


def damage(generator: random.Random, folder: Path, arena: Path) -> list[str]:
    """Damage a run folder once, or a few times; returns what was done."""
    done = []
    for _ in range(generator.choice([1, 1, 2, 4])):
        act, path = generator.choice(DAMAGE), draw_file(generator, folder)
        archives = [path for path in files(folder) if path.suffix == ".npz"]
        if act is rewrite_archive and archives:
            path = generator.choice(archives)
        act(generator, path, arena)
        done.append(f"{act.__name__} {path.relative_to(folder)}")
        if not files(folder):
            break
    return done
