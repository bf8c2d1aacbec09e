"""Trains a model in two or more implementations and stores every epoch of each."""

__version__ = "0.1.0"
