"""Measures the gaps between the models of examples/ and draws docs/images/models-gap.png."""

from __future__ import annotations

from job.pins import pin

pin()  # before anything loads NumPy

from functools import cache  # noqa: E402
from importlib.util import find_spec  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from db.history import Float64s, History  # noqa: E402
from job.data.dataset import load  # noqa: E402
from job.models.base import Model  # noqa: E402
from job.models.contract import train  # noqa: E402
from job.models.loading import load_models  # noqa: E402
from job.verdicts.gap import difference  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
CLASSES = {
    "lists_linear": "Mine",
    "momentum_numpy": "Momentum",
    "momentum_paddle": "Momentum",
    "minibatch_numpy": "MiniBatch",
    "mlp_numpy": "MLP",
    "mlp_paddle": "MLP",
    "logistic_numpy": "Logistic",
    "logistic_paddle": "Logistic",
} | ({"torch_linear": "TorchLinear"} if find_spec("torch") else {})
"""example to its class, of those that can be loaded here"""
PAIRS = [
    ("python", "lists_linear"),
    ("momentum_numpy", "momentum_paddle"),
    ("mlp_numpy", "mlp_paddle"),
    ("logistic_numpy", "logistic_paddle"),
] + ([("python", "torch_linear")] if find_spec("torch") else [])
EPOCHS = 2000


@cache
def find(name: str) -> type[Model]:
    """The class of a built-in model or of an example."""
    own = f"{name}={ROOT / 'examples' / name}.py:{CLASSES[name]}" if name in CLASSES else name
    return load_models([own])[name]


@cache
def trained(name: str, learning_rate: float = 0.01) -> History:
    """The first epochs of a model on the housing table."""
    return train(find(name), load(), EPOCHS, learning_rate, 0)


def gaps(first: History, second: History) -> Float64s:
    """The largest gap of each epoch, in losses and parameters, relative to values beyond 1; float64 [n]."""
    a, b = (np.column_stack([h.train_loss, h.test_loss, h.parameters]).astype(float) for h in (first, second))
    return (np.abs(a - b) / np.maximum(1, np.maximum(np.abs(a), np.abs(b)))).max(axis=1)


def main() -> None:
    """Draw the gaps, and print the largest of each pair."""
    from matplotlib.figure import Figure  # the tests import this module, and draw nothing

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for first, second, rate in [*((*pair, 0.01) for pair in PAIRS), ("mlp_numpy", "mlp_paddle", 0.5)]:
        gap = gaps(trained(first, rate), trained(second, rate))
        names = find(first).parameter_names(load())
        found = difference(trained(first, rate), trained(second, rate), names, (first, second))
        print(f"{first}, {second}: {found.describe()}, beyond the tolerance in epoch {found.beyond_epoch}")
        label = f"{first} and {second}" + ("" if rate == 0.01 else f", learning rate {rate}")
        axes.semilogy(np.maximum(gap, 1e-9), linewidth=0.8, label=label)
    axes.axhline(2e-6, color="black", linestyle="--", linewidth=0.8, label="tolerance")
    axes.set(xlabel="epoch", ylabel="largest gap", title="The gap between two models, by epoch")
    figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    figure.savefig(ROOT / "docs" / "images" / "models-gap.png", dpi=110)


if __name__ == "__main__":
    main()
