"""The table, the dataset made of it, and where a run's file is found."""
