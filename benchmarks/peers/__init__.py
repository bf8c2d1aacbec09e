"""The same history recorded by other trackers, each in an environment of its own, locked in `NAME.lock`."""
