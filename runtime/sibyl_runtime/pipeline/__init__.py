"""Runs the pipelines of a workspace: steps in order, each within the deadline, each timed."""
