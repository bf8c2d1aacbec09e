r"""The digest of a history: a chain of SHA-256 over its epochs, so that 32 bytes name all of its bits.

    d[-1] = SHA-256("epoch-ledger 1\n", then each parameter's name and "\n", in UTF-8)
    d[e]  = SHA-256(d[e-1], e as little-endian int64, the train loss, the test loss and the parameters of
            epoch e as little-endian float32)

It depends neither on blocks, resumes and database nor on the machine. Times are not part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.history import History

VERSION = "epoch-ledger 1"
BLOCK_EPOCHS = 2000
"""most epochs of a block. One ends at each multiple of this, so that any two runs have digests of the same
epochs."""


def start(parameters: Iterable[str]) -> bytes:
    """d[-1] of a history of parameters with these names, 32 bytes."""
    return sha256("".join(f"{line}\n" for line in (VERSION, *parameters)).encode()).digest()


def extend(digest: bytes, history: History) -> bytes:
    """The digest after the epochs of `history`, where `digest` is the one before them."""
    import numpy as np  # not at the top: commands that read no epochs start in half the time

    values = history.values.astype("<f4")
    epochs = history.epoch.astype("<i8").reshape(-1, 1)
    rows = np.hstack([epochs.view(np.uint8), values.view(np.uint8)])
    size, content = rows.shape[1], rows.tobytes()
    for at in range(0, len(content), size):
        digest = sha256(digest + content[at : at + size]).digest()
    return digest


def digest_of(parameters: Iterable[str], history: History) -> str:
    """The digest of a history from its first epoch on, 64 hexadecimal digits."""
    return extend(start(parameters), history).hex()
