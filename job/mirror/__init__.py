"""VisualDL logs drawn from the store, and the server that shows them. Training needs none of it.

`records` has VisualDL's format, `logs` the files, `follow` the process that draws during a training,
`process` how a trainer starts it, `mend` the repair of a log directory, `dashboard` and `server` how the logs
are shown.
"""
