"""notebooks/history.ipynb runs from top to bottom on a store that was just filled."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Job

NOTEBOOK = ROOT / "notebooks" / "history.ipynb"


def executed(url: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook after it ran in that directory."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("JOB_DATABASE_URL", url)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(directory)}}
        )
        asyncio.run(client.async_execute())
    return notebook


@pytest.mark.slow
def test_the_notebook_reads_and_draws_a_run(
    database_url: str, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert job("train", "--epochs", 200, "--database-url", database_url).returncode == 0
    notebook = executed(database_url, tmp_path, monkeypatch)
    kinds = [
        kind
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for kind in output.get("data", {})
    ]
    assert kinds.count("image/png") == 2
    assert kinds.count("text/html") == 3


def test_the_notebook_is_kept_without_outputs() -> None:
    import nbformat

    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert all(
        not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code"
    )
