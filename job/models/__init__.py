"""The models: the interface, the built-in ones, and how any is found by its reference."""
