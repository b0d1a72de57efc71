"""What really runs: asks pods which configuration they loaded and what they counted, and the database what it is."""

from sibyl_operator.observe.observer import Observer

__all__ = ["Observer"]
