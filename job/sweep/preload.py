"""Imported by the fork server of a sweep: loads the frameworks once for all local workers."""

import distributed.nanny  # noqa: F401

from job.models import load_models

load_models()
