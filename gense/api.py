"""The front door: enhance anything, load anything, list what there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, overload

import numpy as np
from torch import Tensor

from gense import audio as audio_io
from gense import ensemble
from gense.backbones.base import Backbone
from gense.check import Checks, Flag
from gense.check import check as check_output
from gense.checkpoints import registry
from gense.checkpoints.load import cached, load_enhancer
from gense.choices import checked_device, checked_dtype, checked_rate, checked_samples, checked_sampling, checked_seed
from gense.enhancer import Enhancer
from gense.ensemble import Enhanced
from gense.opening import AudioFile
from gense.recordings import enhance_recording
from gense.signals import Signal
from gense.types import Sampling

Audio = TypeVar("Audio", str, Path, np.ndarray, Tensor)


def load(
    source: str | os.PathLike[str],
    *,
    device: str | None = None,
    dtype: str = "float32",
    compile: bool = False,
    trust: bool = False,
) -> Enhancer:
    """Load a model for use, and for use again.

    Args:
        source: a name from `gense.methods()` ("flowse", "sgmse/vbdmd"); a folder with `method.yaml` and
            `model.safetensors`, such as training leaves; a published checkpoint file, recognised from its keys; or a
            hub repository id.
        device: "cpu", "cuda", "cuda:1", ...; None takes CUDA where there is one.
        dtype: "float32", or "bfloat16" or "float16" for the network alone, through autocast.
        compile: compile the networks with `torch.compile`; the first call with each input shape takes long.
        trust: let a folder's `method.yaml` name classes outside gense, which are then imported.

    Returns:
        The enhancer in evaluation mode.

    Raises:
        ValueError: unknown name (the nearest is suggested), a file of no known format, weights that do not fit (what is
            missing or extra is named), a pickle that refers to code, or foreign classes without `trust`.
        FileNotFoundError: no such file or folder.
        OSError: weights that could not be fetched; says from where and where to put them by hand.
    """
    autocast = checked_dtype(dtype)
    enhancer = load_enhancer(source, trust=trust).to(checked_device(device))
    enhancer.autocast = autocast
    if compile:
        for module in enhancer.modules():
            if isinstance(module, Backbone):
                module.compile()
    return enhancer


@overload
def enhance(
    audio: Audio, method: str | os.PathLike[str] | Enhancer = ..., *, samples: Literal[1] = ...,
    check: Literal[False] = ..., **options: Any,
) -> Audio: ...
@overload
def enhance(
    audio: Audio, method: str | os.PathLike[str] | Enhancer = ..., *, samples: int = ..., check: bool | Checks = ...,
    **options: Any,
) -> Audio | Enhanced: ...
def enhance(
    audio: Audio,
    method: str | os.PathLike[str] | Enhancer = "flowse",
    *,
    steps: int | None = None,
    sampler: str | Callable[..., Tensor] | None = None,
    schedule: str | Callable[..., Tensor] | None = None,
    sample_rate: int | None = None,
    seed: int = 0,
    device: str | None = None,
    output: str | os.PathLike[str] | None = None,
    text: str | None = None,
    samples: int = 1,
    check: bool | Checks = False,
    **options: Any,
) -> Audio | Enhanced:
    """Enhance speech: a file, an array or a tensor, of any length, rate and number of channels.

    Channels and items are enhanced one by one with the same noise, so a stereo image holds, unless the method brings
    each channel to a level of its own (`output_level`, which the published FlowSE has). Long inputs are cut into
    overlapping chunks, and memory does not grow with their length beyond the samples themselves; a file is read and
    written as a stream, and not even these are held, unless for `samples` or `check`. The result is
    limited to the band of the method (8 kHz for a method at 16 kHz), whatever the input's rate.

    Args:
        audio: path of an audio file; or NumPy array or tensor of shape (time,), (channels, time) or
            (batch, channels, time), floating point with full scale 1 or of an integer type.
        method: a name, folder or file as `gense.load` takes it, or a loaded `Enhancer`, which saves loading again.
        steps: number of sampling steps; None takes the method's own.
        sampler: name in `gense.samplers`, dotted path or function; None takes the method's own.
        schedule: name in `gense.samplers.schedules`, dotted path or function; None takes the method's own.
        sample_rate: of an array or tensor, Hz; None means the method's own rate. Files know theirs.
        seed: of the noise; equal seeds give equal results on one machine.
        device: where to compute; None takes CUDA where there is one, or leaves a loaded enhancer where it is.
        output: file to write. For a path it defaults to `<name>.enhanced<suffix>` beside the input.
        text: what is said, for methods that read it; see `Enhancer.enhance` on recordings longer than a chunk.
        samples: how many to draw, with the seeds `seed`, `seed + 1` and so on. From two on, what is returned, and
            written, is the mean of their waveforms, and they are kept: memory grows by as many times the audio. A
            sampler that draws no noise gives equal samples, and few steps little spread.
        check: find where the output says something else than the input, see `gense.check.check`; True makes the checks
            that need no model, `gense.check.Checks` chooses others.
        **options: options of the sampler and the schedule, checked against their signatures; and, for methods trained
            with conditions left out, `guidance` (a number, 0 is none) and `guidance_interval` (the part of the way from
            noise, 0, to speech, 1, on which it acts).

    Returns:
        What came in: for a path the path of the written file, else an array or tensor of the same shape, type, rate
        and device. With several samples or a check, that and more: see `gense.ensemble.Enhanced`.

    Raises:
        ValueError: bad audio (empty, not finite, not audio), unknown method, sampler or option, impossible steps, text
            that is empty or that the method does not read, several samples of a deterministic method, or a sampling
            that diverged.
        TypeError: audio, text or check of an unsupported type.
        FileNotFoundError: no such file.
        OSError: the output cannot be written, or weights cannot be fetched.
    """
    seed = checked_seed(seed)
    checks = _checks(check)
    given = _take(audio, output, sample_rate)
    enhancer = _ready(method, device)
    sampling = checked_sampling(enhancer, steps, sampler, schedule, options)
    seeds = checked_samples(samples, seed, enhancer)
    back: Any = given.target if isinstance(audio, Path) else str(given.target)
    if _streamed(given, enhancer, sampling, seeds, text, checks):
        return back
    signal, result, drawn, rate = _run(given, enhancer, sampling, seeds, text)
    if given.source is None:
        back = signal.back(result)
    flags = check_output(result, signal.channels, rate, checks) if checks else None
    if len(seeds) == 1:
        return Enhanced(back, flags=flags) if checks else back
    spread = ensemble.spread(drawn, rate)
    if given.source is not None:
        return Enhanced(back, drawn, spread, flags)
    leading = signal.original.shape[:-1]
    spread = replace(spread, db=spread.db.reshape(*leading, *spread.db.shape[-2:]))
    return Enhanced(back, signal.stacked(drawn), spread, flags)


def enhance_file(
    source: Path, target: Path, enhancer: Enhancer, sampling: Sampling | None, seed: int, text: str | None = None,
    check: bool | Checks = False,
) -> list[Flag]:
    """Enhance one file with a loaded enhancer and a checked sampling; raises what `enhance` raises. Returns flags."""
    checks = _checks(check)
    given = _take(source, target, None)
    if _streamed(given, enhancer, sampling, [seed], text, checks):
        return []
    signal, result, _, rate = _run(given, enhancer, sampling, [seed], text)
    return check_output(result, signal.channels, rate, checks) if checks else []


def _checks(check: bool | Checks) -> Checks | None:
    if not isinstance(check, (bool, Checks)):
        raise TypeError(f"check is a {type(check).__name__}: expected True, False or gense.check.Checks")
    return (Checks() if check else None) if isinstance(check, bool) else check


@dataclass(frozen=True)
class _Given:
    """Audio as it came in: samples (None: of a file, not yet read), rate in Hz (None: the method's own), the file it
    came from, the file to write."""

    signal: Signal | None
    rate: int | None
    source: Path | None
    target: Path | None


def _take(audio: Any, output: str | os.PathLike[str] | None, sample_rate: int | None) -> _Given:
    target = Path(output) if output is not None else None
    if not isinstance(audio, (str, os.PathLike)):
        signal = Signal.of(audio, "audio")
        if target is not None and audio.ndim == 3 and len(audio) > 1:
            raise ValueError(f"output {target}: a batch of {len(audio)} does not fit into one file; call once per item")
        return _Given(signal, sample_rate, None, target)
    source = Path(audio)
    target = target or source.with_name(f"{source.stem}.enhanced{source.suffix}")
    if target.resolve() == source.resolve():
        raise ValueError(f"output {target} is the input itself: give another name")
    if sample_rate is not None:
        raise ValueError(f"sample_rate={sample_rate}: files know their rate; leave it out")
    with AudioFile(source) as file:  # what is no audio is told before a model is loaded
        return _Given(None, file.rate, source, target)


def _streamed(
    given: _Given,
    enhancer: Enhancer,
    sampling: Sampling | None,
    seeds: Sequence[int],
    text: str | None,
    checks: Checks | None,
) -> bool:
    """Enhance a file into a file without ever holding the whole; False, and nothing done, where the whole is needed:
    for several samples, for a check, and by methods that take recordings whole."""
    if given.source is None or given.target is None or len(seeds) > 1 or checks or enhancer.chunking is None:
        return False
    enhance_recording(
        given.source, given.target, enhancer, enhancer.chunking, sampling=sampling, seed=seeds[0], text=text
    )
    return True


def _run(
    given: _Given, enhancer: Enhancer, sampling: Sampling | None, seeds: Sequence[int], text: str | None
) -> tuple[Signal, np.ndarray, np.ndarray, int]:
    """Enhance (N, S), and write it if there is a target, which is tried first.

    Returns:
        The audio, the result (N, S), the samples behind it (K, N, S), and their rate in Hz.
    """
    enhancer.transcripts(text, 1)
    rate = checked_rate(enhancer.sample_rate if given.rate is None else given.rate)
    signal = given.signal
    if signal is None:
        assert given.source is not None
        signal = Signal.of(audio_io.read(given.source)[0].T, str(given.source))
    channels = signal.channels
    if given.target is not None:
        audio_io.check_writable(given.target, rate, len(channels), like=given.source)
    drawn = ensemble.draw(enhancer, channels, rate, sampling=sampling, seeds=seeds, text=text)
    result = drawn[0] if len(drawn) == 1 else ensemble.mean(drawn)
    if given.target is not None:
        audio_io.write(given.target, result.T, rate, like=given.source)
    return signal, result, drawn, rate


def _ready(method: str | os.PathLike[str] | Enhancer, device: str | None) -> Enhancer:
    if isinstance(method, Enhancer):
        return method if device is None else method.to(checked_device(device))
    return load(method, device=device)


@dataclass(frozen=True)
class Method:
    """What `gense.methods()` tells of one set of weights.

    Attributes:
        name: what `gense.load` and `gense.enhance` take.
        default: whether the method's bare name means these weights.
        summary: what the method is.
        sample_rate: Hz; None where it stands in the file only.
        megabytes: size of the weights on this machine, None where they are not on it.
        licence: of the weights; None where the authors state none.
        source: where they come from.
        on_disk: whether they are on this machine.
        unsupported: why this version cannot load them, None where it can.
    """

    name: str
    default: bool
    summary: str
    sample_rate: int | None
    megabytes: float | None
    licence: str | None
    source: str
    on_disk: bool
    unsupported: str | None


def methods() -> list[Method]:
    """List every method and its weights."""
    found = []
    for entry in registry.entries():
        paths = entry.files or (cached(entry),)
        size = sum(path.stat().st_size for path in paths) / 1e6 if all(path.exists() for path in paths) else None
        found.append(
            Method(
                entry.name, entry.default, entry.summary, entry.sample_rate, size, entry.licence, entry.source,
                size is not None, entry.unsupported,
            )
        )
    return found
