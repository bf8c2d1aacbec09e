"""The table, the dataset made of it, and where the file of a stored run is found."""
