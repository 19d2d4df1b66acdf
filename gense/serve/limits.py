"""What a client of the server may ask for, and how it is told no."""

from __future__ import annotations

from dataclasses import dataclass


class RefusedError(Exception):
    """A request that is not served.

    Args:
        status: of the HTTP answer.
        message: what was got, what is expected, and what to do; the client reads it.
        retry_after: whole seconds after which it is worth trying again; None where it is not.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after


@dataclass(frozen=True)
class ServerLimits:
    """How much a server takes on.

    Accepted requests hold their body in memory, as it was sent: at most (`batch` + `queue`) * `max_bytes` in all.
    Samples are unpacked only for the requests that are being enhanced.

    Args:
        max_bytes: most bytes of a request's body; counted while it arrives.
        max_seconds: longest recording.
        max_channels: most channels; each of them costs a run of the method.
        min_rate: lowest sampling rate, Hz.
        max_rate: highest sampling rate, Hz.
        max_steps: most sampling steps that a client may ask for; the method's own number is always allowed.
        batch: most requests that are enhanced at once.
        batch_seconds: a batch is not made longer than this, all channels together; a longer recording goes alone.
        wait: seconds that an idle server waits for company after a request, before it begins.
        queue: most requests that are accepted beyond a batch, those that are still being sent included. Others get 429.
        upload_seconds: how long a body may take to arrive.

    Raises:
        ValueError: a value that is out of its range.
    """

    max_bytes: int = 50_000_000
    max_seconds: float = 600.0
    max_channels: int = 8
    min_rate: int = 4000
    max_rate: int = 192_000
    max_steps: int = 100
    batch: int = 8
    batch_seconds: float = 120.0
    wait: float = 0.01
    queue: int = 32
    upload_seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            zero_is_fine = name in ("wait", "queue")
            if not (value >= 0 if zero_is_fine else value > 0):
                raise ValueError(f"{name}={value}: expected a number {'of at least' if zero_is_fine else 'above'} 0")
        if self.min_rate > self.max_rate:
            raise ValueError(f"min_rate={self.min_rate} lies above max_rate={self.max_rate}")
