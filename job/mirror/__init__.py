"""VisualDL as a projection of the store: logs drawn from it, and the server that shows them.

`records` knows VisualDL's format, `logs` the files, `follow` how they keep up with the store, `process`
how a trainer starts a follower, `dashboard` and `server` how the logs are shown. Training needs none of it.
"""
