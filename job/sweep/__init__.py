"""A run for every seed and learning rate: the combinations, one task, the Dask cluster."""
