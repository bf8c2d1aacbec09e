"""A run's history as one flat table, for other tools: CSV and Parquet."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from db.errors import LedgerError, StoreError
from db.schema import RunRow
from db.store import Store
from job.output_files import harmless


def table(store: Store, run: RunRow) -> pd.DataFrame:
    """One row for each model and epoch; losses and parameters are float32.

    A linear regression's weights are called `weight_<feature>`, and any other parameter `parameter_<name>`.

    Raises StoreError for a run without epochs.
    """
    parts = []
    # The prefix keeps a feature named `epoch` from replacing our column.
    prefix = "weight" if run.is_linear_regression else "parameter"
    names = [f"{prefix}_{name}" for name in run.parameter_names]
    if run.is_linear_regression:
        names[-1] = "bias"
    for model in store.progress(run.id):
        history = store.history(run.id, model)
        columns: dict[str, object] = {
            "model": np.full(len(history), model, dtype=object),
            "epoch": history.epoch,
            "train_loss": history.train_loss,
            "test_loss": history.test_loss,
        }
        columns |= dict(zip(names, history.parameters.T, strict=True))
        columns |= {"trained_at": history.trained_at}
        parts.append(pd.DataFrame(columns))
    if not parts:
        raise StoreError(f"run {run.id} has no epochs yet, so there is nothing to export")
    return pd.concat(parts, ignore_index=True)


def as_csv(frame: pd.DataFrame) -> bytes:
    """The table as CSV."""
    # Written as doubles with all digits, so that any reader gets the same float32 bits: a few of float32's
    # shortest decimals, read as doubles and then rounded, give another float32.
    wide = frame.astype({name: np.float64 for name in frame.columns if frame[name].dtype == np.float32})
    wide["model"] = wide["model"].map(harmless)
    text: str = wide.to_csv(index=False, lineterminator="\n")
    return text.encode()


def as_parquet(frame: pd.DataFrame) -> bytes:
    """The table as Parquet, with float32 columns. Raises LedgerError if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise LedgerError(
            "Parquet needs pyarrow, which is not installed: pip install 'epoch-ledger[parquet]'"
        ) from None
    file = io.BytesIO()
    frame.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


WRITERS = {"csv": as_csv, "parquet": as_parquet}
