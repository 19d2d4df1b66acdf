"""The compact method on the mel spectrogram: its size, that it can learn, and the vocoder that it is given."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("lightning", reason="needs gense[train]")

import gense
from gense import Enhancer, samplers
from gense.checkpoints.build import build, read_config
from gense.checkpoints.folder import write_folder, write_state
from gense.checkpoints.vocoder import build_vocoder
from gense.training import EnhancerModule
from gense.types import Batch
from tests.tiny import tiny_flow

METHOD = Path(str(resources.files("gense.configs"))) / "method" / "flowse-mel.yaml"


def small(**network: object) -> tuple[dict, Enhancer]:
    config = read_config(METHOD)
    config["init_args"]["head"]["init_args"]["backbone"]["init_args"].update(heads=2, head_dim=32, **network)
    config["init_args"]["vocoder"]["init_args"].update(dim=8, hidden=8, blocks=1)
    torch.manual_seed(0)
    return config, build(config)


def test_the_compact_method_is_compact() -> None:
    with torch.device("meta"):
        enhancer = build(read_config(METHOD))
    assert sum(p.numel() for p in enhancer.head.parameters()) <= 6e6
    assert not any(p.requires_grad for p in enhancer.vocoder.parameters())
    assert (enhancer.sample_rate, enhancer.output_rate) == (16000, 24000)


def test_it_learns_a_handful_of_clips_by_heart(clip) -> None:
    _, enhancer = small(dim=96, depth=2)
    starts = (8000, 24000, 40000)
    noisy, clean = (
        torch.stack([torch.tensor(wav[i : i + 4096]) for i in starts]) for wav in (clip.noisy, clip.clean)
    )
    optimizer = torch.optim.AdamW(enhancer.head.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=120)
    enhancer.train()
    losses = []
    for _ in range(120):
        loss = enhancer.loss(Batch(clean, noisy)).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(enhancer.head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.2 * losses[0]
    scale = enhancer.level.scale(noisy)
    mels = [enhancer.target.encode(wav / scale) for wav in (clean, noisy)]
    with torch.inference_mode():
        made = enhancer.eval().head.generate({"noisy_mel": mels[1]}, noise=samplers.by_frame(0))
    distance, before = ((mel - mels[0]).abs().mean() for mel in (made, mels[1]))
    assert distance < 0.8 * before


def test_training_takes_the_vocoder_that_it_is_told(tmp_path: Path) -> None:
    config, enhancer = small(dim=32, depth=1)
    described = config["init_args"]["vocoder"]
    torch.manual_seed(1)
    vocoder = build_vocoder(described)
    write_state(vocoder.state_dict(), tmp_path / "vocoder" / "model.safetensors")
    (tmp_path / "vocoder" / "vocoder.yaml").write_text(yaml.safe_dump(described))
    assert not torch.equal(enhancer.vocoder.out.weight, vocoder.out.weight)
    module = EnhancerModule(enhancer, vocoder=str(tmp_path / "vocoder"))
    for ours, theirs in zip(enhancer.vocoder.parameters(), vocoder.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
    run = write_folder(tmp_path / "run", config, module.enhancer.state_dict())
    assert torch.equal(gense.load(run, device="cpu").vocoder.out.weight, vocoder.out.weight)


def test_a_vocoder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    config, enhancer = small(dim=32, depth=1)
    with pytest.raises(ValueError, match=r"vocoder='any': the method has none; name one in its YAML"):
        EnhancerModule(tiny_flow(), vocoder="any")
    with pytest.raises(FileNotFoundError, match="no such folder or file, and neither a bundled vocoder"):
        EnhancerModule(enhancer, vocoder="no/such/place")
    misfit = r"the weights do not fit this method: .*blocks.0.contract.weight is \(12, 8\), expected"
    for change, message in (({"dim": 12}, misfit), ({"mel": {"f_max": 8000.0}}, "f_max 8000.0 and 12000.0")):
        described = config["init_args"]["vocoder"]
        described = {**described, "init_args": {**described["init_args"], **change}}
        write_state(build_vocoder(described).state_dict(), tmp_path / "model.safetensors")
        (tmp_path / "vocoder.yaml").write_text(yaml.safe_dump(described))
        with pytest.raises(ValueError, match=message):
            EnhancerModule(enhancer, vocoder=str(tmp_path))
