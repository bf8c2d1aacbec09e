"""`job plot`: which files it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from db.schema import RunRow
from db.store import Store
from job.cli import run
from job.cli.options import choices
from job.data.dataset import load
from tests.samples import histories

Output = pytest.CaptureFixture[str]

FIGURES = ("losses", "parameters-paddle", "parameters-python", "gap", "overfitting", "predictions")


def plot(store: Store, *words: str) -> int:
    return run(["plot", *words, "--database-url", store.url.render_as_string()])


@pytest.mark.slow
def test_every_figure_is_drawn_as_png_and_svg(filled: Store, capsys: Output, tmp_path: Path) -> None:
    assert plot(filled, "1", "-o", str(tmp_path / "out")) == 0
    files = [Path(line) for line in capsys.readouterr().out.split()]
    assert [file.name for file in files] == [f"run-1-{n}.{kind}" for n in FIGURES for kind in ("png", "svg")]
    for file in files:
        start = b"\x89PNG" if file.suffix == ".png" else b"<?xml"
        assert file.read_bytes().startswith(start)


@pytest.mark.slow
def test_several_runs_go_into_one_figure(filled: Store, capsys: Output, tmp_path: Path) -> None:
    assert plot(filled, "1", "2", "--format", "svg", "-o", str(tmp_path), "--figure", "losses,gap") == 0
    names = [Path(line).name for line in capsys.readouterr().out.split()]
    assert names == ["runs-1-2-losses.svg", "runs-1-2-gap.svg"]


def test_words_apart_by_commas_count_once() -> None:
    assert choices("svg, png,,svg", ("png", "svg"), "format") == ["svg", "png"]


def test_a_run_named_twice_is_one_and_a_figure_asked_for_must_be_drawable(
    filled: Store, capsys: Output, tmp_path: Path
) -> None:
    assert plot(filled, "1", "1", "--format", "svg", "-o", str(tmp_path), "--figure", "overfitting") == 0
    assert Path(capsys.readouterr().out.strip()).name == "run-1-overfitting.svg"
    (tmp_path / "made.csv").unlink()
    assert plot(filled, "1", "--figure", "losses,predictions", "-o", str(tmp_path / "none")) == 2
    problem = "the figure predictions cannot be drawn: the data file of run 1 (made.csv) is not found"
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_sweep_is_drawn_into_files_of_its_name(filled: Store, capsys: Output, tmp_path: Path) -> None:
    dataset = load(tmp_path / "made.csv")
    for seed in (0, 1):
        writer = filled.start_run(
            dataset.row(), epochs=9, learning_rate=0.1, seed=seed, environment={}, sweep="a/b c"
        )
        writer.append("paddle", histories(9, seed=seed)["paddle"])
    runs = [run.id for run in filled.runs() if run.sweep]
    thinned = update(RunRow).where(RunRow.id == runs[0]).values(thinned_every=10)
    filled.write(lambda session, _: session.execute(thinned))
    assert plot(filled, "--sweep", "a/b c", "--format", "svg", "-o", str(tmp_path / "out")) == 0
    said = capsys.readouterr()
    *files, words = said.out.splitlines()
    assert [Path(file).name for file in files] == ["sweep-a_b_c-fan.svg", "sweep-a_b_c-final.svg"]
    assert all(Path(file).read_bytes().startswith(b"<?xml") for file in files)
    assert words.startswith("the seed's share of the spread is not known")
    assert "without the downsampled runs of the sweep a/b c: 1" in said.err


@pytest.mark.slow
def test_without_the_data_file_the_rest_is_drawn(filled: Store, capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "made.csv").unlink()
    assert plot(filled, "1", "--format", "svg", "-o", str(tmp_path)) == 0
    said = capsys.readouterr()
    assert len(said.out.split()) == len(FIGURES) - 1
    assert "without the figure predictions: the data file of run 1 (made.csv) is not found" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("3",), "run 3 has no epochs yet, so there is nothing to draw"),
        (("1", "--figure", "loss"), "'loss' is no figure; there are losses, parameters-paddle"),
        (("1", "--format", "gif"), "'gif' is no format; there are png, svg"),
        (("1", "--format", ","), "name at least one format of png, svg"),
        ((), "name the runs to draw, or a sweep with --sweep"),
        (("1", "--sweep", "s"), "name the runs to draw, or a sweep with --sweep"),
        (("--sweep", "s"), "there is no sweep 's'"),
        (("1", "--data", "nowhere.csv"), "nowhere.csv: there is no such file"),
    ],
)
def test_wrong_use_is_one_line(filled: Store, capsys: Output, words: tuple[str, ...], message: str) -> None:
    assert plot(filled, *words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
