"""Ray: started on this machine or joined, and batches through its workers."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gense.scale.batches import Batch
from gense.scale.worker import Job, Outcome, Worker

_STORE = 256 << 20  # bytes of shared memory: names of clips and rows go through it, no audio
_QUIET = ("ray", "ray.data", "ray.tune", "ray.rllib", "ray.train", "ray.serve")
_ROUNDS = 3


@dataclass(frozen=True)
class Workers:
    """How many there are, and what each of them may use.

    Attributes:
        count: of worker processes.
        cpus: cores of each, which is also the number of its threads; a part of a core counts as one thread.
        gpus: devices of each; a part lets several share one. 0 computes on the CPU.
    """

    count: int
    cpus: float = 1
    gpus: float = 0.0


@contextlib.contextmanager
def ray_for(workers: int | None, cpus: float, gpus: float, address: str | None) -> Iterator[Workers]:
    """Have Ray running, and say how many workers there will be.

    A Ray that this process has started or joined before is used and left running. Otherwise `address`, or the
    environment variable RAY_ADDRESS, names the cluster to join; without either, Ray is started for this job, uploads
    nothing, and ends with the job. Its processes listen on this machine's address; who may talk to them is up to Ray's
    own token, which newer versions ask for by themselves.

    Args:
        workers: processes; None takes as many as the machine or cluster has cores or GPUs for.
        cpus: cores of each.
        gpus: devices of each.
        address: of a cluster, as `ray.init` takes it: "auto" or "host:6379".

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no cluster at this address.
        ValueError: not even one worker fits.
    """
    try:
        import ray
        import ray.data  # what it needs may be missing, too
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed: pip install gense[scale]") from error
    joined = address or os.environ.get("RAY_ADDRESS")
    with _quiet():
        own = not ray.is_initialized()
        if own and joined:
            ray.init(address=joined, log_to_driver=False, logging_level=logging.ERROR)
        elif own:
            # Affinity, not the machine's cores: a job that is confined to some shall not share them among too many
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            ray.init(
                address="local", num_cpus=max(cores, math.ceil((workers or 1) * cpus)), object_store_memory=_STORE,
                include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
            )  # fmt: skip
        try:
            there = ray.cluster_resources()
            fitting = int(there.get("CPU", 0) / cpus) if cpus else math.inf
            if gpus:
                fitting = min(fitting, int(there.get("GPU", 0) / gpus))
            if fitting < 1:
                raise ValueError(
                    f"cpus={cpus:g}, gpus={gpus:g}: Ray has {there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} "
                    "GPUs here, too few for one worker"
                )
            yield Workers(workers or int(fitting), cpus, gpus)
        finally:
            if own:
                ray.shutdown()


def outcomes(batches: Sequence[Batch], job: Job, workers: Workers) -> Iterator[Outcome]:
    """Send batches to workers and yield what became of each, in the order in which they finish.

    Ray replaces workers that die, and hands their batch to another, which finds in the job's journal what happened. The
    batches of a worker that Ray gives up on are sent once more; so a batch may, rarely, come back twice.

    Args:
        batches: to do.
        job: what the workers have to know.
        workers: how many, and of which size.

    Raises:
        RuntimeError: no worker can be started.
    """
    waiting = {batch.name: batch for batch in batches}
    for _ in range(_ROUNDS):
        if not waiting:
            return
        for outcome in _round(list(waiting.values()), job, workers):
            waiting.pop(outcome.batch, None)
            yield outcome
    if waiting:
        raise RuntimeError(f"{len(waiting)} of {len(batches)} batches did not come back from Ray in {_ROUNDS} attempts")


def _round(batches: list[Batch], job: Job, workers: Workers) -> Iterator[Outcome]:
    import ray
    import ray.data

    with _settings():
        parcels = [{"batch": pickle.dumps(batch)} for batch in batches]
        clips = ray.data.from_items(parcels, override_num_blocks=len(parcels))
        # Two a worker, so that none waits for the next; a batch whose turn has not come is not begun in the journal
        pool = ray.data.ActorPoolStrategy(size=min(workers.count, len(batches)), max_tasks_in_flight_per_actor=2)
        done = clips.map_batches(
            Worker, fn_constructor_args=(job,), batch_size=1, compute=pool, num_cpus=workers.cpus,
            num_gpus=workers.gpus or None,
        )
        try:
            for block in done.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
                for parcel in block["outcome"]:
                    yield pickle.loads(parcel)
        except ray.exceptions.RayError as error:
            raise RuntimeError(f"workers cannot be kept running: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The innermost error that Ray tells of, in a line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """Ray Data's settings for the time of a round."""
    import ray.data

    context = ray.data.DataContext.get_current()
    wanted: dict[str, Any] = {
        "enable_progress_bars": False,  # there is one line about the whole job
        "print_on_execution_start": False,
        "max_errored_blocks": -1,  # what is missing in the end is sent once more
    }
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    for name in before:
        setattr(context, name, wanted[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's own log, which goes to files below its session folder, out of the terminal."""
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="ray.*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
