"""What is judged of a run: the gap between histories, parity, the notebook's numbers, and drift."""
