"""Doubts about a dataset that can be trained on: it may not be what its user thinks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from job.data.dataset import Dataset
from job.data.problem import Problem
from job.data.reading import Reading

MOST_ROWS = 100_000
"""rows that are looked at"""
FEWEST = 3
"""rows that each side needs: fewer are on one side by chance"""


def doubts(dataset: Dataset) -> Iterator[Problem]:
    """What a user should look at before training, each with the option that settles it."""
    train, test = dataset.train_y, dataset.test_y
    apart = train.max() < test.min() or test.max() < train.min()
    if apart and len(test) >= FEWEST:
        yield Problem(
            f"the values of {dataset.target} in the training and in the test rows do not overlap, as if the "
            "rows were sorted",
            (Reading(shuffle=0),),
        )
    target = np.concatenate([train, test])[:MOST_ROWS, 0]
    if not varied(target):
        return
    for i, name in enumerate(dataset.features):
        feature = np.concatenate([dataset.train_x[:, i], dataset.test_x[:, i]])[:MOST_ROWS]
        if varied(feature) and (in_step(feature, target) or in_step(feature, -target)):
            yield Problem(
                f"{name} and the target {dataset.target} are functions of each other: sorted by the one, the "
                "rows are sorted by the other",
                (Reading(drop=(name,)),),
            )


def varied(column: NDArray[np.float32]) -> bool:
    """Whether enough rows have another value than the commonest."""
    return bool(len(column) - np.unique(column, return_counts=True)[1].max() >= FEWEST)


def in_step(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether no two rows are in one order by `one` and in the other order by `other`."""
    sorted_by_one = other[np.lexsort((other, one))]
    return bool(np.all(sorted_by_one[1:] >= sorted_by_one[:-1]))
