"""VisualDL logs drawn from the store, and the server that shows them. Training needs none of it.

`records`: VisualDL's format; `logs`: the files; `follow`: the process that draws them during a training;
`process`: the trainer's side of it; `repair`, `deleted`: logs that are missing, torn, or of deleted runs;
`files`: which runs are shown; `dashboard`, `server`, `reader`: how they are shown.
"""
