"""Tells people about a night that went wrong, through apprise, to the addresses in JOB_NOTIFY_URLS.

An address holds what it takes to post to it, so it never stands in a line of ours.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from job.errors import NotifyError

SETTING = "JOB_NOTIFY_URLS"
"""addresses as apprise writes them, apart by blanks"""


def notifier(say: Callable[[str], None]) -> Callable[[str, str], None]:
    """What sends a title and a body to every address; what does nothing where there is none.

    `say` is told of what could not be sent. Raises NotifyError for an address that cannot be understood,
    and where apprise is not installed.
    """
    addresses = os.environ.get(SETTING, "").split()
    if not addresses:
        return lambda title, body: None
    targets = [understood(address, i, len(addresses)) for i, address in enumerate(addresses, 1)]

    def send(title: str, body: str) -> None:
        failed = [i for i, target in enumerate(targets, 1) if not sent(target, title, body)]
        if failed:
            numbers = ", ".join(map(str, failed))
            say(f"{title}: address {numbers} of {len(targets)} in {SETTING} could not be notified")

    return send


def understood(address: str, number: int, of: int) -> Any:
    """An apprise target. Raises NotifyError."""
    try:
        import apprise
    except ModuleNotFoundError:
        raise NotifyError(
            f'{SETTING} is set, but apprise is not installed; run: pip install "epoch-ledger[notify]"'
        ) from None
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it names addresses in its complaints
    target = apprise.Apprise()
    if not target.add(address):
        raise NotifyError(
            f"{SETTING}: address {number} of {of} is not one that apprise knows; "
            "https://appriseit.com lists how to write them"
        )
    return target


def sent(target: Any, title: str, body: str) -> bool:
    """Whether a target took a message; whatever goes wrong with it is a no."""
    try:
        return bool(target.notify(title=title, body=body))
    except Exception:  # a plugin's own failure must not become the night's
        return False
