"""Which failed verdicts make a training fail: its exit status, and who is notified."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.schema import VerdictRow


class FailOn(StrEnum):
    """Which failed verdicts give the exit status 1. A run that fails or diverges always does."""

    drift = "drift"
    """any failed verdict, but not a drift to the baseline's bits, which are accepted"""
    change = "change"
    """the same but baseline: a change of the bits fails on one night only"""
    parity = "parity"
    """any failed verdict but drift and baseline"""
    never = "never"
    """none"""

    def failed(self, verdicts: Sequence[VerdictRow]) -> list[VerdictRow]:
        """The failed verdicts of a run that count."""
        if self is FailOn.never:
            return []
        ignored = set() if self is FailOn.drift else {"baseline"}
        if self is FailOn.parity or any(each.kind == "baseline" and each.passed for each in verdicts):
            ignored.add("drift")
        return [each for each in verdicts if not each.passed and each.kind not in ignored]
