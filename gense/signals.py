"""Arrays and tensors of audio in any shape and type, as float channels and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Signal:
    """Audio as a user gave it.

    Attributes:
        channels: float32 (N, S), full scale 1, finite, at least one sample; may share the original's memory, and is
            only read.
        original: what the user gave.
    """

    channels: np.ndarray
    original: Any

    @classmethod
    def of(cls, audio: np.ndarray | Tensor, name: str) -> Signal:
        """Check and convert.

        Args:
            audio: (time,), (channels, time) or (batch, channels, time), floating point or integer.
            name: how messages call it.

        Raises:
            TypeError: neither array nor tensor, or of a type that holds no audio.
            ValueError: wrong shape, no samples, or samples that are not finite.
        """
        if isinstance(audio, Tensor):
            array = audio.detach().to("cpu", torch.float32 if audio.is_floating_point() else audio.dtype).numpy()
        elif isinstance(audio, np.ndarray):
            array = audio
        else:
            raise TypeError(f"{name} is a {type(audio).__name__}: expected a path, a NumPy array or a tensor")
        if not 1 <= array.ndim <= 3:
            raise ValueError(
                f"{name} has shape {array.shape}: expected (time,), (channels, time) or (batch, channels, time)"
            )
        if array.size == 0:
            raise ValueError(f"{name} has shape {array.shape}: there are no samples")
        if array.ndim > 1 and array.shape[-1] <= 32 < array.shape[-2]:
            raise ValueError(f"{name} has shape {array.shape}: time is the last axis here; pass its transpose")
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} holds {array.dtype}: expected floating point or integer samples")
        offset, scale = _full_scale(array.dtype)
        with np.errstate(over="ignore"):  # what float32 cannot hold is found below
            scaled = (array.astype(np.float64) - offset) / scale if scale != 1 else array
            channels = np.ascontiguousarray(scaled, dtype=np.float32)
        if not np.isfinite(channels).all():
            raise not_finite(name, int((~np.isfinite(channels)).sum()), channels.size)
        return cls(channels.reshape(-1, array.shape[-1]), audio)

    def back(self, channels: np.ndarray) -> np.ndarray | Tensor:
        """Give float32 (N, S) the original's shape, type and device; integers are rounded and clipped."""
        original = self.original
        if isinstance(original, Tensor):
            kind = np.dtype(str(original.dtype).removeprefix("torch.")) if not original.is_floating_point() else None
        else:
            kind = original.dtype if original.dtype.kind != "f" else None
        if kind is not None:
            offset, scale = _full_scale(kind)
            info = np.iinfo(kind)
            # The largest 64-bit integers have no double of their own; rounded up they would wrap around
            top = np.nextafter(float(info.max), 0) if float(info.max) > info.max else info.max
            channels = np.clip(np.round(channels.astype(np.float64) * scale + offset), info.min, top).astype(kind)
        shaped = channels.reshape(original.shape)
        if isinstance(original, Tensor):
            return torch.from_numpy(shaped).to(original.device, original.dtype)
        return shaped.astype(original.dtype, copy=False)

    def stacked(self, samples: np.ndarray) -> np.ndarray | Tensor:
        """Give float32 (K, N, S) the original's type and device, and its shape behind the first axis."""
        every = [self.back(sample) for sample in samples]
        return torch.stack(every) if isinstance(self.original, Tensor) else np.stack(every)  # type: ignore[arg-type]


def not_finite(name: str, bad: int, size: int) -> ValueError:
    """The error that says how many samples are NaN or infinite."""
    return ValueError(f"{name} holds {bad} NaN or infinite samples of {size}: repair or cut them first")


def _full_scale(dtype: np.dtype) -> tuple[float, float]:
    """(value of silence, value of full scale) of a sample type: 0 and 1 for floats, 128 and 128 for unsigned bytes."""
    if dtype.kind == "f":
        return 0.0, 1.0
    bits = 8 * dtype.itemsize
    return (float(2 ** (bits - 1)) if dtype.kind == "u" else 0.0), float(2 ** (bits - 1))
