"""The errors of the test cluster: each says what was found and what to do next."""

from __future__ import annotations


class ClusterError(Exception):
    """The test cluster, or a part of it, could not do what was asked."""


class BuildError(ClusterError):
    """The programs of the control plane could not be found or built."""


class StartError(ClusterError):
    """A program of the test cluster did not start; the message carries the end of its log."""


class KubectlError(ClusterError):
    """A kubectl command exited with another code than 0; the message carries what it printed."""


class WaitTimeoutError(ClusterError):
    """A condition did not come true in time; the message names it and what was seen last."""
