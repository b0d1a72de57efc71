"""What a failure of one step means for those after it: pure bookkeeping, apart from the engine that runs the steps."""

from __future__ import annotations

from sibyl_runtime.errors import InvalidParameters, SibylError
from sibyl_runtime.workspace import Step


class Failures:
    """The failures of one run. `ending` is the one that ends it; steps marked `always` still run then."""

    def __init__(self) -> None:
        self.ending: SibylError | None = None
        self._unmended: SibylError | None = None

    def allow(self, step: Step) -> bool:
        """Whether the step is to run, its condition aside."""
        if self.ending is not None:
            return step.always
        return self._unmended is not None if step.mends else True

    def passed(self) -> None:
        """A step was done, or there was nothing to do for it."""
        self._unmended = None

    def not_wanted(self, step: Step) -> None:
        """The condition of a step was false. If it was to mend a failure, nothing has mended that."""
        if step.mends and self.ending is None:
            self.ending = self._unmended
        self._unmended = None

    def failed(self, step: Step, following: Step | None, error: SibylError, *, in_time: bool) -> bool:
        """A step failed; True when the run goes on without it. `in_time` False: nothing is left of the deadline.

        What the caller did wrong is never mended, and nothing that fails later takes the place of `ending`.
        """
        mended = following is not None and following.mends
        self._unmended = None
        if self.ending is not None:
            return False
        if isinstance(error, InvalidParameters) or not in_time or not (mended or step.on_error == "continue"):
            self.ending = error
            return False
        self._unmended = error
        return True
