"""Figures of stored runs. Only this package knows matplotlib; import it inside the command that draws."""
