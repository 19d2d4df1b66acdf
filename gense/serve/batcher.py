"""Requests that arrive at about the same time are enhanced together, one batch after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gense.serve.limits import RefusedError, ServerLimits
from gense.serve.work import Job, Outcome


class Batcher:
    """A queue of jobs and a single thread that works on them; for one event loop.

    Jobs are begun in the order of their arrival; those that go with the first one overtake others to join its batch.

    Args:
        work: makes an outcome of each job of a batch; called in the thread, for one batch at a time.
        limits: `batch`, `batch_seconds` and `wait`.
        done: told of each batch and its outcomes.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Outcome]],
        limits: ServerLimits,
        done: Callable[[Sequence[Job], Sequence[Outcome]], None],
    ):
        self.work, self.limits, self.done = work, limits, done
        self.working = 0
        self._waiting: deque[tuple[Job, asyncio.Future[Outcome]]] = deque()
        self._arrived = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Jobs that nobody works on yet."""
        return len(self._waiting)

    async def submit(self, job: Job) -> Outcome:
        """Wait for a job's outcome; cancelled while it waits, it is never begun."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        entry = (job, future)
        self._waiting.append(entry)
        self._arrived.set()
        try:
            return await future
        finally:
            if future.cancelled() and entry in self._waiting:
                self._waiting.remove(entry)

    async def run(self) -> None:
        """Work until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="gense-serve") as thread:
            while True:
                if not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
                    await asyncio.sleep(self.limits.wait)
                batch = self._next()
                if not batch:
                    continue
                jobs = [job for job, _ in batch]
                self.working = len(jobs)
                try:
                    outcomes = await loop.run_in_executor(thread, self.work, jobs)
                except Exception as error:  # the work answers for its errors itself; should it fail, nobody waits on
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(RefusedError(500, "enhancing failed"))
                    loop.call_exception_handler({"message": "a batch failed", "exception": error})
                    continue
                finally:
                    self.working = 0
                self.done(jobs, outcomes)
                for (_, future), outcome in zip(batch, outcomes, strict=True):
                    if not future.done():
                        future.set_result(outcome)

    def _next(self) -> list[tuple[Job, asyncio.Future[Outcome]]]:
        """Take the first job and those that go with it out of the queue."""
        batch: list[tuple[Job, asyncio.Future[Outcome]]] = []
        left: deque[tuple[Job, asyncio.Future[Outcome]]] = deque()
        seconds = 0.0
        for job, future in self._waiting:
            fits = not batch or (
                len(batch) < self.limits.batch
                and seconds + job.seconds <= self.limits.batch_seconds
                and job.goes_with(batch[0][0])
            )
            if fits:
                batch.append((job, future))
                seconds += job.seconds
            else:
                left.append((job, future))
        self._waiting = left
        return batch
