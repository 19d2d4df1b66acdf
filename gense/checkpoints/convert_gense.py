"""Checkpoints of GenSE (yaoxunji/gen-se, commit 898024a): two language models, a codec and k-means centres.

A model is one folder: `n2s_xlsr.ckpt` (noisy to clean semantic tokens), `s2s_xlsr.ckpt` (semantic tokens to codes, with
the codec's weights) and `config.json` (the codec's sizes, which stand nowhere else). The published `gense.yaml`, beside
them or in `../configs`, is read where it is, for the number of attention heads. The centres are in both files, so the
pickled k-means model is not needed. Weights of XLS-R in them are left out: it is frozen, and fetched by its name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gense.checkpoints.gpt2_keys import convert_gpt2
from gense.checkpoints.pickled import read_checkpoint
from gense.checkpoints.plain_yaml import read_yaml
from gense.checkpoints.simcodec_keys import convert_codec, convert_settings

SEMANTIC, ACOUSTIC, CODEC = "n2s_xlsr.ckpt", "s2s_xlsr.ckpt", "config.json"
_CONFIG = "gense.yaml"
_CENTRES, _EMBEDDING, _POSITIONS = "km.emb.weight", "lm.transformer.wte.weight", "lm.transformer.wpe.weight"
_CODEC = "codec_tokenizer."
# What a checkpoint may hold; XLS-R is left out, all else must be used
_PARTS = ("xlsr.", "km.emb.weight", "lm.transformer.", "lm.lm_head.weight", _CODEC)
_RATE, _SEMANTIC_HOP = 16000, 320
# Ids before the semantic ones: padding, begin, end. Position at which the acoustic answer begins
_SPECIAL, _BEGIN, _ANSWER = 3, 1, 1000
# The published code: features of the sixth layer, 100 zero samples behind the waveform, 8 heads
_LAYER, _TAIL, _HEADS = 6, 100, 8
_OVERLAP = 0.5


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is one of the two of this format."""
    state = checkpoint.get("state_dict")
    return isinstance(state, Mapping) and _CENTRES in state and _EMBEDDING in state


