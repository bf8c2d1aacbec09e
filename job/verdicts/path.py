"""The exact path: gradient descent of a linear regression in closed form, and float32's distance from it.

Let A be the training rows, each with a 1 for the bias [r, p], y their targets [r], and a the learning rate.
The loss L(t) = |A t - y|^2 / r has the Hessian H = 2/r A^T A = V diag(h) V^T. Full-batch gradient descent
moves the parameters t along each eigenvector of H, a *mode*, on its own: an epoch multiplies the gradient
along it by 1 - a h. With g = V^T grad L(t_0), the gradient along each mode at the start,

    t_k = t_0 - a V s(k)        s_i(k) = g_i (1 + (1 - a h_i) + ... + (1 - a h_i)^(k-1))

(Goodfellow, Bengio, Courville: Deep Learning, 2016, section 7.8, there for a start at 0; LeCun, Kanter,
Solla: Eigenvalues of Covariance Matrices, Physical Review Letters 66, 1991). A mode with h = 0 has g = 0 and
keeps its start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from db.history import Float32s, Float64s, Int64s
from job.data.dataset import Dataset

UNIT = 2.0**-24
"""float32's unit roundoff"""
TINY = 2.0**-126
"""float32's smallest normal number; some frameworks set smaller ones to 0"""
NEARBY = (10, 100, 1000)
"""epochs before and after a stored turn in which one of the path is looked for"""
CHUNK = 2**14
"""parameters times epochs that are computed at once: few enough for a processor's cache"""


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Consecutive epochs of the exact path; the columns are train loss, test loss and the p parameters."""

    first: int
    """the first of its epochs"""
    values: Float64s
    """float64 [n, 2 + p]"""
    bound: Float64s
    """float64 [n, 2 + p], how far a float32 implementation may be from them"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of direction of a parameter: its steps before and after `epoch` have different signs.

    The mode that moved it before fades fastest, and of those that fade more slowly, one moves it the other
    way most.
    """

    epoch: int
    short_half_life: float
    """epochs in which the first of the two modes halves"""
    long_half_life: float


class Rows:
    """The training or the test rows in a form of at most p + 1 rows that gives the same losses."""

    def __init__(self, x: Float32s, y: Float32s) -> None:
        table = np.column_stack([x, np.ones(len(x)), y]).astype(np.float64)
        # |Q R t| = |R t| for an orthogonal Q.
        triangle: Float64s = np.asarray(np.linalg.qr(table, mode="r")) / math.sqrt(len(x))
        self.x, self.y = triangle[:, :-1], triangle[:, -1]
        """[q, p] and [q], so that the loss of parameters t is |x t - y|^2"""
        self.scale = np.sqrt((triangle**2).sum(axis=0))
        """[p + 1]: root mean squares of the features, the 1 and the target"""

    def error(self, parameters: Float64s) -> Float64s:
        """X t - y in that form, [n, q], for n parameter vectors [n, p]."""
        error: Float64s = parameters @ self.x.T - self.y
        return error

    def rounding(self, parameters: Float64s) -> Float64s:
        """How much float32 may add to a prediction error X t - y: a root mean square over the rows, [n].

        The terms that it adds up, |x_j t_j| and |y|, have at most the root mean square `terms` together.
        """
        terms = np.abs(parameters) @ self.scale[:-1] + self.scale[-1]
        added: Float64s = math.sqrt(len(self.scale)) * UNIT * terms
        return added


class ExactPath:
    """The path of a linear regression from `start`, float32 [p], in float64."""

    def __init__(self, dataset: Dataset, learning_rate: float, start: Float32s) -> None:
        self.train = Rows(dataset.train_x, dataset.train_y)
        self.test = Rows(dataset.test_x, dataset.test_y)
        self.start = start.astype(np.float64)
        self.learning_rate = float(np.float32(learning_rate))  # as the models use it
        _, singular, transposed = np.linalg.svd(self.train.x)
        self.modes: Float64s = transposed.T
        """[p, p], a mode in each column, those with the steepest loss first"""
        self.steps = np.zeros(len(self.modes))
        """a h [p]: the share of the distance to the optimum that an epoch takes off along each mode"""
        self.steps[: len(singular)] = 2 * self.learning_rate * singular**2
        self.pull: Float64s = 2 * self.train.error(self.start[None])[0] @ self.train.x @ self.modes
        """g [p]: the gradient along each mode at the start"""
        rows = max(len(dataset.train_x), len(dataset.test_x))
        self.sum_error = (
            max(math.sqrt(rows) * UNIT, dataset.sum_error()) + 4 * UNIT
        )  # and a few operations a row

    @property
    def diverges(self) -> bool:
        """Whether a mode moves away from the optimum."""
        return bool(self.steps.max() > 2)

    @cached_property
    def half_lives(self) -> Float64s:
        """Epochs in which each mode halves its distance to the optimum, [p]; infinite if it never does."""
        with np.errstate(divide="ignore"):
            lives: Float64s = np.log(0.5) / np.log(np.abs(1 - self.steps))
        return np.abs(lives)

    def turn(self, parameter: int, near: int, step: float) -> Turn | None:
        """The turn of a parameter nearest to an epoch, within NEARBY, with the sign of `step` before it."""
        for distance in NEARBY:
            epochs = np.arange(max(0, near - distance), near + distance + 2)
            # The path's step in each epoch is -a times the sum of the modes' parts of it. Here they are above
            # 0 if they go in the direction of `step`.
            parts = self.modes[parameter] * self.pull * (1 - self.steps) ** epochs[:, None] * -np.sign(step)
            steps = parts.sum(axis=1)
            turns = np.flatnonzero((steps[:-1] > 0) & (steps[1:] <= 0))
            if len(turns):
                at = turns[np.argmin(np.abs(epochs[turns] - near))]
                lives = self.half_lives
                fading = int(np.argmax(parts[at] / lives))
                lasting = int(np.argmin(np.where(lives > lives[fading], parts[at], np.inf)))
                return Turn(int(epochs[at]), float(lives[fading]), float(lives[lasting]))
        return None

    def chunks(self, epochs: int) -> Iterator[Chunk]:
        """The first `epochs` epochs, chunk by chunk. `docs/exact.md` derives the bound."""
        size = max(1, CHUNK // len(self.start))
        worst = np.zeros(len(self.start))
        tables = (self.train, self.test)
        for first in range(0, epochs, size):
            # One row more: losses are from before the update, parameters from after it.
            done = np.arange(first, min(first + size, epochs) + 1)
            sums = series(self.steps, done)
            parameters = self.start - self.learning_rate * (self.pull * sums) @ self.modes.T
            errors = [rows.error(parameters) for rows in tables]
            losses = [(error**2).sum(axis=1) for error in errors]

            added = self.added(parameters, losses[0])
            added[0] = np.maximum(added[0], worst)
            added = np.maximum.accumulate(added)
            worst = added[-1]
            # The same series of |1 - a h|.
            kept = sums if self.steps.max() <= 1 else series(np.minimum(self.steps, 2 - self.steps), done)
            along = added @ np.abs(self.modes) * kept
            off = along @ np.abs(self.modes.T)
            bounds = []
            for rows, error, loss in zip(tables, errors, losses, strict=True):
                gradient = np.abs(2 * error @ (rows.x @ self.modes))
                moved = (gradient * along).sum(axis=1) + (off @ rows.scale[:-1]) ** 2
                own = rows.rounding(parameters)
                bounds.append(moved + self.sum_error * loss + 2 * np.sqrt(loss) * own + own**2 + TINY)
            yield Chunk(
                first,
                np.column_stack([*(loss[:-1] for loss in losses), parameters[1:]]),
                np.column_stack([*(bound[:-1] for bound in bounds), off[1:]]),
            )

    def added(self, parameters: Float64s, loss: Float64s) -> Float64s:
        """How much float32 may add to each parameter in one epoch, [n, p].

        The subtraction rounds by u |t|. The gradient of parameter j is 2/r times a sum over the rows of x_j e
        with the prediction errors e; the rounding of the sum, and that in e, is at most the product of the
        root mean squares (Cauchy-Schwarz).
        """
        error = np.sqrt(loss) * self.sum_error + self.train.rounding(parameters)
        gradient = 2 * error[:, None] * self.train.scale[:-1]
        most: Float64s = UNIT * np.abs(parameters) + self.learning_rate * gradient + TINY
        return most


def series(steps: Float64s, epochs: Int64s) -> Float64s:
    """1 + (1 - x) + ... + (1 - x)^(k-1) for each of k epochs and steps x from 0 to 2: float64 [n, p]."""
    steps = np.maximum(steps, 1e-300)  # of x = 0 the sum is k
    sums = np.empty((len(epochs), len(steps)))
    small = steps < 0.5
    # 1 - (1 - x)^k without cancellation.
    sums[:, small] = -np.expm1(epochs.astype(np.float64)[:, None] * np.log1p(-steps[small]))
    sums[:, ~small] = 1 - (1 - steps[~small]) ** epochs[:, None]
    return sums / steps
