"""Notifications about scheduled runs: their text, and how apprise sends them to JOB_NOTIFY_URLS.

An address contains credentials, so it is never logged.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from db.scheduled_runs import ScheduledRun
from db.schema import VerdictRow
from job.errors import NotifyError
from job.verdicts.fail_on import FailOn

URLS_VARIABLE = "JOB_NOTIFY_URLS"
"""addresses as apprise writes them, separated by spaces"""


def notifier(log_line: Callable[[str], None]) -> Callable[[str, str], None]:
    """A function that sends a title and a body to every address, if there is one.

    `log_line` is called if a message cannot be sent. Raises NotifyError for invalid addresses or without
    apprise.
    """
    addresses = os.environ.get(URLS_VARIABLE, "").split()
    if not addresses:
        return lambda title, body: None
    targets = [target_of(address, i, len(addresses)) for i, address in enumerate(addresses, 1)]

    def send(title: str, body: str) -> None:
        failed = [i for i, target in enumerate(targets, 1) if not sent(target, title, body)]
        if failed:
            numbers = ", ".join(map(str, failed))
            log_line(f"{title}: address {numbers} of {len(targets)} in {URLS_VARIABLE} could not be notified")

    return send


def target_of(address: str, number: int, of: int) -> Any:
    """The apprise target of an address. Raises NotifyError."""
    try:
        import apprise
    except ModuleNotFoundError:
        raise NotifyError(
            f'{URLS_VARIABLE} is set, but apprise is not installed; run: pip install "epoch-ledger[notify]"'
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # its log messages contain addresses
    target = apprise.Apprise()
    if not target.add(address):
        raise NotifyError(
            f"{URLS_VARIABLE}: address {number} of {of} is not one that apprise knows; "
            "https://appriseit.com lists how to write them"
        )
    return target


def sent(target: Any, title: str, body: str) -> bool:
    """Send a message to a target; return whether that succeeded."""
    try:
        return bool(target.notify(title=title, body=body))
    except Exception:  # a plugin's failure must not fail the scheduled run
        return False


def bad_news(scheduled_run: ScheduledRun, verdicts: Sequence[VerdictRow], fail_on: FailOn) -> str | None:
    """The text if a run failed or was missed, or if a verdict counts for `fail_on`; else None."""
    row, run = scheduled_run.row, scheduled_run.run
    due = f"the scheduled run of {row.due_at:%Y-%m-%d %H:%M}Z"
    if row.status in ("missed", "failed"):
        return (
            f"{due} {'was missed' if row.status == 'missed' else 'failed'}: {row.detail or 'no reason known'}"
        )
    if run is None:
        return None
    if run.status in ("failed", "diverged", "crashed"):
        return f"{due}, run {run.id}, {run.status}: {run.stop_reason or 'no reason known'}"
    failed = [
        f"{verdict.kind}: {verdict.detail}"
        for verdict in fail_on.failed(verdicts)
        # A drift back to bits that were known before is no news: the drift away from them was.
        if not verdict.detail.startswith("back to the bits of run ")
    ]
    return f"{due}, run {run.id}: {'; '.join(failed)}" if failed else None
