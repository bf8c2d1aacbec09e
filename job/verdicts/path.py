"""The exact path: gradient descent of a linear regression in closed form, and float32's distance from it.

Let A be the training rows, each with a 1 for the bias [r, p], y their targets [r], and a the learning rate.
The loss L(t) = |A t - y|^2 / r has the Hessian H = 2/r A^T A = V diag(h) V^T. Full-batch gradient descent moves
its parameters t along each eigenvector of H, a *mode*, on its own: an epoch multiplies the mode's gradient by
1 - a h. With g = V^T grad L(t_0), the modes' gradients at the start,

    t_k = t_0 - a V s(k)        s_i(k) = g_i (1 + (1 - a h_i) + ... + (1 - a h_i)^(k-1))

(Goodfellow, Bengio, Courville: Deep Learning, 2016, section 7.8, there for a start at 0; LeCun, Kanter, Solla:
Eigenvalues of Covariance Matrices, Physical Review Letters 66, 1991). A mode with h = 0 has g = 0: it stays.
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
    """Consecutive epochs of the exact path: n rows of train loss, test loss and p parameters, as in a History."""

    first: int
    """the first of its epochs"""
    values: Float64s
    """float64 [n, 2 + p]"""
    bound: Float64s
    """float64 [n, 2 + p], how far a float32 implementation may be from them"""


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of direction of a parameter: its steps before and after `epoch` have different signs.

    Two modes move the parameter most, in opposite directions. The one that halves faster was the stronger.
    """

    epoch: int
    short_half_life: float
    """epochs in which the faster of the two modes halves"""
    long_half_life: float


class Rows:
    """The training or the test rows in a form of at most p + 1 rows that gives the same losses."""

    def __init__(self, x: Float32s, y: Float32s) -> None:
        table = np.column_stack([x, np.ones(len(x)), y]).astype(np.float64)
        # |Q R t| = |R t| for an orthogonal Q.
        triangle = np.linalg.qr(table, mode="r") / math.sqrt(len(x))
        self.x, self.y = triangle[:, :-1], triangle[:, -1]
        """[q, p] and [q], so that the loss of parameters t is |x t - y|^2"""
        self.scale = np.sqrt((triangle**2).sum(axis=0))
        """[p + 1]: root mean squares of the features, the 1 and the target"""

    def error(self, parameters: Float64s) -> Float64s:
        """X t - y in that form, [n, q], for n parameter vectors [n, p]."""
        return parameters @ self.x.T - self.y

    def spread(self, parameters: Float64s) -> Float64s:
        """A root mean square of the terms |x_j t_j| and |y| that a prediction error adds up, at most; [n]."""
        largest: Float64s = np.abs(parameters) @ self.scale[:-1] + self.scale[-1]
        return largest


