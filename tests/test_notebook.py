"""The notebooks run from top to bottom: one trains, the other reads a store that was just trained."""

from __future__ import annotations

import asyncio
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.store import Store
from job.cli import run as command
from tests.conftest import ROOT, Job
from tests.samples import execute

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


@pytest.mark.thorough
def test_the_notebook_shows_the_newest_run_under_the_right_names(
    filled: Store, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    import nbformat
    from matplotlib import pyplot

    execute(filled, "DELETE FROM runs WHERE id = 3")  # it has no epochs
    monkeypatch.setenv("JOB_DATABASE_URL", filled.url.render_as_string())
    monkeypatch.setattr(pyplot, "show", lambda: None)
    request.addfinalizer(partial(pyplot.switch_backend, pyplot.get_backend()))
    request.addfinalizer(partial(pyplot.close, "all"))
    pyplot.switch_backend("agg")
    found: dict[str, Any] = {}
    for cell in nbformat.read(NOTEBOOKS / "history.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, found)
    stored = {model: filled.history(2, model) for model in ("paddle", "python")}
    request.addfinalizer(found["engine"].dispose)
    (axes,) = found["figure"].axes
    assert axes.get_title() == found["axes"].get_title().rpartition(", ")[2].capitalize() == "Run 2"
    parts = {
        f"{model} {part}": getattr(own, f"{part}_loss").tolist()
        for model, own in stored.items()
        for part in ("train", "test")
    }
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {
        name: pytest.approx(losses) for name, losses in parts.items()
    }
    drawn = {line.get_label(): list(line.get_ydata()) for line in found["axes"].lines}
    names = filled.run(2).parameter_names
    values = stored["python"].parameters.T.tolist()
    assert drawn == {name: pytest.approx(own) for name, own in zip(names, values, strict=True)}
    apart = abs(stored["paddle"].test_loss - stored["python"].test_loss.astype(float))
    assert found["gaps"].test_loss_gap.tolist() == pytest.approx(apart.tolist(), abs=1e-6)


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
