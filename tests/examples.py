"""The models of examples/, loaded as a user's file is."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location

from job.models.base import Model
from tests.conftest import ROOT

EXAMPLES = {
    "lists_linear": "Mine",
    "momentum_numpy": "Momentum",
    "momentum_paddle": "Momentum",
    "minibatch_numpy": "MiniBatch",
    "mlp_numpy": "MLP",
    "mlp_paddle": "MLP",
    "logistic_numpy": "Logistic",
    "logistic_paddle": "Logistic",
}
"""file to class, of those that the locked dependencies can run"""


@cache
def example(file: str, name: str = "") -> type[Model]:
    """The class of an example."""
    spec = spec_from_file_location(file, ROOT / "examples" / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[file] = module_from_spec(spec)
    spec.loader.exec_module(module)
    model: type[Model] = getattr(module, name or EXAMPLES[file])
    return model
