"""The files of a prepared data set: their records as bytes, whole or refused."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnjax.errors import needs

LARGEST_SHARD = 8 * 2**30  # bytes
LARGEST_RECORD = 2**16  # bytes; a colour image of 32×32 pixels has some 2,500


def read(path: Path, count: int) -> list[bytes]:
    """The records of one file, ArrayRecord or TFRECORD, without TensorFlow.

    Args:
      path: named as tensorflow-datasets does, e.g. `mnist-train.array_record-00000-of-00001`.
      count: how many records `dataset_info.json` says that it has.

    Raises:
      ValueError: it is missing or damaged, or has another number of records.
      MissingPackage: the reader of ArrayRecord is not installed.
    """
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    if path.stat().st_size > LARGEST_SHARD:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes")
    if ".tfrecord" in path.name:
        found = read_tfrecord(path)
        held = len(found)
    elif ".array_record" in path.name:
        with needs("data"):
            from array_record.python.array_record_module import ArrayRecordReader

        reader = ArrayRecordReader(str(path))
        held = reader.num_records()
        found = reader.read_all() if held == count else []
    else:
        raise ValueError(f"{path.name} is neither array_record nor tfrecord")
    if held != count:
        raise ValueError(f"{path.name} has {held:,} records, of {count:,} in dataset_info.json")
    return found


def read_tfrecord(path: Path) -> list[bytes]:
    """The records of a TFRECORD file, each behind its length, both with masked CRC-32C."""
    content = path.read_bytes()
    lengths, records, sums = [], [], []
    place = 0
    try:
        while place < len(content):
            size, length_sum = struct.unpack_from("<QI", content, place)
            end = place + 12 + size
            (record_sum,) = struct.unpack_from("<I", content, end)
            if size > LARGEST_RECORD:
                raise ValueError(f"{path.name} has a record of {size:,} bytes")
            lengths.append(content[place : place + 8])
            records.append(content[place + 12 : end])
            sums.append((length_sum, record_sum))
            place = end + 4
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{path.name} is cut off, or damaged") from error
    found = np.array([checksums(lengths), checksums(records)])
    if not np.array_equal(found.T, np.array(sums, np.uint32).reshape(-1, 2)):
        raise ValueError(f"{path.name} is damaged: a checksum differs")
    return records


def table() -> np.ndarray:
    """CRC-32C of each byte alone, uint32 `[256]`."""
    found: Any = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        found = (found >> 1) ^ np.where(found & 1, np.uint32(0x82F63B78), np.uint32(0))
    return found


def checksums(texts: Sequence[bytes]) -> np.ndarray:
    """The masked CRC-32C of each text, uint32 `[texts]`: one byte of all of them at a time.

    Source: RFC 3720, appendix B.4; the mask is that of TensorFlow's `record_writer.h`.

    Example:
      >>> hex(checksums([b"123456789"])[0])
      '0xc78ab0e5'
    """
    sizes = np.array([len(text) for text in texts], np.int64)
    order = np.argsort(-sizes, kind="stable")
    starts = (np.cumsum(sizes) - sizes)[order]
    flat = np.frombuffer(b"".join(texts), np.uint8)
    of_byte = table()
    found: Any = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    longer = np.searchsorted(-sizes[order], -np.arange(sizes.max(initial=0)))  # than each place
    for place, count in enumerate(longer.tolist()):  # these are the first ones
        own = found[:count]
        found[:count] = of_byte[(own ^ flat[starts[:count] + place]) & 255] ^ (own >> 8)
    found = ~found
    masked = ((found >> 15) | (found << 17)) + np.uint32(0xA282EAD8)
    return masked[np.argsort(order)]
