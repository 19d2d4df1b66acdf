"""What the server tells Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gense.serve.batcher import Batcher
from gense.serve.gate import Gate
from gense.serve.work import Job, Outcome

TYPE = CONTENT_TYPE_LATEST
"""Content-Type of the text."""
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)
_FACTORS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Measures:
    """Counters of one server, in a registry of their own: two servers in a process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "gense_requests", "Answered requests, 499 where the client left first.", ["path", "status"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "gense_request_seconds", "Time from the request to the end of the answer, of enhanced audio.",
            buckets=_SECONDS, registry=self.registry,
        )
        self.audio = Counter("gense_audio_seconds", "Enhanced audio.", ["method"], registry=self.registry)
        self.busy = Counter("gense_work_seconds", "Time spent on batches.", ["method"], registry=self.registry)
        self.factor = Histogram(
            "gense_real_time_factor", "Time spent on a batch by the length of its audio.", buckets=_FACTORS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "gense_batch_requests", "Requests in a batch.", buckets=(1, 2, 4, 8, 16, 32), registry=self.registry
        )

    def watch(self, gate: Gate, batcher: Batcher) -> None:
        """Show how full the server is whenever it is asked."""
        for name, about, value in (
            ("gense_queue_length", "Accepted requests that wait for their turn.", lambda: batcher.waiting),
            ("gense_working", "Requests that are being enhanced.", lambda: batcher.working),
            ("gense_accepted", "Accepted requests without an answer yet, those being sent included.",
             lambda: gate.taken),
        ):
            Gauge(name, about, registry=self.registry).set_function(value)

    def batch(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """Count a batch."""
        good = [job for job, one in zip(jobs, outcomes, strict=True) if isinstance(one.answer, bytes)]
        seconds, method = sum(job.header.seconds for job in good), jobs[0].choice.method
        self.batches.observe(len(jobs))
        self.busy.labels(method).inc(outcomes[0].seconds)
        self.audio.labels(method).inc(seconds)
        if seconds:
            self.factor.observe(outcomes[0].seconds / seconds)

    def text(self) -> bytes:
        """Everything in the format that Prometheus reads."""
        return generate_latest(self.registry)
