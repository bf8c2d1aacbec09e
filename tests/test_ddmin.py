"""The changes that delta debugging finds bring the effect; without any one of them, the others do not."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from job.bisect.ddmin import ddmin

sizes = st.integers(1, 24)


@st.composite
def causes(draw: st.DrawFn) -> tuple[int, list[frozenset[int]]]:
    """How many changes there are, and one to three sets of them, each of which brings the effect."""
    size = draw(sizes)
    cause = st.frozensets(st.integers(0, size - 1), min_size=1)
    return size, draw(st.lists(cause, min_size=1, max_size=3))


@pytest.mark.thorough
@given(causes(), st.randoms())
def test_what_is_found_brings_the_effect_and_nothing_of_it_can_be_left_out(
    made: tuple[int, list[frozenset[int]]], luck: object
) -> None:
    size, sets = made
    asked: list[tuple[int, ...]] = []
    unresolved: dict[tuple[int, ...], bool] = {}

    def brings(chosen: list[int]) -> bool:
        asked.append(tuple(chosen))
        # A set that cannot be tried is like one that does not bring it, as long as it stays so.
        blocked = unresolved.setdefault(tuple(chosen), luck.random() < 0.2)  # type: ignore[attr-defined]
        return any(each <= set(chosen) for each in sets) and not blocked

    found = ddmin(range(size), brings)
    assert any(each <= set(found) for each in sets)
    assert found == sorted(found)
    if len(found) > 1:
        for left_out in found:
            assert not brings([each for each in found if each != left_out])
    asked = asked[: len(asked) - len(found) * (len(found) > 1)]
    assert len(asked) == len(set(asked)) <= size**2 + 3 * size


@given(sizes.flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
@example((1, 0))
def test_a_single_cause_is_found_by_halving(made: tuple[int, int]) -> None:
    size, cause = made
    asked = []

    def brings(chosen: list[int]) -> bool:
        asked.append(chosen)
        return cause in chosen

    assert ddmin(range(size), brings) == [cause]
    assert len(asked) <= 2 * (size - 1).bit_length()
