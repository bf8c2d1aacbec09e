"""A sweep's figures show each run's losses, and how they depend on the seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection

from db.errors import StoreError
from db.history import History
from db.schema import RunRow
from db.store import Store
from job.plots.style import styled
from job.plots.sweep import Fan, fan, final, read_fan, seed_in_words, share_of_seed
from tests.samples import dataset_row, execute, histories, history

EPOCHS = 150
RATES, SEEDS = [0.01, 0.1], [2, 3, 5, 7]
Made = dict[tuple[float, int], dict[str, History]]


@pytest.fixture(autouse=True)
def _styled() -> Iterator[None]:
    with styled():
        yield


@pytest.fixture
def made() -> Made:
    """The histories of every combination but one, and of one run that has only begun."""
    found = {
        (rate, seed): histories(EPOCHS, seed=10 * seed + int(100 * rate)) for seed in SEEDS for rate in RATES
    }
    del found[0.1, 7]
    found[0.01, 7] = {model: own[:40] for model, own in found[0.01, 7].items()}
    return found


@pytest.fixture
def swept(migrated_url: str, made: Made) -> Iterator[Store]:
    with Store(migrated_url) as store:
        for name in ("s", "other"):
            for (rate, seed), both in reversed(made.items()):
                settings: dict[str, Any] = {"epochs": EPOCHS, "learning_rate": rate, "seed": seed}
                writer = store.start_run(dataset_row(), environment={}, sweep=name, **settings)
                for model, own in both.items():
                    writer.append(model, own if name == "s" else own[:1])
        yield store


@pytest.fixture
def shown(swept: Store) -> Fan:
    return read_fan(swept, "s")


def test_a_fan_has_the_losses_of_paddle_by_rate_seed_and_epoch(shown: Fan, made: Made) -> None:
    assert (shown.name, shown.left_out) == ("s", 0)
    assert (shown.rates.tolist(), shown.seeds.tolist()) == (RATES, SEEDS)
    assert {0, 1, 2, 100, EPOCHS - 1} <= set(shown.epochs.tolist())
    assert np.diff(shown.epochs).min() > 0
    assert shown.train.shape == shown.test.shape == (2, 4, len(shown.epochs))
    for i, rate in enumerate(RATES):
        for j, seed in enumerate(SEEDS):
            own = made.get((rate, seed), {"paddle": History.empty(0, 3)})["paddle"]
            for part, drawn in ((own.train_loss, shown.train), (own.test_loss, shown.test)):
                whole = np.full(EPOCHS, np.nan)
                whole[: len(part)] = part
                np.testing.assert_array_equal(drawn[i, j], whole[shown.epochs])


def test_a_panel_of_the_fan_has_each_run_the_median_and_the_quantiles(shown: Fan) -> None:
    figure = fan(shown)
    assert [axes.get_title("left") for axes in figure.axes] == [
        "learning rate 0.01, 4 seeds",
        "learning rate 0.1, 3 seeds",
    ]
    assert [axes.get_ylabel() for axes in figure.axes] == ["train loss (log)", ""]
    epochs_trained = (shown.epochs + 1).tolist()
    for axes, rate, seeds in zip(figure.axes, shown.train, (4, 3), strict=True):
        *each, median = axes.lines
        for line, losses in zip(each, rate[:seeds], strict=True):
            assert line.get_xdata().tolist() == epochs_trained  # type: ignore[union-attr]
            np.testing.assert_array_equal(line.get_ydata(), losses)
        np.testing.assert_array_equal(median.get_ydata(), np.nanmedian(rate[:seeds], axis=0))
        assert median.get_color() != each[0].get_color()
        wide, narrow = (band for band in axes.collections if isinstance(band, PolyCollection))
        for band, low, high in ((wide, 0.1, 0.9), (narrow, 0.25, 0.75)):
            ends = band.get_datalim(axes.transData)
            low_edge, high_edge = (np.nanquantile(rate[:seeds], q, axis=0) for q in (low, high))
            assert (ends.y0, ends.y1) == pytest.approx((low_edge.min(), high_edge.max()))
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_xlim() == (1, EPOCHS)
        assert axes.get_xlabel() == "epochs trained (log)"
    colours = [handle.get_color() for handle in figure.legends[0].legend_handles]  # type: ignore[union-attr]
    assert colours[:2] == [each[0].get_color(), median.get_color()]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["one seed", "median", "25 to 75 %", "10 to 90 %"]
    strong, weak = (float(handle.get_alpha() or 0) for handle in figure.legends[0].legend_handles[2:])  # type: ignore[union-attr]
    assert strong > weak, "the bands lie on each other"


def test_the_final_losses_are_those_of_the_last_epoch(shown: Fan, made: Made) -> None:
    figure = final(shown)
    (axes,) = figure.axes
    assert axes.get_title("left") == "Sweep s: loss after 150 epochs"
    assert axes.get_ylabel() == "mean squared error, normalised (log)"
    lines = iter(axes.lines)
    for part in ("train", "test"):
        medians = []
        for rate in RATES:
            whole = [
                both["paddle"] for (r, _), both in made.items() if r == rate and len(both["paddle"]) == EPOCHS
            ]
            last = [float((own.train_loss if part == "train" else own.test_loss)[-1]) for own in whole]
            dots = next(lines)
            assert np.asarray(dots.get_ydata()).tolist() == last
            assert np.asarray(dots.get_xdata()).tolist() == pytest.approx([0.94 * rate, rate, 1.06 * rate])
            medians.append(np.median(last))
        line = next(lines)
        assert np.asarray(line.get_xdata()).tolist() == RATES
        assert np.asarray(line.get_ydata()).tolist() == pytest.approx(medians)
        assert dots.get_color() == line.get_color()
        handle = figure.legends[0].legend_handles[0 if part == "train" else 1]
        assert handle.get_label() == f"{part}, median over the seeds"  # type: ignore[union-attr]
        assert handle.get_color() == line.get_color()  # type: ignore[union-attr]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.01", "0.1"]


def a_fan(train: Any, epochs: list[int]) -> Fan:
    values = np.array(train, float)
    rates, seeds, _ = values.shape
    return Fan("s", "loss", np.array(epochs), np.arange(1.0, rates + 1), np.arange(seeds), values, values)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        # seeds differ by e, rates by e; at the last epoch only seeds differ
        ([[[1, 1], [np.e, 2]], [[np.e, 1], [np.e**2, 2]]], "50 % at epoch 100, 100 % at epoch 120"),
        # the third seed lacks one rate: it does not count
        ([[[1, 1], [np.e, 2], [9, 9]], [[np.e, 1], [np.e**2, 2], [9, np.nan]]], None),
    ],
)
def test_the_seeds_share_is_told_for_seeds_with_every_rate(train: Any, words: str | None) -> None:
    said = seed_in_words(a_fan(train, [100, 120]))
    assert said.startswith("of the spread of the train loss the seed explains ")
    assert said.endswith(words or "100 % at epoch 120")


def test_with_one_rate_the_seeds_spread_is_told() -> None:
    said = seed_in_words(a_fan([[[1.0, 2.0], [4.0, 3.0]]], [100, 1000]))
    told = "4 times between the seeds at epoch 100, 1.5 times between the seeds at epoch 1,000"
    assert said == f"the train loss differs {told}"


def test_one_seed_explains_nothing() -> None:
    said = seed_in_words(a_fan([[[1.0]], [[2.0]]], [50]))
    assert (
        said == "the seed's share of the spread is not known: fewer than two seeds have every learning rate"
    )


def test_what_cannot_be_drawn_is_said(swept: Store) -> None:
    def change(sweep: str, **values: Any) -> None:
        runs = [run.id for run in swept.runs() if run.sweep == sweep]
        statement = RunRow.__table__.update().where(RunRow.id.in_(runs)).values(**values)  # type: ignore[attr-defined]
        swept.write(lambda session, _: session.execute(statement))

    swept.start_run(dataset_row(), epochs=5, learning_rate=0.1, seed=0, environment={}, sweep="empty")
    with pytest.raises(StoreError, match="the sweep empty has no epochs yet"):
        read_fan(swept, "empty")
    change("other", thinned_every=10)
    with pytest.raises(StoreError, match="all runs of the sweep other are downsampled"):
        read_fan(swept, "other")


def test_the_losses_of_other_models_are_not_called_errors(swept: Store) -> None:
    execute(swept, "UPDATE parameters SET name = 'layer.0' WHERE name = 'bias'")
    (axes,) = final(read_fan(swept, "s")).axes
    assert axes.get_ylabel() == "loss (log)"


@given(
    st.integers(1, 4).flatmap(
        lambda rates: st.lists(
            st.lists(st.floats(1e-3, 1e3), min_size=rates, max_size=rates), min_size=2, max_size=6
        )
    )
)
def test_the_seeds_share_is_that_of_an_analysis_of_variance(by_seed: list[list[float]]) -> None:
    losses = np.array(by_seed).T
    logs = [[float(np.log(value)) for value in row] for row in by_seed]
    grand = sum(map(sum, logs)) / losses.size
    total = sum((value - grand) ** 2 for row in logs for value in row)
    between = sum(len(row) * (sum(row) / len(row) - grand) ** 2 for row in logs)
    if total > 1e-9:
        assert share_of_seed(losses) == pytest.approx(between / total, abs=1e-6)


def test_the_spread_is_told_in_a_line(store: Store) -> None:
    for seed in range(3):
        for rate in (0.01, 0.02):
            writer = store.start_run(
                dataset_row(), epochs=150, learning_rate=rate, seed=seed, environment={}, sweep="s"
            )
            made = history(150)
            made.train_loss[:] = 1 + seed  # depends on the seed only
            writer.append("paddle", made)
    said = seed_in_words(read_fan(store, "s"))
    assert said == "of the spread of the train loss the seed explains 100 % at epoch 100, 100 % at epoch 149"
