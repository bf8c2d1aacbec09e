"""Imported by the fork server of a sweep: loads the frameworks once for all local workers."""

import os

import distributed.nanny  # noqa: F401

from job.models.loading import load_models

if models := os.environ["LEDGER_PRELOAD"]:
    load_models(models.split(","))
