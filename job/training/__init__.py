"""The training loop, a run from its start to its end, and the environment that is recorded with it."""
