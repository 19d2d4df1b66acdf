"""GenSE's files: what is read off them, what is refused by name, and chunks that keep positions apart."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gense
from gense import Enhancer
from gense.checkpoints import convert_gense, formats
from gense.checkpoints.build import build, read_config
from gense.checkpoints.folder import write_folder
from gense.checkpoints.simcodec_keys import convert_codec, convert_settings
from gense.chunking import Chunking
from gense.representations import Representation
from tests.parity.fixtures import load_parity
from tests.parity.gense_files import states, write_checkpoints


class Energy(Representation):
    """Stands for XLS-R: as many frames as it makes, of the loudness around them."""

    sample_rate = 16000
    hop_length = 320

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def encode(self, wav: Tensor) -> Tensor:
        level = wav.unfold(-1, 400, 320).abs().mean(dim=-1)
        return torch.stack([torch.cos(k * 40 * level) for k in range(self.dim)], dim=1)


def noise(seconds: float) -> Tensor:
    return 0.1 * torch.randn(1, round(16000 * seconds), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoints(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Enhancer:
    enhancer = gense.load(checkpoint, device="cpu")
    enhancer.representations["semantic"].features = Energy(24)
    return enhancer


def test_either_file_names_the_model(checkpoint: Path) -> None:
    config, weights, name = formats.convert_file(checkpoint)
    assert name == "gense"
    other_config, other, _ = formats.convert_file(checkpoint.with_name("n2s_xlsr.ckpt"))
    assert config == other_config
    assert weights.keys() == other.keys()
    assert all(torch.equal(value, other[key]) for key, value in weights.items())


def test_sizes_are_those_of_the_files(checkpoint: Path) -> None:
    config, weights, _ = formats.convert_file(checkpoint)
    stages = config["init_args"]["head"]["init_args"]["stages"]
    networks = {name: stage["init_args"]["lm"]["init_args"] for name, stage in stages.items()}
    both = {"dim": 16, "depth": 2, "heads": 2}
    assert networks["semantic"] == {"vocabulary": 19, "positions": 2048, **both}
    assert networks["acoustic"] == {"vocabulary": 59, "positions": 4096, **both}
    assert torch.equal(weights["representations.semantic.centres"], states()["n2s"]["km.emb.weight"])
    assert not any("xlsr" in name or "features" in name for name in weights)


def test_without_the_published_yaml_the_published_number_of_heads_is_taken(tmp_path: Path) -> None:
    path = write_checkpoints(tmp_path / "ckpts")
    (tmp_path / "ckpts" / "gense.yaml").unlink()
    lm = formats.convert_file(path)[0]["init_args"]["head"]["init_args"]["stages"]["semantic"]["init_args"]["lm"]
    assert lm["init_args"]["heads"] == 8
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "gense.yaml").write_text("model: {num_attention_heads: 4}")
    lm = formats.convert_file(path)[0]["init_args"]["head"]["init_args"]["stages"]["semantic"]["init_args"]["lm"]
    assert lm["init_args"]["heads"] == 4


def test_its_folder_and_a_converted_one_are_the_same_model(checkpoint: Path, model: Enhancer, tmp_path: Path) -> None:
    config, weights, _ = formats.convert_file(checkpoint)
    wav = noise(0.21)
    for folder in (write_folder(tmp_path, config, weights), checkpoint.parent):
        again = gense.load(folder, device="cpu")
        again.representations["semantic"].features = Energy(24)
        assert torch.equal(again.enhance(wav), model.enhance(wav))


ENCODER = "codec_tokenizer.encoder."


@pytest.mark.parametrize(
    ("file", "name", "value", "message"),
    [
        ("n2s", "lm.transformer.wpe.weight", None, r"n2s_xlsr.ckpt lacks lm\.transformer\.wpe\.weight"),
        ("n2s", "lm.transformer.h.1.ln_2.bias", None, r"1 missing \(head\.stages\.semantic\.lm\."),
        ("n2s", "lm.other", torch.zeros(1), r"n2s_xlsr.ckpt: no place for lm\.other"),
        ("n2s", "lm.transformer.h.0.other.weight", torch.zeros(1), "no weight of a GPT-2"),
        ("n2s", "km.emb.weight", torch.zeros(16, 24), "different k-means centres"),
        ("s2s", "lm.transformer.wte.weight", torch.zeros(60, 16), "s2s_xlsr.ckpt has 60 ids.*make 59"),
        ("s2s", "lm.lm_head.weight", torch.zeros(59, 16), "lm_head"),
        ("s2s", f"{ENCODER}conv_post.bias", None, r"1 missing \(representations\.codes\.encoder\.conv_out\.bias"),
        ("s2s", f"{ENCODER}ups.0.weight_g", None, r"lack encoder\.ups\.0\.weight_g"),
        ("s2s", f"{ENCODER}ups.0.weight_v", None, r"lack encoder\.ups\.0\.weight_v"),
        ("s2s", f"{ENCODER}other.0.bias", torch.zeros(1), r"no place for encoder\.other\.0\.bias"),
        ("s2s", "codec_tokenizer.quantizer.quantizer_modules.0.0.embedding.weight", None, "has codebooks"),
        ("s2s", f"{ENCODER}conv_post.bias", torch.zeros(9), r"conv_out\.bias is \(9,\), expected \(8,\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, file: str, name: str, value: Tensor | None, message: str) -> None:
    state = {key: old for key, old in states()[file].items() if key != name}
    if value is not None:
        state[name] = value
    path = write_checkpoints(tmp_path, {file: state})
    with pytest.raises(ValueError, match=message):
        gense.load(path, device="cpu")


def test_missing_files_and_other_settings_are_named(tmp_path: Path) -> None:
    path = write_checkpoints(tmp_path)
    path.with_name("config.json").unlink()
    path.with_name("n2s_xlsr.ckpt").unlink()
    with pytest.raises(ValueError, match=r"n2s_xlsr\.ckpt, config\.json not beside it"):
        gense.load(path)
    for changed, message in (
        ({"n_q": 2}, "has 2 codes a frame"), ({"channel": 2}, "channel=2"), ({"n_codes": 41}, "make 60"),
        ({"upsample_kernel_sizes": [11, 8, 8]}, "rates has 4 entries, kernels 3"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            gense.load(write_checkpoints(tmp_path, **changed))
    write_checkpoints(tmp_path)
    path.with_name("config.json").write_text('{"channel": 1, "n_q": 1}')
    with pytest.raises(ValueError, match="settings lack en_filters"):
        gense.load(path)
    path.with_name("config.json").write_text("[")
    with pytest.raises(ValueError, match=r"config\.json: not readable"):
        gense.load(path)
    write_checkpoints(tmp_path)
    path.with_name("gense.yaml").write_text("ssl_model: {type: wavlm}")
    with pytest.raises(ValueError, match="only 'xlsr'"):
        gense.load(path)


def test_a_codec_s_kernels_have_their_published_length() -> None:
    fixture = load_parity("gense_simcodec_small")
    published = fixture.weights()
    state = convert_codec(published, convert_settings(fixture.config["simcodec_config"]))
    for ours, theirs in (("encoder.stages.1.down", "encoder.ups.1"), ("decoder.stages.2.up", "generator.ups.2")):
        lengths = state[f"{ours}.weight"].flatten(1).norm(dim=1)
        torch.testing.assert_close(lengths, published[f"{theirs}.weight_g"].flatten())


def positions_of(enhancer: Enhancer, wav: Tensor) -> list[list[int]]:
    """The positions that each language model looks up for the first chunk, prompt first, semantic model first."""
    seen: list[list[int]] = [[], []]
    tables = [stage.lm.position_embedding for stage in enhancer.head.stages.values()]
    hooks = [
        table.register_forward_pre_hook(lambda _, args, mine=mine: mine.extend(args[0].tolist()))
        for table, mine in zip(tables, seen, strict=True)
    ]
    with pytest.raises(Done):
        enhancer.enhance(wav, progress=stop)
    for hook in hooks:
        hook.remove()
    return seen


class Done(Exception):
    """The first chunk is done."""


def stop(*_: object) -> None:
    raise Done


def test_no_position_of_the_longest_chunk_is_used_twice_across_prompt_and_answer(
    model: Enhancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunking = model.chunking
    monkeypatch.setattr(model, "chunking", Chunking(chunking.seconds, chunking.overlap, 1))
    semantic, acoustic = positions_of(model, noise(11.0))
    frames = round(chunking.seconds * 50)
    assert semantic == [*range(frames + 1), *range(frames - 1)]
    prompt, answer = acoustic[: 4 * frames + 1], acoustic[4 * frames + 1 :]
    assert prompt == [*range(2 * frames + 1), *range(2 * frames)]
    assert answer == list(range(1000, 1000 + 2 * frames - 1))
    assert max(prompt) < 1000
    assert frames + 5 >= 500, "as long as it can be, in tenths of a second"


def test_the_longest_chunk_follows_from_hop_and_positions() -> None:
    assert convert_gense.longest_chunk(160, 4096) == 9.9
    assert convert_gense.longest_chunk(80, 4096) == 5.0
    assert convert_gense.longest_chunk(320, 4096) == 9.9
    assert convert_gense.longest_chunk(160, 1500) == 5.0
    with pytest.raises(ValueError, match="too little"):
        convert_gense.longest_chunk(160, 1000)


def test_a_recording_past_the_table_of_positions_is_refused_whole(model: Enhancer) -> None:
    """31 s, where the published code fails; in a chunk it would never come to that."""
    acoustic = model.head.stages["acoustic"]
    for seconds, fits in ((30.9, True), (31.0, False)):
        semantic, codes = (torch.zeros(1, 1, round(rate * seconds), dtype=torch.int64) for rate in (50, 100))
        cond = {"noisy_semantic": semantic, "semantic": semantic, "noisy_codes": codes}
        first = Done if fits else ValueError
        with pytest.raises(first, match=None if fits else "reach position 4099, .* shorter chunks"):
            acoustic.generate(cond, noise=gense.samplers.gaussian(0), callback=stop)


@pytest.mark.parametrize("samples", [100, 320, 3333, 4000])
def test_any_length_comes_back_whole(model: Enhancer, samples: int) -> None:
    wav = noise(1.0)[:, :samples]
    semantic, codes = (model.representations[name].encode(wav) for name in ("semantic", "codes"))
    assert codes.shape[-1] == 2 * semantic.shape[-1] == 2 * -(-samples // 320)
    out = model.enhance(wav)
    assert out.shape == wav.shape
    assert out[:, -100:].abs().max() > 0


def test_the_method_that_ships_runs_and_learns() -> None:
    """With its two big parts exchanged: XLS-R, and the sizes of the language models."""
    config = read_config(Path(str(resources.files("gense.configs"))) / "method" / "gense.yaml")
    settings = config["init_args"]
    for stage in settings["head"]["init_args"]["stages"].values():
        stage["init_args"]["lm"]["init_args"].update(dim=16, depth=1, heads=2)
    settings["representations"]["codes"]["init_args"].update(encoder_width=2, decoder_width=2, dim=8)
    enhancer = build(config)
    semantic = enhancer.representations["semantic"]
    semantic.features = Energy(1024)
    torch.nn.init.normal_(semantic.centres, generator=torch.Generator().manual_seed(1))
    length = settings["chunking"]["seconds"] * 50
    assert 2 * length < 1000
    wav = noise(0.2)
    assert enhancer.eval().enhance(wav).shape == wav.shape
    loss = enhancer.train().loss(gense.types.Batch(clean=wav, noisy=wav + noise(0.2)))
    loss.total.backward()
    assert {"semantic/cross_entropy", "acoustic/cross_entropy"} <= loss.parts.keys()
    trained = {name for name, p in enhancer.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in enhancer.named_parameters() if p.grad is not None}
    assert all(name.startswith("head.stages.") for name in trained)