def convert(checkpoint: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint and what lies beside it into (configuration, weights) of an `Enhancer`.

    It does what the published inference does: no level, features of XLS-R 300M with 100 zeros behind the waveform,
    tokens drawn at temperature 1 without cuts, positions that restart. It differs in two places. Waveforms are filled
    with zeros to whole semantic frames, where the published code leaves the end without an answer; and recordings are
    cut before the positions of prompt and answer collide, see `longest_chunk`.

    Args:
        checkpoint: content of either file.
        folder: where it lies.

    Raises:
        ValueError: a file is missing, or weights and sizes do not fit each other; names them.
    """
    n2s, s2s, sizes = _files(checkpoint, folder)
    hop = math.prod(sizes["stages"]["rates"])
    multiple = math.lcm(hop, _SEMANTIC_HOP)
    clusters, dim = n2s[_CENTRES].shape
    features = {"model": "xls-r-300m", "layers": _LAYER, "frames": "inside"}
    semantic = {
        "clusters": clusters, "dim": dim, "samples_multiple": multiple, "tail": _TAIL,
        "features": _part("representations.SSLFeatures", features),
    }  # fmt: skip
    settings = {
        "sample_rate": _RATE, "level": {"kind": "none"},
        "chunking": {"seconds": longest_chunk(hop, len(s2s[_POSITIONS])), "overlap": _OVERLAP, "batch": 4},
        "representations": {
            "semantic": _part("representations.KMeansTokens", semantic),
            "codes": _part("representations.SimCodec", {"sample_rate": _RATE, "samples_multiple": multiple, **sizes}),
        },
        "head": _part("heads.Cascade", {"stages": _stages(n2s, s2s, _heads(folder)), "teacher_forcing": True}),
    }  # fmt: skip
    codec = {name.removeprefix(_CODEC): value for name, value in s2s.items() if name.startswith(_CODEC)}
    weights = {"representations.semantic.centres": n2s[_CENTRES]}
    weights |= {f"representations.codes.{name}": value for name, value in convert_codec(codec, sizes).items()}
    for stage, state in (("semantic", n2s), ("acoustic", s2s)):
        weights |= {f"head.stages.{stage}.lm.{name}": value for name, value in convert_gpt2(state).items()}
    return _part("Enhancer", settings), weights


def longest_chunk(hop: int, positions: int) -> float:
    """Seconds that can be cut out at once, in tenths, for a codec of this hop and a model of so many positions.

    The prompt holds two semantic tokens a frame of 320 samples at positions 0, 1, ..., one more token, then the noisy
    codes, again from position 0; the answer has positions 1000, 1001, ... So that none of the prompt reaches 1000, a
    chunk has at most 499 semantic frames and 1000 codes, just under 10 s at 100 codes a second. What the published code
    does beyond is to use positions twice, and to fail at the end of the table, after 31 s.

    Raises:
        ValueError: the table ends before the answer begins, or a second of it.
    """
    samples = min((_ANSWER - 1) // 2 * _SEMANTIC_HOP, min(_ANSWER, positions - _ANSWER) * hop)
    seconds = math.floor(10 * samples / _RATE) / 10
    if seconds <= 2 * _OVERLAP:
        raise ValueError(f"{positions} positions and a hop of {hop} samples leave {seconds} s for a chunk, too little")
    return seconds


def _files(checkpoint: Mapping[str, Any], folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Both state dicts and the codec's arguments, of one model; `checkpoint` is one of the files, the others are read.

    Raises:
        ValueError: a file is missing or not readable, or they do not fit each other.
    """
    given = ACOUSTIC if any(str(name).startswith(_CODEC) for name in checkpoint["state_dict"]) else SEMANTIC
    if missing := [n for n in (SEMANTIC, ACOUSTIC, CODEC) if n != given and not (folder / n).is_file()]:
        raise ValueError(
            f"{', '.join(missing)} not beside it: a model is {SEMANTIC}, {ACOUSTIC} and {CODEC} in one folder"
        )
    n2s, s2s = (
        _state(checkpoint if name == given else read_checkpoint(folder / name), name) for name in (SEMANTIC, ACOUSTIC)
    )
    if not n2s[_CENTRES].equal(s2s[_CENTRES]):
        raise ValueError(f"{SEMANTIC} and {ACOUSTIC} hold different k-means centres: they are of different models")
    sizes = convert_settings(_read(folder / CODEC, _json))
    if sizes["levels"] * sizes["groups"] != 1:
        raise ValueError(f"{CODEC} has {sizes['levels'] * sizes['groups']} codes a frame, the language model takes one")
    semantic = _SPECIAL + len(n2s[_CENTRES])
    for name, state, wanted in ((SEMANTIC, n2s, semantic), (ACOUSTIC, s2s, semantic + sizes["codes"])):
        if len(state[_EMBEDDING]) != wanted:
            raise ValueError(f"{name} has {len(state[_EMBEDDING])} ids; centres and codes make {wanted}")
    return n2s, s2s, sizes


def _stages(n2s: Mapping[str, Tensor], s2s: Mapping[str, Tensor], heads: int) -> dict[str, Any]:
    """Configuration of both language models, with the prompts and positions of the published code."""
    clusters = len(n2s[_CENTRES])
    offset = _SPECIAL + clusters
    first = {
        "target": "semantic", "size": clusters, "offset": _SPECIAL, "position": 0, "frames": "noisy_semantic",
        "prompt": [{"read": "noisy_semantic", "offset": _SPECIAL}, {"token": _BEGIN}], "lm": _network(n2s, heads),
    }  # fmt: skip
    second = {
        "target": "codes", "size": len(s2s[_EMBEDDING]) - offset, "offset": offset, "position": _ANSWER,
        "frames": "noisy_codes", "lm": _network(s2s, heads),
        "prompt": [
            {"read": "noisy_semantic", "offset": _SPECIAL}, {"read": "semantic", "offset": _SPECIAL},
            {"token": _BEGIN}, {"read": "noisy_codes", "offset": offset, "position": 0},
        ],
    }  # fmt: skip
    return {"semantic": _part("heads.TokenLMHead", first), "acoustic": _part("heads.TokenLMHead", second)}


def _state(checkpoint: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """The weights in a file of this name, all of which have a place.

    Raises:
        ValueError: one is missing or has none.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, Mapping):
        raise ValueError(f"{name} holds no state_dict")
    if missing := [needed for needed in (_CENTRES, _EMBEDDING, _POSITIONS) if needed not in state]:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    if extra := [other for other in state if not other.startswith(_PARTS)]:
        raise ValueError(f"{name}: no place for {', '.join(extra[:5])}{', ...' if len(extra) > 5 else ''}")
    return dict(state)


def _read(path: Path, parse: Any) -> dict[str, Any]:
    """The mapping in a JSON or YAML file."""
    try:
        found = parse(path)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name}: not readable ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path.name}: holds no mapping")
    return found


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _heads(folder: Path) -> int:
    """Attention heads of both language models, which the tensors do not tell."""
    for path in (folder / _CONFIG, folder.parent / "configs" / _CONFIG):
        if path.is_file():
            found = _read(path, read_yaml)
            kind = (found.get("ssl_model") or {}).get("type", "xlsr")
            if kind != "xlsr":
                raise ValueError(f"{path.name}: ssl_model.type={kind!r} is not supported, only 'xlsr'")
            return int((found.get("model") or {}).get("num_attention_heads", _HEADS))
    return _HEADS


def _network(state: Mapping[str, Tensor], heads: int) -> dict[str, Any]:
    """Configuration of a language model; its sizes are those of its tensors."""
    vocabulary, dim = state[_EMBEDDING].shape
    depth = len({name.split(".")[3] for name in state if name.startswith("lm.transformer.h.")})
    sizes = {"vocabulary": vocabulary, "dim": dim, "depth": depth, "heads": heads, "positions": len(state[_POSITIONS])}
    return _part("backbones.CausalLM", sizes)


def _part(path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A class of this package and its arguments, as configurations hold them."""
    return {"class_path": f"gense.{path}", "init_args": arguments}
