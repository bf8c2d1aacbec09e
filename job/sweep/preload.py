"""What a sweep's worker needs, loaded by import: once, in the process that workers are forked from."""

import distributed.nanny  # noqa: F401

from job.models import load_models

load_models()
