"""Replays stored epochs: one with all its values (`step`), or many to compare their bits (`audit`)."""
