"""What recording everything costs, each figure a ratio of two things measured in the same run."""
