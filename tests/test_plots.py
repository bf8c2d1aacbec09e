"""The figures show what is stored, and say what they cannot show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db.store import Store
from job.cli import run
from job.data.dataset import load
from job.data.source import predictions
from job.plots import figures
from job.plots.draw import FIGURES, draw, drawable
from job.plots.style import spread
from job.plots.subject import Subject, read_subject
from job.report import page
from tests.samples import dataset_row, history, write_csv

Output = pytest.CaptureFixture[str]


@pytest.fixture
def filled(sqlite_url: str, tmp_path: Path) -> Store:
    dataset = load(write_csv(tmp_path / "made.csv"))
    store = Store(sqlite_url, create=True)
    for seed in (0, 1):
        writer = store.start_run(dataset.row(), epochs=30, learning_rate=0.1, seed=seed, environment={"a": 1})
        for model in ("paddle", "python"):
            writer.append(model, history(30, seed=seed))
        writer.finish("completed")
    store.start_run(dataset.row(), epochs=30, learning_rate=0.1, seed=seed, environment={})
    return store


@pytest.fixture
def subject(filled: Store) -> Subject:
    return read_subject(filled, filled.run(1))


def plot(store: Store, *words: str) -> int:
    return run(["plot", *words, "--database-url", store.url.render_as_string()])


def test_every_figure_is_drawn_as_png_and_svg(filled: Store, capsys: Output, tmp_path: Path) -> None:
    assert plot(filled, "1", "-o", str(tmp_path / "out")) == 0
    files = [Path(line) for line in capsys.readouterr().out.split()]
    assert [file.name for file in files] == [f"run-1-{n}.{kind}" for n in FIGURES for kind in ("png", "svg")]
    for file in files:
        start = b"\x89PNG" if file.suffix == ".png" else b"<?xml"
        assert file.read_bytes().startswith(start)


def test_several_runs_go_into_one_figure(filled: Store, capsys: Output, tmp_path: Path) -> None:
    assert plot(filled, "1", "2", "--format", "svg", "-o", str(tmp_path), "--figure", "losses,gap") == 0
    names = [Path(line).name for line in capsys.readouterr().out.split()]
    assert names == ["runs-1-2-losses.svg", "runs-1-2-gap.svg"]


def test_the_same_run_gives_the_same_file(subject: Subject) -> None:
    once, again = ([*draw([subject], ["losses", "gap"], ["png", "svg"])] for _ in range(2))
    assert once == again


def test_lines_are_the_stored_numbers(subject: Subject) -> None:
    own = subject.histories["paddle"]
    (axes,) = figures.parameters([subject], "paddle").axes
    drawn = np.column_stack([line.get_ydata() for line in axes.lines])
    assert drawn.tolist() == np.column_stack([own.weights, own.bias]).tolist()
    assert [text.get_text() for text in axes.texts] == ["x0", "x1", "x2", "bias"]
    assert axes.get_ylabel() == "weight, of normalised columns"
    (axes,) = figures.losses([subject]).axes
    train, _, test, _ = (line.get_ydata().tolist() for line in axes.lines)  # type: ignore[union-attr]
    assert (train, test) == (own.train_loss.tolist(), own.test_loss.tolist())
    mark = figures.overfitting([subject]).axes[0].lines[2]
    assert mark.get_xdata() == [own.test_loss.argmin()]


def test_of_many_parameters_the_20_with_the_largest_last_values_are_drawn(sqlite_url: str) -> None:
    own = history(5, 40)
    with Store(sqlite_url, create=True) as store:
        writer = store.start_run(dataset_row(40), epochs=5, learning_rate=0.1, seed=0, environment={})
        writer.append("paddle", own)
        subject = read_subject(store, store.run())
        content = page(store, store.run())
    last = np.abs([*own.weights[-1], own.bias[-1]])
    names = [*(f"x{i}" for i in range(40)), "bias"]
    wanted = [i for i in range(41) if (last > last[i]).sum() < 20]
    (axes,) = figures.parameters([subject], "paddle").axes
    assert [text.get_text() for text in axes.texts] == [names[i] for i in wanted]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert drawn == [[*own.weights.T, own.bias][i].tolist() for i in wanted]
    assert [text.get_color() for text in axes.texts] == [line.get_color() for line in axes.lines]
    told = "The 20 largest of 41 parameters of the paddle model, run 1"
    assert axes.get_title() == told
    assert content.count("Drawn are the 20 of 41 with the largest last values.") == 2  # and its alt text


def test_predictions_are_in_the_tables_own_units(subject: Subject, tmp_path: Path) -> None:
    assert subject.dataset is not None
    table = np.loadtxt(tmp_path / "made.csv", delimiter=",", skiprows=1)
    train, test = table[:24], table[24:]
    state = subject.histories["paddle"].state
    x = (test[:, :-1] - train[:, :-1].mean(0)) / (np.ptp(train[:, :-1], axis=0))
    expected = train[:, -1].mean() + np.ptp(train[:, -1]) * (x @ state.weights + state.bias)
    true, guessed = predictions(subject.dataset, state)
    np.testing.assert_allclose(true, test[:, -1], atol=1e-5)
    np.testing.assert_allclose(guessed, expected, atol=1e-5)


def test_without_the_data_file_the_rest_is_drawn(filled: Store, capsys: Output, tmp_path: Path) -> None:
    (tmp_path / "made.csv").unlink()
    assert plot(filled, "1", "--format", "svg", "-o", str(tmp_path)) == 0
    said = capsys.readouterr()
    assert len(said.out.split()) == len(FIGURES) - 1
    assert "without the figure predictions: the data file of run 1 (made.csv) is not at hand" in said.err


def test_a_figure_that_lacks_a_model_says_so(subject: Subject) -> None:
    alone = Subject(subject.run, {"python": subject.histories["python"]}, subject.dataset)
    assert drawable("gap", [alone]) == "run 1 has no epoch of paddle yet"
    assert drawable("parameters-python", [alone]) is None
    assert len([*draw([alone], ["losses", "overfitting", "predictions"], ["svg"])]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("3",), "run 3 has no epochs yet, so there is nothing to draw"),
        (("1", "--figure", "loss"), "'loss' is no figure; there are losses, parameters-paddle"),
        (("1", "--format", "gif"), "'gif' is no format; there are png, svg"),
        (("1", "--data", "nowhere.csv"), "nowhere.csv: there is no such file"),
    ],
)
def test_wrong_use_is_one_line(filled: Store, capsys: Output, words: tuple[str, ...], message: str) -> None:
    assert plot(filled, *words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    wanted = [0.5, 0.5, 0.51, 0.1, 0.99, 1.0, 0.0]
    places = spread(wanted, 0.1)
    assert np.argsort(places, kind="stable").tolist() == np.argsort(wanted, kind="stable").tolist()
    assert np.diff(sorted(places)).min() >= 0.1 - 1e-9
    assert min(places) >= 0
    assert max(places) <= 1 + 1e-9
    assert spread([0.2, 0.8], 0.1) == [0.2, 0.8]
