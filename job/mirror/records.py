"""VisualDL's log format: records of a little-endian uint64 length and a serialised `Record` of one value.

The message classes are VisualDL's. Its LogWriter is not used: it opens and closes the file for each record,
loses the last 120 records if it is killed, and takes thirty times as long.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError

from db.history import Float32s, Float64s, History, Int64s

if TYPE_CHECKING:  # the server needs no SQLAlchemy
    from db.schema import RunRow


@contextmanager
def away_from_home() -> Iterator[None]:
    """HOME is an empty directory in this context: VisualDL writes settings to it when it is imported."""
    home = os.environ.pop("HOME", None)
    with tempfile.TemporaryDirectory() as empty:
        os.environ["HOME"] = empty
        try:
            yield
        finally:
            del os.environ["HOME"]
            if home is not None:
                os.environ["HOME"] = home


with away_from_home():
    from visualdl.component import base_component
    from visualdl.proto.record_pb2 import Record

TRAIN, TEST, WEIGHTS = "loss/train", "loss/test", "weights"
TAGS = (TRAIN, TEST, WEIGHTS)
"""the tags of an epoch, in the order of its records"""
KINDS = ("value", "value", "histogram")
"""the kinds of these records"""
LENGTH = struct.Struct("<Q")


def framed(message: bytes) -> bytes:
    """A serialised record with its length."""
    return LENGTH.pack(len(message)) + message


def head(run: RunRow, model: str) -> bytes:
    """The first records of a model's log: the metadata that VisualDL needs, and the hyper-parameters.

    They identify the run: two runs, of one store or of two, have different heads. As metrics of the
    hyper-parameters VisualDL shows the last point of the two losses.
    """
    created = round(run.created_at.timestamp() * 1000)
    meta = base_component.meta_data(walltime=created)
    settings = {
        "epochs": run.epochs,
        "learning_rate": run.learning_rate,
        "seed": run.seed,
        "dataset": run.dataset.name,
        "target": run.dataset.target,
    }
    name = f"{run.id}/{model}"
    parameters = base_component.hparam(name, settings, [TRAIN, TEST], walltime=created)
    return b"".join(framed(record.SerializeToString()) for record in (meta, parameters))


def weights(names: Sequence[str]) -> list[int]:
    """Positions of the parameters that are drawn as `weights`: all but one named `bias`."""
    return [i for i, name in enumerate(names) if name != "bias"] or [*range(len(names))]


def epoch_records(history: History, shown: Sequence[int] | slice = slice(None)) -> bytes:
    """The records of consecutive epochs: for each the train loss, the test loss and the weights' histogram.

    `shown` gives the positions of the weights among the parameters.
    Steps are epochs, wall times `trained_at` in milliseconds. The messages are reused for every epoch, which
    takes a quarter of the time of making them.
    """
    counts, edges = histograms(history.parameters[:, shown])
    moments = np.round(history.trained_at * 1000).astype(np.int64)
    train, test, drawn = (Record(values=[Record.Value(tag=tag)]) for tag in TAGS)
    train_value, test_value, drawn_value = (record.values[0] for record in (train, test, drawn))
    parts: list[bytes] = []
    for epoch, moment, train_loss, test_loss, count, edge in zip(
        history.epoch.tolist(),
        moments.tolist(),
        history.train_loss.tolist(),
        history.test_loss.tolist(),
        counts.tolist(),
        edges.tolist(),
        strict=True,
    ):
        train_value.id = test_value.id = drawn_value.id = epoch
        train_value.timestamp = test_value.timestamp = drawn_value.timestamp = moment
        train_value.value = train_loss
        test_value.value = test_loss
        drawn_value.histogram.hist[:] = count
        drawn_value.histogram.bin_edges[:] = edge
        for record in (train, test, drawn):
            message = record.SerializeToString()
            parts += (LENGTH.pack(len(message)), message)
    return b"".join(parts)


def histograms(weights: Float32s) -> tuple[Int64s, Float64s]:
    """Counts int64 [n, k] and edges float64 [n, k + 1] of the k weights of n epochs, in k buckets each.

    The same as `numpy.histogram(row, bins=k)` of each row in double precision, for all rows at once: equal
    buckets from the smallest weight to the largest, the last one closed. If all weights are equal, the range
    is extended on both sides by 0.5, or by 2^-20 of their size if that is more.
    """
    values = weights.astype(np.float64)
    n, k = values.shape
    low, high = values.min(axis=1, initial=np.inf), values.max(axis=1, initial=-np.inf)
    room = np.where(low == high, np.maximum(0.5, np.abs(low) * 2.0**-20), 0.0)
    low, high = low - room, high + room
    edges = np.linspace(low, high, k + 1, axis=1)
    rows = np.arange(n)[:, None]
    bucket = ((values - low[:, None]) / (high - low)[:, None] * k).astype(np.int64)
    bucket = np.minimum(bucket, k - 1)
    # The division may round across an edge; the edges decide.
    bucket -= values < edges[rows, bucket]
    bucket += (values >= edges[rows, bucket + 1]) & (bucket != k - 1)
    counts = np.bincount((rows * k + bucket).ravel(), minlength=n * k).reshape(n, k)
    return counts.astype(np.int64), edges


def values(content: bytes, start: int = 0) -> Iterator[tuple[int, str, Any]]:
    """The end, kind and value of each whole record, up to the first that is incomplete or no record."""
    while start + LENGTH.size <= len(content):
        begin = start + LENGTH.size
        start = begin + LENGTH.unpack_from(content, start)[0]
        if start > len(content):
            return
        try:
            found = Record.FromString(content[begin:start]).values
        except DecodeError:
            return
        if len(found) != 1 or not (kind := found[0].WhichOneof("one_value")):
            return
        yield start, kind, found[0]


def read(content: bytes, expected_head: bytes, *, gaps: bool = False) -> tuple[int, int] | None:
    """One more than the last whole epoch of the mirror's log, and the bytes up to that epoch's end.

    Only the beginning of an epoch may follow. None if the log does not begin with the expected head, or if
    its records are not each epoch's, once and in order; epochs may be missing if `gaps`.
    """
    if not content.startswith(expected_head):
        return None
    size = last = len(expected_head)
    epoch, position = 0, 0
    for end, kind, value in values(content, size):
        if gaps and position == 0:
            epoch = max(epoch, value.id)
        if (value.id, value.tag, kind) != (epoch, TAGS[position], KINDS[position]):
            return None
        last, position = end, position + 1
        if position == len(TAGS):
            size, epoch, position = last, epoch + 1, 0
    return (epoch, size) if is_beginning(content[last:]) else None


def is_beginning(content: bytes) -> bool:
    """Whether the bytes are the beginning of one record, and nothing more."""
    if len(content) < LENGTH.size:
        return True
    (length,) = LENGTH.unpack_from(content)
    return bool(len(content) < LENGTH.size + length)
