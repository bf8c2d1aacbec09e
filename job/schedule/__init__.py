"""Scheduled runs: the cron expression, the process that waits for it, and who is notified."""
