"""The bare loops: both models, the notebook's way, in one process that keeps and stores nothing.

`python -m benchmarks.bare` trains the eager Paddle loop and the hand-written loop, one block after the other;
a block's losses and parameters are numbers in memory, and then discarded. It shares the job's savings at
process exit.
"""

from __future__ import annotations

import sys

from job.__main__ import leave
from job.pins import pin

pin()  # the job's kernels and threads

from db.digest import BLOCK_EPOCHS  # noqa: E402
from job.data.dataset import DEFAULT_DATA, load  # noqa: E402
from job.models.loading import load_models  # noqa: E402


def main() -> None:
    """Train on the housing table for 10,000 epochs and print the biases."""
    load_models()  # also sets up Paddle's warnings and signals
    from job.models.paddle import EagerModel
    from job.models.python import PythonModel

    data = load(DEFAULT_DATA)
    for model in (EagerModel, PythonModel):
        bare = model(data, 0.01, 0, model.initial(data, 0))
        for _ in range(10_000 // BLOCK_EPOCHS):
            bare.advance(BLOCK_EPOCHS)
        print(f"{model.__name__} {bare.parameters[-1]:.9g}")
    sys.stdout.flush()
    leave(0)


if __name__ == "__main__":
    main()
