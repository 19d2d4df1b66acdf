"""Validation and test on real clips: scores, sound and pictures, in the loggers that can show them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gense.training import LogExamples
from gense.training.examples import picture
from tests.training.runs import PAIRS, checkpoint, fit, write_run

SCORES = {"pesq", "estoi", "si_sdr", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"}


def test_tensorboard_gets_scores_sound_and_pictures(clip, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train = write_run(tmp_path, clip, metrics=["pesq", "estoi", "si_sdr", "dnsmos"])
    assert fit(train, tmp_path / "run", "--trainer.max_steps=8", "--examples.count=2") == 0
    (events,) = (tmp_path / "run").rglob("events*")
    log = EventAccumulator(str(events.parent))
    log.Reload()
    tags = log.Tags()
    assert {f"val/{name}" for name in SCORES} <= set(tags["scalars"])
    assert set(tags["audio"]) == {f"examples/{i}/{name}" for i in (0, 1) for name in ("noisy", "estimate", "clean")}
    assert set(tags["images"]) == {"examples/0", "examples/1"}


def test_loggers_without_sound_get_files_and_a_checkpoint_can_be_validated_and_tested(clip, tmp_path, capsys) -> None:
    train, out = write_run(tmp_path, clip), tmp_path / "run"
    logger = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", f"--trainer.logger.save_dir={out}"]
    assert fit(train, out, *logger, "--trainer.max_steps=8") == 0
    (folder,) = out.rglob("examples")
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    sounds = {f"{i}/{name}_0000008.flac" for i in range(PAIRS) for name in ("noisy", "estimate", "clean")}
    assert made == sounds | {f"{i}_0000008.png" for i in range(PAIRS)}
    wave, rate = soundfile.read(folder / "0/noisy_0000008.flac", dtype="float32")
    assert rate == clip.sample_rate
    np.testing.assert_allclose(wave, clip.noisy[rate : 2 * rate], atol=1e-3)
    weights = next(out.rglob("model.safetensors"))
    before = weights.read_bytes()
    capsys.readouterr()
    scores = {}
    for command, stage in (("validate", "val"), ("test", "test")):
        more = [*logger, f"--ckpt_path={checkpoint(out, 8)}"]
        assert fit(train, out, *more, command=command) == 0
        said = capsys.readouterr().out
        assert f"{stage}/si_sdr" in said
        (scores[command],) = {
            line.split()[-2] if "│" in line else "" for line in said.splitlines() if f"{stage}/si_sdr" in line
        }
    assert scores["validate"] == scores["test"] != ""  # the same pairs here, with the averaged weights both times
    assert weights.read_bytes() == before
    assert len(list(out.rglob("model.safetensors"))) == 1


class Recorder:
    """A logger in the manner of Weights & Biases, which takes sound and pictures itself."""

    experiment = SimpleNamespace()

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def log_audio(self, key: str, audios: list[Any], step: int, sample_rate: list[int]) -> None:
        self.calls.append((key, (len(audios[0]), step, sample_rate)))

    def log_image(self, key: str, images: list[Any], step: int) -> None:
        self.calls.append((key, images[0].shape))


def test_a_logger_with_sound_of_its_own_is_given_it_and_inputs_are_logged_once() -> None:
    logger = Recorder()
    trainer: Any = SimpleNamespace(loggers=[logger], global_step=7, sanity_checking=False, is_global_zero=True)
    module: Any = SimpleNamespace(sample_rate=16000)
    callback = LogExamples(count=1)
    outputs = {name: torch.rand(8000) - 0.5 for name in ("noisy", "estimate", "clean")}
    for batch_idx in (0, 1, 0):
        callback.on_validation_batch_end(trainer, module, outputs, None, batch_idx)
    callback.on_validation_batch_end(trainer, module, None, None, 0)  # of a module that returns nothing
    audio = [f"examples/0/{name}" for name in ("noisy", "estimate", "clean", "estimate")]
    assert [key for key, _ in logger.calls if key != "examples/0"] == audio
    assert dict(logger.calls)["examples/0/estimate"] == (8000, 7, [16000])
    assert [value[2] for key, value in logger.calls if key == "examples/0"] == [3, 3]


def test_a_picture_has_a_panel_a_signal_and_shows_where_the_sound_is() -> None:
    time = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 6000 * time) * (time < 0.5)
    image = picture([tone, tone[:8000]], 16000)
    height = (image.shape[0] - 4) // 2
    assert image.dtype == np.uint8
    assert image.shape == (2 * height + 4, 126, 3)
    bright = image[:height].astype(int).sum(axis=2)
    row = int(bright[:, 20].argmax())
    assert row == pytest.approx(height * (1 - 6000 / 8000), abs=2)
    assert bright[row, 20] > bright[row, 100]
    assert (image[height + 4 :, 70:] == 255).all()  # the second is shorter


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="count=-1"):
        LogExamples(-1)
