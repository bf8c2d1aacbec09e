"""Delta debugging: the fewest of many changes that together bring an effect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


def ddmin(changes: Sequence[T], brings: Callable[[list[T]], bool]) -> list[T]:
    """The fewest of `changes` that still bring the effect, in order; all of them bring it, none does not.

    The algorithm ddmin of Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
    Transactions on Software Engineering 28(2), 2002: try each part of the changes, then each rest, and cut
    into smaller parts if none of them brings the effect. `brings` is False also for a set that cannot be
    tried. Without any one change of the answer, the others do not bring the effect ("1-minimal"); a smaller
    set of other changes may exist. Calls `brings` at most n**2 + 3 n times for n changes, never twice with
    the same ones.
    """
    known: dict[tuple[int, ...], bool] = {}

    def tried(chosen: list[int]) -> bool:
        if tuple(chosen) not in known:
            known[tuple(chosen)] = brings([changes[i] for i in chosen])
        return known[tuple(chosen)]

    found, parts = list(range(len(changes))), 2
    while len(found) > 1:
        bounds = [len(found) * i // parts for i in range(parts + 1)]
        cuts = list(pairwise(bounds))
        part = next((found[a:b] for a, b in cuts if tried(found[a:b])), None)
        rest = part or next((found[:a] + found[b:] for a, b in cuts if tried(found[:a] + found[b:])), None)
        if part:
            found, parts = part, 2
        elif rest:
            found, parts = rest, max(parts - 1, 2)
        elif parts < len(found):
            parts = min(2 * parts, len(found))
        else:
            break
    return [changes[i] for i in found]
