"""A cluster of two nodes, one of which goes away."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from gense.scale import enhance_corpus
from tests.scale.deadly import corpus, deadly_method
from tests.scale.test_ray import rows_of, undisturbed


@pytest.mark.slow
def test_a_node_that_is_removed_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    source, out, pids = corpus(tmp_path / "in", 80), tmp_path / "out", tmp_path / "pids"
    method = deadly_method(tmp_path / "model", 0.3, pids)
    store = {"object_store_memory": 100 << 20}
    # Each node has room for one worker
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **store})
    try:
        second = cluster.add_node(num_cpus=1, **store)
        begun = time.monotonic()

        def remove() -> None:
            # Both workers have left their number beside this process's, and are at work
            while time.monotonic() - begun < 200 and (len(list(pids.iterdir())) < 3 or not list(out.rglob("*.wav"))):
                time.sleep(0.1)
            cluster.remove_node(second)

        remover = threading.Thread(target=remove)
        remover.start()
        report = enhance_corpus(
            source, out, method=method, trust=True, workers=2, address=cluster.address, progress=False
        )
        remover.join()
    finally:
        cluster.shutdown()
    assert (report.done, report.failed) == (80, {})
    rows = rows_of(out)
    assert len(rows) == 80
    assert {key: row["sha256"] for key, row in rows.items()} == undisturbed(source, tmp_path / "alone", method)
