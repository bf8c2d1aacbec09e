"""The notebooks run from top to bottom: one trains, the other reads a store that was just trained."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest

from db.store import Store
from job.cli import run as command
from tests.conftest import ROOT, Job

NOTEBOOKS = ROOT / "notebooks"


def executed(name: str, url: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook after it ran in that directory."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("JOB_DATABASE_URL", url)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
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
    notebook = executed("history.ipynb", database_url, tmp_path, monkeypatch)
    kinds = [
        kind
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        for kind in output.get("data", {})
    ]
    assert kinds.count("image/png") == 2
    assert kinds.count("text/html") == 3


@pytest.mark.process
def test_the_notebook_trains_as_the_command_does(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed("train.ipynb", database_url, tmp_path, monkeypatch)
    assert command(["train", "--epochs", "200", "--database-url", database_url]) == 0
    with Store(database_url) as store:
        assert [(run.status, run.trigger, run.epochs) for run in store.runs()] == [
            ("completed", "manual", 200)
        ] * 2
        assert [verdict.kind for verdict in store.verdicts(1)] == ["integrity", "parity", "exact", "exact"]
        for model in ("paddle", "python"):
            assert store.history(1, model).same_bits(store.history(2, model))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_notebooks_are_kept_without_outputs(path: Path) -> None:
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    assert all(
        not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code"
    )