class ExactPath:
    """The path of a linear regression from `start`, float32 [p], without rounding, in float64.

    `sum_error` is the relative error of adding a value of each training row in float32 (`Dataset.sum_error`).
    """

    def __init__(
        self, dataset: Dataset, learning_rate: float, start: Float32s, sum_error: float = 0.0
    ) -> None:
        self.train = Rows(dataset.train_x, dataset.train_y)
        self.test = Rows(dataset.test_x, dataset.test_y)
        self.start = start.astype(np.float64)
        self.learning_rate = float(np.float32(learning_rate))  # as the models use it
        _, singular, transposed = np.linalg.svd(self.train.x)
        self.modes: Float64s = transposed.T
        """[p, p], a mode in each column, those with the steepest loss first"""
        self.steps = np.zeros(len(self.modes))
        """a h [p]: the share of its distance to the optimum that a mode takes off in an epoch; h in float64"""
        self.steps[: len(singular)] = 2 * self.learning_rate * singular**2
        self.pull: Float64s = 2 * self.train.error(self.start[None])[0] @ self.train.x @ self.modes
        """g [p]: the gradient along each mode at the start"""
        rows = max(len(dataset.train_x), len(dataset.test_x))
        self.sum_error = max(math.sqrt(rows) * UNIT, sum_error) + 4 * UNIT  # and a few operations a row

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
            # The path's step in each epoch is -a times the sum of these.
            parts = self.modes[parameter] * self.pull * (1 - self.steps) ** epochs[:, None]
            steps = -np.sign(step) * parts.sum(axis=1)
            turns = np.flatnonzero((steps[:-1] > 0) & (steps[1:] <= 0))
            if len(turns):
                at = turns[np.argmin(np.abs(epochs[turns] - near))]
                modes = [parts[at].argmin(), parts[at].argmax()]
                return Turn(int(epochs[at]), *sorted(self.half_lives[modes].tolist()))
        return None

    def chunks(self, epochs: int) -> Iterator[Chunk]:
        """The first `epochs` epochs, chunk by chunk."""
        size = max(1, CHUNK // len(self.start))
        worst = np.zeros(len(self.start))
        for first in range(0, epochs, size):
            # One row more: losses are from before the update, parameters from after it.
            done = np.arange(first, min(first + size, epochs) + 1)
            sums = series(self.steps, done)
            parameters = self.start - self.learning_rate * (self.pull * sums) @ self.modes.T
            errors = self.train.error(parameters), self.test.error(parameters)
            losses = [(each**2).sum(axis=1) for each in errors]
            rounding = self.rounding(parameters, losses[0])
            rounding[0] = np.maximum(rounding[0], worst)
            rounding = np.maximum.accumulate(rounding)
            worst = rounding[-1]
            along = rounding @ np.abs(self.modes)
            # The same series of |1 - a h|.
            along *= sums if self.steps.max() <= 1 else series(np.minimum(self.steps, 2 - self.steps), done)
            off = along @ np.abs(self.modes.T)
            loss_bounds = [
                self.loss_bound(rows, *each, parameters, along, off)
                for rows, *each in zip((self.train, self.test), errors, losses, strict=True)
            ]
            yield Chunk(
                first,
                np.column_stack([*(loss[:-1] for loss in losses), parameters[1:]]),
                np.column_stack([*(bound[:-1] for bound in loss_bounds), off[1:]]),
            )

    def rounding(self, parameters: Float64s, loss: Float64s) -> Float64s:
        """How much float32 may add to each parameter in one epoch, [n, p].

        The subtraction rounds by u |t|. The gradient of parameter j is 2/r times a sum over the rows of x_j e,
        with the prediction errors e: the sum's rounding error, and those in e, reach it through the root mean
        squares of x_j and e (Cauchy-Schwarz).
        """
        error = np.sqrt(loss) * self.sum_error + self.error_rounding(self.train, parameters)
        gradient = 2 * error[:, None] * self.train.scale[:-1]
        return UNIT * np.abs(parameters) + self.learning_rate * gradient + TINY

    def error_rounding(self, rows: Rows, parameters: Float64s) -> Float64s:
        """How much float32 may add to a prediction error in one epoch, as a root mean square, [n]."""
        return math.sqrt(len(self.start) + 1) * UNIT * rows.spread(parameters)

    def loss_bound(
        self, rows: Rows, error: Float64s, loss: Float64s, parameters: Float64s, along: Float64s, off: Float64s
    ) -> Float64s:
        """How far a loss may be from the exact one, [n]: by the parameters' distance, and by its own rounding.

        `along` and `off` are how far the parameters may be off, along each mode and each by itself, [n, p].
        """
        gradient = np.abs(2 * error @ (rows.x @ self.modes))
        moved = (gradient * along).sum(axis=1) + (off @ rows.scale[:-1]) ** 2
        rounding = self.error_rounding(rows, parameters)
        return moved + self.sum_error * loss + 2 * np.sqrt(loss) * rounding + rounding**2 + TINY


def series(steps: Float64s, epochs: Int64s) -> Float64s:
    """1 + (1 - x) + ... + (1 - x)^(k-1) for each of k epochs and steps x from 0 to 2: float64 [n, p]."""
    steps = np.maximum(steps, 1e-300)  # of x = 0 the sum is k
    sums = np.empty((len(epochs), len(steps)))
    small = steps < 0.5
    # 1 - (1 - x)^k without cancellation.
    sums[:, small] = -np.expm1(epochs.astype(np.float64)[:, None] * np.log1p(-steps[small]))
    sums[:, ~small] = 1 - (1 - steps[~small]) ** epochs[:, None]
    return sums / steps
