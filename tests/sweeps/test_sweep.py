"""Sweeps of tiny models: what is counted, what is refused, what is resumed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gense
from gense.metrics.registry import Metric
from gense.sweeps import Cell, read_sweep
from gense.sweeps.cost import counted, identity
from tests.tiny import passthrough, pointwise, tiny_flow


def labels(sweep) -> list[str]:
    return [result.cell.label for result in sweep.cells]


def test_every_network_call_is_counted(pairs: Path, distance: Metric) -> None:
    """Euler's method calls once a step, the midpoint rule twice, Heun's twice but for the last; a head that does not
    sample has one setting."""
    sweep = gense.sweep(
        pairs, {"flow": tiny_flow(), "same": passthrough()}, samplers=["euler", "heun", "midpoint"], steps=[1, 3],
        metrics=[distance],
    )  # fmt: skip
    assert {result.cell.label: result.calls for result in sweep.cells} == {
        "flow, euler, 1 step": 1, "flow, euler, 3 steps": 3, "flow, heun, 1 step": 1, "flow, heun, 3 steps": 5,
        "flow, midpoint, 1 step": 2, "flow, midpoint, 3 steps": 6, "same": 0,
    }  # fmt: skip
    assert sweep.files == ["0.wav", "1.wav", "2.wav"]
    for result in sweep.cells:
        assert result.rtf == pytest.approx(result.seconds / 0.5)
        assert [entry["duration"] for entry in result.per_file] == [0.5] * 3
    assert sweep.cells[-1].scores["distance"] == pytest.approx(sweep.noisy["distance"], abs=1e-6)
    assert sweep.lower_is_better == {"distance"}


def test_scores_are_those_of_enhance_with_the_same_seed(pairs: Path, distance: Metric) -> None:
    """So every setting sees the same noise: that of its seed, whatever ran before it."""
    model = pointwise()
    sweep = gense.sweep(pairs, {"m": model}, samplers=[None, "predictor_corrector"], steps=[3, 2],
                        options={"snr": [None, 0.3]}, metrics=[distance], seed=5)  # fmt: skip
    assert labels(sweep) == ["m, 3 steps", "m, 2 steps", *(
        f"m, predictor_corrector, {n} steps{option}" for option in ("", ", snr=0.3") for n in (3, 2)
    )]
    assert set(sweep.refused) == {"m, 3 steps, snr=0.3", "m, 2 steps, snr=0.3"}
    for result in sweep.cells:
        for entry in result.per_file:
            clean, noisy = (gense.audio.read(pairs / kind / entry["file"])[0][:, 0] for kind in ("clean", "noisy"))
            out = gense.enhance(noisy, model, seed=5, steps=result.cell.steps, sampler=result.cell.sampler,
                                **dict(result.cell.options))  # fmt: skip
            assert entry["distance"] == float(np.abs(out - clean).mean())


def test_what_a_method_refuses_is_listed_with_the_reason(pairs: Path, distance: Metric) -> None:
    sweep = gense.sweep(
        pairs, {"flow": tiny_flow()}, samplers=[None, "euler", "heun", "average", "heunn"],
        options={"churn": [None, 1.0]}, metrics=[distance],
    )  # fmt: skip
    assert labels(sweep) == ["flow", "flow, heun"]
    assert sweep.refused["flow, euler"] == "the same as flow"
    assert "unexpected option 'churn'" in sweep.refused["flow, churn=1.0"]
    assert "nearest: 'heun'" in sweep.refused["flow, heunn"]
    assert "average velocity" in sweep.refused["flow, average"]
    assert not sweep.failed


def test_the_grid_is_checked_before_any_network_is_called(pairs: Path, distance: Metric) -> None:
    model = tiny_flow()
    with counted(model) as counter, pytest.raises(ValueError, match=r"no setting can be run:\n  m, 0 steps: steps=0"):
        gense.sweep(pairs, {"m": model}, steps=[0], samplers=[None, "average"], metrics=[distance])
    assert counter.calls == 0


def test_a_setting_that_fails_leaves_the_others_alone(pairs: Path, distance: Metric) -> None:
    """A network that breaks at a time that only three steps visit."""

    def break_down(network, given) -> None:
        if 0.5 < float(given[1][0]) < 0.53:
            raise RuntimeError("out of memory, say")

    model = tiny_flow()
    model.head.backbone.register_forward_pre_hook(break_down)
    sweep = gense.sweep(pairs, {"m": model}, steps=[1, 3, 2], metrics=[distance])
    assert labels(sweep) == ["m, 1 step", "m, 2 steps"]
    assert sweep.failed == {"m, 3 steps": "0.wav: out of memory, say"}


def breaking_after(metric: Metric, scores: int) -> Metric:
    left = iter(range(scores))

    def score(clip):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return metric.score(clip)

    return replace(metric, score=score)


def test_a_second_run_does_only_what_is_missing(pairs: Path, distance: Metric, tmp_path: Path) -> None:
    model, output = tiny_flow(), tmp_path / "s.csv"
    whole = gense.sweep(pairs, {"m": model}, steps=[1, 2], metrics=[distance])
    with pytest.raises(KeyboardInterrupt):  # after three noisy inputs and four outputs
        gense.sweep(pairs, {"m": model}, steps=[1, 2], metrics=[breaking_after(distance, 7)], output=output)
    assert not output.exists()
    journal = tmp_path / "s.csv.journal"
    assert len(journal.read_text().splitlines()) == 1 + 7
    with journal.open("a") as file:
        file.write('{"cell": {"meth')  # as a power cut would leave it
    with counted(model) as counter:
        resumed = gense.sweep(pairs, {"m": model}, steps=[1, 2], metrics=[distance], output=output)
    assert counter.calls == 1 + 2 * 2  # one to warm up, two files of two steps
    assert [r.scores for r in resumed.cells] == [r.scores for r in whole.cells]
    assert resumed.noisy == whole.noisy
    with counted(model) as counter:
        again = gense.sweep(pairs, {"m": model}, steps=[1, 2], metrics=[distance], output=output)
    assert counter.calls == 0
    assert again == resumed
    assert read_sweep(output, lower=["distance"]) == resumed


def test_a_sweep_can_grow_and_shrink(pairs: Path, distance: Metric, tmp_path: Path) -> None:
    model, output = tiny_flow(), tmp_path / "s.csv"
    gense.sweep(pairs, {"m": model}, steps=[1], metrics=[distance], output=output, limit=2)
    with counted(model) as counter:
        sweep = gense.sweep(pairs, {"m": model}, steps=[1, 2], metrics=[distance], output=output)
    assert counter.calls == 1 + 1 + 3 * 2
    assert len(sweep.files) == 3
    with counted(model) as counter:
        sweep = gense.sweep(pairs, {"m": model}, steps=[2], metrics=[distance], output=output, limit=1)
    assert counter.calls == 0
    assert (labels(sweep), len(sweep.files), len(read_sweep(output).files)) == (["m, 2 steps"], 1, 1)


def test_results_made_otherwise_are_not_mixed_in(pairs: Path, distance: Metric, tmp_path: Path) -> None:
    output = tmp_path / "s.csv"

    def run(model=None, metric=distance, **settings):
        return gense.sweep(pairs, {"m": model or tiny_flow()}, steps=[1], metrics=[metric], output=output, **settings)

    run()
    before = (tmp_path / "s.csv.journal").read_text()
    with pytest.raises(ValueError, match=r"seed=0, now 1\. Give another output, or start anew with resume=False"):
        run(seed=1)
    with pytest.raises(ValueError, match=r"metrics=\['distance'\], now \['other'\]"):
        run(metric=replace(distance, name="other"))
    with pytest.raises(ValueError, match="other content of m"):
        run(tiny_flow(seed=1))
    assert (tmp_path / "s.csv.journal").read_text() == before
    run(tiny_flow(seed=1), seed=1, resume=False)
    shutil.copy(pairs / "noisy" / "0.wav", pairs / "noisy" / "1.wav")
    with pytest.raises(ValueError, match=r"other content of 1\.wav"):
        run(tiny_flow(seed=1), seed=1)
    (tmp_path / "s.csv.journal").write_text("what is this\n")
    with pytest.raises(ValueError, match="not the journal of a sweep"):
        run()


def test_weights_and_own_settings_make_the_identity_of_an_enhancer() -> None:
    assert identity(tiny_flow()) == identity(tiny_flow()) != identity(tiny_flow(seed=1))
    other = tiny_flow()
    other.head.sampling = replace(other.head.sampling, steps=7)
    assert identity(other) != identity(tiny_flow())


def test_enhancers_are_left_as_they_were(pairs: Path, distance: Metric) -> None:
    model = tiny_flow()
    sweep = gense.sweep(pairs, {"m": model}, steps=[1], dtypes=["bfloat16", "float32"], metrics=[distance], limit=1)
    assert labels(sweep) == ["m, 1 step, bfloat16", "m, 1 step"]
    assert sweep.cells[0].scores["distance"] == pytest.approx(sweep.cells[1].scores["distance"], rel=0.05)
    assert sweep.cells[0].scores != sweep.cells[1].scores
    assert model.autocast is None
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.modules())


def test_recordings_keep_their_rate(pairs: Path, distance: Metric, tmp_path: Path) -> None:
    """Pairs of files, of which the noisy one is at another rate and longer: scored at the clean file's rate."""
    import soundfile

    wav = np.random.default_rng(0).standard_normal(24000).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "c.wav", wav, 48000, subtype="FLOAT")
    soundfile.write(tmp_path / "n.wav", gense.audio.resample(np.tile(wav, 2), 48000, 24000), 24000, subtype="FLOAT")
    seen = []

    def score(clip):
        seen.append((len(clip.est), len(clip.clean), len(clip.noisy), clip.sample_rate))
        return distance.score(clip)

    sweep = gense.sweep([(tmp_path / "c.wav", tmp_path / "n.wav")], {"m": passthrough()},
                        metrics=[replace(distance, score=score)])  # fmt: skip
    assert seen == [(24000, 24000, 24000, 48000)] * 2
    assert sweep.files == ["n.wav"]
    assert sweep.cells[0].per_file[0]["duration"] == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 3}, r"steps=3: expected a list"),
        ({"samplers": "heun"}, r"samplers='heun': expected a list"),
        ({"steps": [1, 1]}, r"steps=\[1, 1\]: expected at least one value, and each once"),
        ({"steps": []}, "at least one value"),
        ({"samplers": [3]}, "samplers holds 3"),
        ({"options": {"churn": [torch.ones(2)]}}, "expected names and numbers"),
        ({"dtypes": ["int8"]}, "dtype='int8': expected one of float32"),
        ({"metrics": ["pesk"]}, "pesk unknown"),
        ({"metrics": []}, "need at least one"),
        ({"metrics": [Metric("wer", ("wer",), lambda clip: {}, needs=("text",))]}, "'wer' needs text"),
        ({"methods": {}}, "at least one"),
        ({"methods": {"noisy input": passthrough()}}, "cannot be called"),
        ({"methods": ["flowsee"]}, "nearest: 'flowse'"),
        ({"output": "s.txt"}, r"ends in \.csv or \.parquet"),
        ({"output": "nowhere/s.csv"}, "no such folder"),
        ({"limit": 0}, "limit=0"),
        ({"seed": -1}, "seed=-1"),
        ({"pairs": "nowhere"}, "no such folder"),
        ({"pairs": []}, "at least one pair"),
        ({"pairs": [("a.wav", "b.wav")]}, "a.wav: no such file"),
    ],
)
def test_mistakes_are_told_before_any_work(pairs: Path, distance: Metric, settings: dict, message: str) -> None:
    given = {"pairs": pairs, "methods": {"m": passthrough()}, "metrics": [distance], **settings}
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        gense.sweep(given.pop("pairs"), given.pop("methods"), **given)


def test_two_files_of_one_name_are_refused(pairs: Path, distance: Metric) -> None:
    one = (pairs / "clean" / "0.wav", pairs / "noisy" / "0.wav")
    with pytest.raises(ValueError, match="have the same name"):
        gense.sweep([one, one], {"m": passthrough()}, metrics=[distance])


def test_journal_lines_say_what_they_are(pairs: Path, distance: Metric, tmp_path: Path) -> None:
    gense.sweep(pairs, {"m": tiny_flow()}, steps=[1], metrics=[distance], output=tmp_path / "s.csv", limit=1)
    head, *rows = map(json.loads, (tmp_path / "s.csv.journal").read_text().splitlines())
    assert head["conditions"]["seed"] == 0
    assert [row["cell"]["method"] for row in rows] == ["noisy input", "m"]
    assert Cell(**{**rows[1]["cell"], "options": ()}) == Cell("m", steps=1)
