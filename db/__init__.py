"""The store: one SQL database that holds every epoch of every run. It never imports `job`."""
