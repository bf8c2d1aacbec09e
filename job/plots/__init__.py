"""Figures of stored runs. Only this package imports matplotlib; import it inside the command that draws."""
