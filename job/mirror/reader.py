"""Reads logs for VisualDL's server, each when the page asks for it; used instead of VisualDL's LogReader.

VisualDL's own reads all logs before it answers a request, and keeps 1 kB for each point of a curve. This one
keeps 20 bytes, and notices logs that were redrawn or removed.
"""

from __future__ import annotations

import math
import os
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from job.mirror.files import CHART, FEWEST, FILE_NAME, Identity, Shown, log_files
from job.mirror.records import LENGTH, values

from visualdl.proto.record_pb2 import Record  # isort: skip

AT_A_TIME = 1 << 16
"""bytes that are read of a log at a time"""
HISTOGRAMS = 100
"""histograms per tag; VisualDL's default"""


class Log:
    """What was read of a log. A record that is incomplete or invalid is the end for now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget(None)

    def _forget(self, found: Identity | None) -> None:
        self.identity = found
        self.end = 0
        """bytes up to the end of the last whole record"""
        self.scalar: dict[str, tuple[array[int], array[int], array[float]]] = defaultdict(
            lambda: (array("q"), array("q"), array("f"))
        )
        """steps, wall times in milliseconds, and values of each tag"""
        self.histogram: dict[str, array[int]] = defaultdict(lambda: array("q"))
        """where each tag's records begin in the file"""
        self.hyper_parameters: dict[str, array[int]] = defaultdict(lambda: array("q"))
        """the same"""

    def read(self, *, first: bool = False) -> None:
        """Read what was added; if `first`, only a part, and nothing once there are scalars.

        A redrawn file is read from its beginning; of a removed one nothing is left.
        """
        try:
            with self.path.open("rb") as file:
                state = os.fstat(file.fileno())
                found = state.st_dev, state.st_ino
                if found != self.identity or state.st_size < self.end:
                    self._forget(found)
                elif first and self.scalar:
                    return
                file.seek(self.end)
                content = b""
                while more := file.read(AT_A_TIME):
                    content = self._take(content + more)
                    if first:
                        return
        except OSError:
            self._forget(None)

    def _take(self, content: bytes) -> bytes:
        """Note the whole records that `content` begins with; return the rest."""
        begin, end = self.end, 0
        for stop, kind, value in values(content):
            if kind == "value":
                steps, moments, numbers = self.scalar[value.tag]
                steps.append(value.id)
                moments.append(value.timestamp)
                numbers.append(value.value)
            elif kind == "histogram":
                self.histogram[value.tag].append(begin + end)
            elif kind == "hparam":
                self.hyper_parameters[value.tag].append(begin + end)
            end = stop
        self.end += end
        return content[end:]

    def tagged(self, component: str, tag: str) -> Any:
        """What was read of a tag, in whose name VisualDL writes % for /. Raises KeyError if there is none."""
        return dict(getattr(self, component))[tag.replace("%", "/")]

    def values_at(self, places: list[int]) -> list[Any]:
        """The values of the records that begin at these places of the file."""
        found = []
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                (length,) = LENGTH.unpack(file.read(LENGTH.size))
                found.append(Record.FromString(file.read(length)).values[0])
        return found


class Logs:
    """The shown logs under the current directory, with what the shown tabs use of VisualDL's LogReader.

    `points` is how many a curve may have, 0 for all; None for as many as the page can draw.
    """

    def __init__(self, shown: Shown, points: int | None) -> None:
        self.shown = shown
        self.points = points
        self.logs: dict[str, Log] = {}
        self.data_manager = self
        self.name2tags: dict[str, str] = {}
        self.tags2name: dict[str, str] = {}

    def runs(self) -> list[str]:
        """The names of the shown logs, such as `2/paddle`, in the order of the runs."""
        paths = {}
        for path in log_files(self.shown.directories(Path())):
            name = str(path.parent)
            if (path.name == FILE_NAME or name not in paths) and is_log(path):
                paths[name] = path
        ordered = sorted(paths, key=by_number)
        known = self.logs
        self.logs = {
            name: known[name] if name in known and known[name].path == paths[name] else Log(paths[name])
            for name in ordered
        }
        return ordered

    def read(self, run: str) -> Log:
        """A log, read to its end. Raises KeyError if it is not shown."""
        if run not in self.logs:
            self.runs()
        self.logs[run].read()
        return self.logs[run]

    def most_points(self) -> int:
        """How many points a curve may have; 0 for all."""
        if self.points is None:
            return max(FEWEST, CHART // max(1, len(self.logs)))
        return self.points

    def components(self, update: bool = True) -> list[str]:
        """The kinds of values that have a tab."""
        return ["scalar", "histogram", "hyper_parameters"]

    def load_new_data(self) -> None:
        """Do nothing: a log is read when its values are requested."""

    def get_reservoir(self, component: str) -> Tags:
        """The tags of one kind, in all logs."""
        return Tags(self, component)

    def tags(self) -> dict[str, str]:
        """The kinds of tags. VisualDL only looks for one that no shown tab has."""
        return {}

    def get_log_data(self, component: str, run: str, tag: str) -> list[list[Any]]:
        """All points of a scalar, to be downloaded: step, tag, wall time and value."""
        points = zip(*self.read(run).tagged(component, tag), strict=True)
        return [[step, tag.replace("%", "/"), moment, value] for step, moment, value in points]


class Tags:
    """The tags of one kind in the shown logs; VisualDL calls it a reservoir."""

    def __init__(self, logs: Logs, component: str) -> None:
        self.logs = logs
        self.component = component

    @property
    def keys(self) -> list[str]:
        """Names of logs and tags, `2/paddle/loss%train`, as far as the logs were read."""
        self.logs.runs()
        found = []
        for run, log in self.logs.logs.items():
            log.read(first=True)
            found += [f"{run}/{tag.replace('/', '%')}" for tag in getattr(log, self.component)]
        return found

    def get_items(self, run: str, tag: str) -> list[Any]:
        """Up to HISTOGRAMS values of a tag, the newest among them. Raises KeyError if there is none."""
        log = self.logs.read(run)
        places = log.tagged(self.component, tag)
        return log.values_at([places[i] for i in spread(len(places), HISTOGRAMS)])


def get_scalar(logs: Logs, run: str, tag: str) -> list[list[Any]]:
    """The points of a curve for the page: wall time in milliseconds, step, value (NaN and inf as text).

    If there are more than allowed, evenly spaced ones, and both extremes. Raises KeyError if there is none.
    """
    steps, moments, losses = map(np.array, logs.read(run).tagged("scalar", tag))
    most = logs.most_points()
    if 0 < most < len(losses):
        lowest = np.where(np.isnan(losses), np.inf, losses).argmin()
        highest = np.where(np.isnan(losses), -np.inf, losses).argmax()
        chosen = np.union1d(spread(len(losses), most - 2), [lowest, highest]).astype(int)
        steps, moments, losses = steps[chosen], moments[chosen], losses[chosen]
    points = zip(moments.tolist(), steps.tolist(), losses.tolist(), strict=True)
    return [[moment, step, x if math.isfinite(x) else str(x)] for moment, step, x in points]


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` positions, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist() if count else []


def is_log(path: Path) -> bool:
    """Whether a file begins like a log."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return any(True for _ in values(file.read(4096)))
    except OSError:
        return False


def by_number(name: str) -> list[tuple[int, str]]:
    """A sort key that puts run 9 before run 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in Path(name).parts]
