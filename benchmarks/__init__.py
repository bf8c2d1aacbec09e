"""What recording every epoch costs; each figure compares two things measured in the same run."""
