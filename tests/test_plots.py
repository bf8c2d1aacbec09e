"""The figures show what is stored, and say what they cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation, Text

from db.errors import StoreError
from db.history import History
from db.store import Store
from job.data.source import predictions
from job.models.base import LinearRegression
from job.plots import figures, gaps
from job.plots.draw import all_figures, draw, drawable
from job.plots.style import blank, epoch_axis, plain, spread, styled
from job.plots.subject import Subject, read_subject
from job.report import page
from job.verdicts.path import ExactPath
from tests.samples import dataset_row, histories, history

Output = pytest.CaptureFixture[str]

FIGURES = ("losses", "parameters-paddle", "parameters-python", "gap", "overfitting", "predictions")


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with styled():
        yield


@pytest.fixture
def subject(filled: Store) -> Subject:
    return read_subject(filled, filled.run(1))


@pytest.fixture
def subjects(filled: Store) -> list[Subject]:
    return [read_subject(filled, filled.run(number)) for number in (1, 2)]


def test_a_dollar_sign_in_a_name_is_drawn_as_it_is(subject: Subject) -> None:
    subject.run.parameters[0].name = "$x^$_{"
    figure = all_figures([subject])["parameters-python"]([subject])
    assert r"\$x^\$_{" in [text.get_text() for text in figure.findobj(Text)]  # which is drawn as $x^$_{
    assert [*draw([subject], ["parameters-python"], ["png"])]


def test_a_long_name_is_cut_and_a_shorter_one_is_not() -> None:
    assert plain("b" * 12, 12) == "b" * 12
    assert plain("a" * 9 + "bcde", 12) == "a" * 9 + "bc…"


def test_the_ticks_of_a_logarithmic_axis_are_drawn_as_powers(subject: Subject) -> None:
    figure = all_figures([subject])["losses"]([subject])
    figure.draw_without_rendering()
    labels = [
        label for axis in figure.axes for label in axis.get_yticklabels(which="both") if label.get_text()
    ]
    assert labels
    assert all(label.get_parse_math() for label in labels)


@pytest.mark.slow
def test_the_same_run_gives_the_same_file(subject: Subject) -> None:
    once, again = ([*draw([subject], ["losses"], ["png", "svg"])] for _ in range(2))
    assert once == again
    assert all(b"<dc:date>" not in content for _, _, content in once)


def test_each_figure_is_drawn_under_its_own_name(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("job.plots.draw.encoded", lambda figure, _: figure.axes[0].get_title("left").encode())
    names = ["gap", "losses", "parameters-python"]
    assert {name: title for name, _, title in draw([subject], names, ["svg"])} == {
        "gap": b"Gap between paddle and python, run 1",
        "losses": b"Losses of run 1",
        "parameters-python": b"Weights and bias of the python model, run 1",
    }


def shown(figure: Figure) -> dict[str, list[Line2D]]:
    """The lines by the names that the legend gives their colour, dashes and marker."""

    def look(line: Any) -> object:
        return line.get_color(), line.get_linestyle(), line.get_marker()

    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len({*zip(names, map(look, legend.legend_handles), strict=True)})
    lines = [line for axis in figure.axes for line in axis.lines]
    return {
        name: [line for line in lines if look(line) == look(handle)]
        for name, handle in zip(names, legend.legend_handles, strict=True)
    }


def points(line: Any) -> list[list[float]]:
    return [np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()]


def losses_of(history: History, part: str) -> list[list[float]]:
    return [history.epoch.tolist(), (history.train_loss if part == "train" else history.test_loss).tolist()]


def test_a_subject_has_each_models_history(subject: Subject) -> None:
    assert list(subject.histories) == ["paddle", "python"]
    for model, stored in histories(30).items():
        assert subject.histories[model].train_loss.tolist() == stored.train_loss.tolist()
    assert subject.run.parameter_names == ["x0", "x1", "x2", "bias"]


def test_the_losses_of_each_model_and_part_are_where_the_legend_says(subject: Subject) -> None:
    figure = figures.losses([subject])
    lines = shown(figure)
    assert list(lines) == ["paddle train", "python train", "paddle test", "python test"]
    for name, found in lines.items():
        model, part = name.split()
        assert [points(line) for line in found] == [losses_of(subject.histories[model], part)]
    (axes,) = figure.axes
    assert (axes.get_yscale(), axes.get_xlim()) == ("log", (0, 30))
    assert (axes.get_title("left"), axes.get_xlabel()) == ("Losses of run 1", "epoch")


def test_the_losses_of_several_runs_are_side_by_side(subjects: list[Subject]) -> None:
    subjects[0].histories["python"] = subjects[0].histories["python"][:20]
    figure = figures.losses(subjects)
    assert [axes.get_title("left") for axes in figure.axes] == ["train loss", "test loss"]
    assert [axes.get_xlim() for axes in figure.axes] == [(0, 30)] * 2  # the longest
    lines = shown(figure)
    assert list(lines) == ["run 1 paddle", "run 1 python", "run 2 paddle", "run 2 python"]
    for name, found in lines.items():
        history = subjects[int(name[4]) - 1].histories[name[6:]]
        assert [points(line) for line in found] == [losses_of(history, part) for part in ("train", "test")]
        assert [line.axes for line in found] == figure.axes


@pytest.mark.parametrize("model", ["paddle", "python"])
def test_each_parameter_has_its_line_and_its_name_at_the_end_of_it(
    subjects: list[Subject], model: str
) -> None:
    figure = all_figures(subjects)[f"parameters-{model}"](subjects)
    for axes, subject in zip(figure.axes, subjects, strict=True):
        own = subject.histories[model]
        assert f"the {model} model, run {subject.run.id}" in axes.get_title("left")
        values = own.parameters.T.tolist()
        assert [points(line) for line in axes.lines] == [[own.epoch.tolist(), each] for each in values]
        low, high = axes.get_ylim()
        assert axes.get_xlim() == (0, 30)
        assert axes.get_ylabel() == "weight, of normalised columns"
        assert [text.get_text() for text in axes.texts] == ["x0", "x1", "x2", "bias"]
        for text, line, value in zip(axes.texts, axes.lines, values, strict=True):
            assert isinstance(text, Annotation)
            assert text.xy == pytest.approx((1, (value[-1] - low) / (high - low)))
            assert (text.get_color(), text.arrow_patch.get_linestyle()) == (  # type: ignore[union-attr]
                line.get_color(),
                line.get_linestyle(),
            )


def gaps_of(subject: Subject) -> dict[str, Any]:
    one, other = ({e: i for i, e in enumerate(h.epoch.tolist())} for h in subject.histories.values())
    epochs = sorted(one.keys() & other.keys())
    a, b = (
        np.column_stack([h.train_loss, h.test_loss, h.parameters])[[rows[e] for e in epochs]].astype(float)
        for h, rows in zip(subject.histories.values(), (one, other), strict=True)
    )
    gaps = abs(a - b)
    quantities = {
        "train loss": gaps[:, 0],
        "test loss": gaps[:, 1],
        "parameters (largest)": gaps[:, 2:].max(1),
    }
    return {quantity: [epochs, values.tolist()] for quantity, values in quantities.items()}


def test_the_gap_is_that_of_the_epochs_that_both_models_have(subject: Subject) -> None:
    subject.histories["python"] = subject.histories["python"][4:]
    subject.histories["paddle"] = subject.histories["paddle"][:25]
    figure = gaps.gap([subject])
    lines = shown(figure)
    *names, tolerance, paddle, python, bound = lines
    assert names == ["train loss", "test loss", "parameters (largest)"]
    assert [paddle, python] == ["paddle from the exact path", "python from the exact path"]
    assert bound == "float32's bound"
    assert [points(line)[1] for line in lines[tolerance]] == [[float(tolerance.split()[1])] * 2]
    for quantity, expected in gaps_of(subject).items():
        assert expected[0] == list(range(4, 25))
        assert [points(line) for line in lines[quantity]] == [expected] * 2  # pale and strong
    assert figure.axes[0].get_yscale() == "log"


def test_the_gaps_of_several_runs_have_a_panel_for_each_quantity(subjects: list[Subject]) -> None:
    figure = gaps.gap(subjects)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[:3] == [
        f"Gap between paddle and python: {quantity}"
        for quantity in ("train loss", "test loss", "parameters (largest)")
    ]
    assert titles[3:] == ["Distance from the exact path: parameters (largest)"]
    lines = shown(figure)
    assert list(lines)[:2] == ["run 1: paddle and python", "run 2: paddle and python"]
    for i, subject in enumerate(subjects, 1):
        drawn = [points(line) for line in lines[f"run {i}: paddle and python"]]
        assert drawn == [gaps for gaps in gaps_of(subject).values() for _ in range(2)]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "", "epoch"]


def test_the_drift_is_the_gap_between_two_runs_a_panel_for_each_model(subjects: list[Subject]) -> None:
    one, other = subjects
    assert "drift" in all_figures(subjects)
    assert "drift" not in all_figures([one])
    assert "drift" not in all_figures([one, other, one])
    figure = gaps.drift(subjects)
    for axes, model in zip(figure.axes, ("paddle", "python"), strict=True):
        assert axes.get_title("left") == f"Gap between runs 1 and 2, {model} model"
        a, b = one.histories[model], other.histories[model]
        expected = [
            abs(a.train_loss.astype(float) - b.train_loss),
            abs(a.test_loss.astype(float) - b.test_loss),
            abs(a.parameters.astype(float) - b.parameters).max(axis=1),
        ]
        drawn = [points(line) for line in axes.lines]
        assert drawn == [[a.epoch.tolist(), values.tolist()] for values in expected for _ in range(2)]
    assert list(shown(figure)) == ["train loss", "test loss", "parameters (largest)"]


def test_runs_without_a_gap_or_a_model_in_common_have_no_drift_to_draw(subjects: list[Subject]) -> None:
    one, other = subjects
    assert drawable("drift", subjects) is None
    same = "runs 1 and 2 have no gap at any epoch that both have"
    assert drawable("drift", [one, Subject(other.run, one.histories, None)]) == same
    parts = ((one, "paddle"), (other, "python"))
    alone = [Subject(each.run, {model: each.histories[model]}, None) for each, model in parts]
    assert drawable("drift", alone) == "runs 1 and 2 have no model in common"
    other.run.parameters[0].name = "other"
    assert drawable("drift", subjects) == "runs 1 and 2 have other parameters"


def test_the_distance_from_the_exact_path_is_drawn_where_the_data_are_known(subject: Subject) -> None:
    assert subject.dataset is not None
    start = LinearRegression.initial(subject.dataset, subject.run.seed).parameters
    (chunk,) = ExactPath(subject.dataset, subject.run.learning_rate, start).chunks(30)
    lines = shown(gaps.gap([subject]))
    for model, own in subject.histories.items():
        (line,) = lines[f"{model} from the exact path"]
        expected = np.abs(own.parameters - chunk.values[:, 2:]).max(axis=1)
        assert points(line) == [own.epoch.tolist(), pytest.approx(expected.tolist())]
    (line,) = lines["float32's bound"]
    assert points(line)[1] == pytest.approx(chunk.bound[:, 2:].max(axis=1).tolist())
    unknown = Subject(subject.run, subject.histories, None)
    assert list(shown(gaps.gap([unknown])))[3:] == ["tolerance 2e-06"]
    unknown.run.models = unknown.run.models[:1]
    alone = Subject(unknown.run, {"paddle": subject.histories["paddle"]}, subject.dataset)
    assert drawable("gap", [alone]) is None
    assert list(shown(gaps.gap([alone]))) == ["paddle from the exact path", "float32's bound"]
    why = "run 1 has one model only, and no exact path: the data file of run 1 (made.csv) is not found"
    assert str(drawable("gap", [unknown])).startswith(why)


def test_a_gap_of_no_bits_leaves_no_mark_and_a_spike_is_seen() -> None:
    assert np.isnan(figures.above_zero(np.array([0.0, 1.0]))).tolist() == [True, False]
    values = np.random.RandomState(0).rand(450)
    expected = [values[max(0, i - 2) : i + 3].max() for i in range(450)]
    assert gaps.largest_nearby(values).tolist() == expected


def test_where_the_test_loss_rises_is_shaded_and_shown_again_with_the_turns(filled: Store) -> None:
    own = history(40)
    own.train_loss[:] = np.linspace(1, 0.5, 40)
    own.test_loss[:] = np.r_[np.linspace(1, 0.4, 15), np.linspace(0.5, 0.9, 10), np.linspace(0.8, 0.6, 15)]
    own.parameters[:] = np.linspace(1, 2, 40)[:, None]
    own.parameters[20:, 1] = np.linspace(1.5, 1, 20)
    once = Subject(filled.run(2), {"paddle": own[:34]}, None)
    own.test_loss[34:] = np.linspace(0.7, 0.8, 6)  # a smaller rise
    subject = Subject(filled.run(1), {"paddle": own}, None)
    figure = figures.overfitting([subject])
    whole, part = figure.axes
    for axes in (whole, part):
        shaded = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert [(patch.get_x(), patch.get_width()) for patch in shaded] == [(14, 10), (33, 6)]
    assert part.get_xlim() == (4, 34)
    assert [points(line) for line in part.lines[:2]] == [
        losses_of(own[4:35], "train"),
        losses_of(own[4:35], "test"),
    ]
    assert [
        (text.get_text(), line.get_xdata()) for text, line in zip(part.texts, part.lines[2:], strict=True)
    ] == [("x1", [20, 20])]
    figure = figures.overfitting([subject, once])
    assert len(figure.axes) == 1
    assert {"test rises: 2 times", "test rises: epochs 14 to 24"} <= shown(figure).keys()


def test_the_best_test_loss_is_marked(subjects: list[Subject]) -> None:
    one, two = (subject.histories["paddle"] for subject in subjects)
    best = [int(own.epoch[own.test_loss.argmin()]) for own in (one, two)]
    marks = [[[epoch], [float(own.test_loss[epoch])]] for own, epoch in zip((one, two), best, strict=True)]

    def whole(figure: Figure) -> dict[str, list[Any]]:
        """What is drawn over all epochs."""
        found = {name: lines for name, lines in shown(figure).items() if "test rises" not in name}
        return {
            name: [points(line) for line in lines if line.axes is figure.axes[0]]
            for name, lines in found.items()
        }

    def title(figure: Figure) -> str:
        return figure.axes[0].get_title("left").removeprefix("Does the test loss rise again? ")

    assert title(figures.overfitting(subjects[:1])) == "run 1, paddle model"
    assert whole(figures.overfitting(subjects[:1])) == {
        "train": [losses_of(one, "train")],
        "test": [losses_of(one, "test")],
        f"best test: epoch {best[0]}": [marks[0]],
    }
    assert whole(figures.overfitting(subjects)) == {
        "run 1 train": [losses_of(one, "train")],
        "run 1 test": [losses_of(one, "test")],
        f"best test: epoch {best[0]}": [marks[0]],
        "run 2 train": [losses_of(two, "train")],
        "run 2 test": [losses_of(two, "test")],
        f"best test: epoch {best[1]}": [marks[1]],
    }
    assert title(figures.overfitting(subjects)) == "runs 1 and 2, paddle model"
    del subjects[1].histories["paddle"]
    figure = figures.overfitting(subjects)
    assert title(figure) == "runs 1 and 2"
    drawn = [name for name in whole(figure) if name.startswith("run ")]
    assert drawn == ["run 1 paddle train", "run 1 paddle test", "run 2 python train", "run 2 python test"]


def test_predictions_are_drawn_against_the_true_values(subjects: list[Subject]) -> None:
    figure = figures.predicted(subjects)
    for axes, subject in zip(figure.axes, subjects, strict=True):
        assert subject.dataset is not None
        true, guessed = predictions(subject.dataset, subject.histories["paddle"].state)
        equal, row = axes.lines
        assert points(row) == [true.tolist(), guessed.tolist()]
        both = [*true.tolist(), *guessed.tolist()]
        assert points(equal) == [[min(both), max(both)]] * 2
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("true y", "predicted y")
        error = (sum((g - t) ** 2 for t, g in zip(true, guessed, strict=True)) / len(true)) ** 0.5
        expected = f"Run {subject.run.id}, paddle: root mean square error {error:.2f}"
        assert axes.get_title("left") == expected
        for low, high in (axes.get_xlim(), axes.get_ylim()):
            assert low < min(both) < max(both) < high
    assert {name: len(lines) for name, lines in shown(figure).items()} == {
        "test row": 2,
        "predicted = true": 2,
    }


def test_titles_name_every_run(subjects: list[Subject]) -> None:
    assert figures.title(subjects[:1]) == "run 1"
    assert figures.title([*subjects, *subjects]) == "runs 1, 2, 1 and 2"


def test_more_lines_than_colours_are_told_apart() -> None:
    looks = [figures.look(i) for i in range(21)]
    assert len(set(looks)) == 21
    assert len({dashes for _, dashes in looks[:7]}) == 1


def test_epochs_are_written_out_and_other_marks_are_not() -> None:
    _, (axes,) = blank()
    epoch_axis(axes, 12_000)
    write = axes.xaxis.get_major_formatter()
    assert [write(value, 0) for value in (0.0, 2500.0, 0.5)] == ["0", "2,500", ""]
    assert axes.get_xlim() == (0, 12_000)


@pytest.mark.slow
def test_of_many_parameters_the_20_with_the_largest_last_values_are_drawn(sqlite_url: str) -> None:
    own = history(5, 40)
    with Store(sqlite_url, create=True) as store:
        writer = store.start_run(dataset_row(40), epochs=5, learning_rate=0.1, seed=0, environment={})
        writer.append("paddle", own)
        subject = read_subject(store, store.run())
        content = page(store, store.run())
    last = np.abs(own.parameters[-1])
    names = [*(f"x{i}" for i in range(40)), "bias"]
    wanted = [i for i in range(41) if (last > last[i]).sum() < 20]
    (axes,) = figures.parameters([subject], "paddle").axes
    assert [text.get_text() for text in axes.texts] == [names[i] for i in wanted]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert drawn == [own.parameters[:, i].tolist() for i in wanted]
    assert [text.get_color() for text in axes.texts] == [line.get_color() for line in axes.lines]
    told = "The 20 largest of 41 parameters of the paddle model, run 1"
    assert axes.get_title("left") == told
    assert content.count("Drawn are the 20 of 41 with the largest last values.") == 2  # and its alt text


def test_predictions_are_in_the_tables_own_units(subject: Subject, tmp_path: Path) -> None:
    assert subject.dataset is not None
    table = np.loadtxt(tmp_path / "made.csv", delimiter=",", skiprows=1)
    train, test = table[:24], table[24:]
    state = subject.histories["paddle"].state
    x = (test[:, :-1] - train[:, :-1].mean(0)) / (np.ptp(train[:, :-1], axis=0))
    expected = train[:, -1].mean() + np.ptp(train[:, -1]) * (x @ state.parameters[:-1] + state.parameters[-1])
    true, guessed = predictions(subject.dataset, state)
    np.testing.assert_allclose(true, test[:, -1], atol=1e-5)
    np.testing.assert_allclose(guessed, expected, atol=1e-5)


def test_a_figure_that_lacks_a_model_says_so(subject: Subject) -> None:
    def alone(model: str) -> list[Subject]:
        return [Subject(subject.run, {model: subject.histories[model]}, subject.dataset)]

    lacking = {model: f"run 1 has no epoch of {model} yet" for model in subject.histories}
    for model, other in (("paddle", "python"), ("python", "paddle")):
        problems = {name: drawable(name, alone(model)) for name in FIGURES}
        expected = dict.fromkeys(FIGURES) | {
            "gap": lacking[other],
            f"parameters-{other}": lacking[other],
        }
        assert problems == expected
    figures.losses(alone("python"))
    own = losses_of(subject.histories["python"], "test")
    assert points(shown(figures.overfitting(alone("python")))["test"][0]) == own


def test_a_figure_of_more_runs_than_colours_is_refused(subject: Subject) -> None:
    with pytest.raises(StoreError, match="8 runs in one figure could not be told apart; 7 is the most"):
        list(draw([subject] * 8, ["losses"], ["svg"]))
    assert list(draw([subject] * 7, ["losses"], [])) == []


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    wanted = [0.5, 0.5, 0.51, 0.1, 0.99, 1.0, 0.0]
    places = spread(wanted, 0.1)
    assert np.argsort(places, kind="stable").tolist() == np.argsort(wanted, kind="stable").tolist()
    assert np.diff(sorted(places)).min() >= 0.1 - 1e-9
    assert min(places) >= 0
    assert max(places) <= 1 + 1e-9
    assert spread([0.2, 0.8], 0.1) == [0.2, 0.8]
