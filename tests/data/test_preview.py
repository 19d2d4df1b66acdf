"""`gense data preview` writes what training would hear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

pytest.importorskip("lightning", reason="needs gense[train]")
pytest.importorskip("matplotlib", reason="needs gense[demo]")

from gense.cli import main
from gense.data.preview import data_module

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("preview")
    for name, wav in (("speech/0.wav", clip.clean), ("noise/0.wav", clip.noisy - clip.clean)):
        (root / name).parent.mkdir()
        soundfile.write(root / name, wav[RATE : 4 * RATE], RATE)
    data = {
        "speech": [str(root / "speech")],
        "seconds": 0.5,
        "degradations": [
            {"class_path": "gense.data.AddNoise", "init_args": {"folders": [str(root / "noise")], "snr": [5.0, 5.0]}},
            {"class_path": "gense.data.Gain", "init_args": {"db": [40.0, 40.0], "probability": 1.0}},
        ],
    }
    (root / "data.yaml").write_text(yaml.safe_dump(data))
    (root / "train.yaml").write_text(yaml.safe_dump({"model": {"unread": 1}, "data": "data.yaml"}))
    named = {"class_path": "gense.data.datamodule.MixtureDataModule", "init_args": data}
    (root / "named.yaml").write_text(yaml.safe_dump({"data": named}))
    return root


@pytest.mark.parametrize("config", ["data.yaml", "train.yaml", "named.yaml"])
def test_it_writes_what_training_hears(folder, tmp_path, config, capsys) -> None:
    assert main(["data", "preview", "--config", str(folder / config), "-o", str(tmp_path / "out"), "--count", "2"]) == 0
    names = ["00_clean.flac", "00_noisy.flac", "01_clean.flac", "01_noisy.flac", "spectrograms.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == names
    module = data_module(folder / config)
    module.setup("fit")
    for index in range(2):
        two = names[2 * index : 2 * index + 2]
        read = [soundfile.read(tmp_path / "out" / name, dtype="float32")[0] for name in two]
        peak = max(np.abs(wav).max() for wav in read)
        assert peak == pytest.approx(0.99, abs=1e-3)  # 40 dB more would have been clipped
        gain = 0.99 / max(float(wav.abs().max()) for wav in module.items[index])
        for wav, item in zip(read, module.items[index], strict=True):
            np.testing.assert_allclose(wav, gain * item.numpy(), atol=1e-4)
    assert (tmp_path / "out/spectrograms.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_cannot_be_shown_is_said(folder, tmp_path, capsys) -> None:
    def said(config: str, text: str | None = None) -> str:
        if text is not None:
            (tmp_path / config).write_text(text)
        assert main(["data", "preview", "--config", str(tmp_path / config), "-o", str(tmp_path / "out")]) in (1, 2)
        return capsys.readouterr().err

    assert "nowhere.yaml: no such file" in said("nowhere.yaml")
    assert "no data in it" in said("a.yaml", "model: {}")
    assert "expected a mapping, got list" in said("b.yaml", "[1]")
    assert "not readable as YAML" in said("c.yaml", "a: [")
    assert "speach" in said("d.yaml", "speach: [x]\ndegradations: []")
    assert "has no property `items`" in said("e.yaml", "class_path: lightning.LightningDataModule")
    assert not (tmp_path / "out").exists()
    assert main(["data", "preview", "--config", str(folder / "data.yaml"), "-o", "x", "--count", "0"]) == 1
    assert "count=0" in capsys.readouterr().err
