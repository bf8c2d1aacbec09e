"""The gap between two histories, and the verdicts: parity, reference, exact, drift."""
