"""How many requests are inside at once, and the door that is shut before the server stops."""

from __future__ import annotations

from types import TracebackType

from gense.serve.limits import RefusedError


class Gate:
    """A number of places; each accepted request holds one from before its body is read until its answer is made.

    For one event loop; only `close` may be called from elsewhere.

    Args:
        places: how many requests may be inside.
    """

    def __init__(self, places: int):
        self.places, self.taken, self.closed = places, 0, False

    def close(self) -> None:
        """Let nobody in any more; those inside are finished."""
        self.closed = True

    @property
    def empty(self) -> bool:
        """Whether nobody is inside."""
        return self.taken == 0

    def __enter__(self) -> Gate:
        """Take a place.

        Raises:
            RefusedError: 503 after `close`, 429 where all places are taken.
        """
        if self.closed:
            raise RefusedError(503, "the server is stopping and takes no new work; try another one", retry_after=10)
        if self.taken >= self.places:
            raise RefusedError(429, f"all {self.places} places are taken; try again in a moment", retry_after=1)
        self.taken += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.taken -= 1
