"""Trains one linear regression in NumPy and in Paddle and stores every epoch of both."""

__version__ = "0.1.0"
