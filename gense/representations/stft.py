"""Complex spectrograms with compressed magnitudes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from gense.representations.base import Representation

_MODES = {
    "transform": ("exponent", "log", "none"),
    "window": ("hann", "sqrthann"),
    "pad_mode": ("zero", "reflect", "replicate"),
}


class CompressedSTFT(Representation):
    """One-sided STFT c with compressed magnitude, factor |c|^exponent e^{i angle(c)} (Richter et al. 2023, eq. 21).

    Frames are centred with reflection at the ends, 1 + S // hop_length of them, then padded on the right to a multiple
    that the network needs.

    Args:
        sample_rate: Hz.
        n_fft: transform and window length in samples; n_fft // 2 + 1 bins.
        hop_length: samples per frame.
        factor: scale of the compressed magnitude, > 0.
        exponent: power of the magnitude, in (0, 1].
        transform: "exponent"; "log": factor log(1 + |c|); "none": the plain STFT.
        window: "hann" (periodic) or its square root, "sqrthann".
        frames_multiple: the number of frames is padded to a multiple of this.
        pad_mode: how: "zero", "reflect" or "replicate", on the compressed spectrogram.

    Raises:
        ValueError: an argument is out of its range.
    """

    analysis_window: Tensor

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_fft: int = 510,
        hop_length: int = 128,
        factor: float = 0.15,
        exponent: float = 0.5,
        transform: Literal["exponent", "log", "none"] = "exponent",
        window: Literal["hann", "sqrthann"] = "hann",
        frames_multiple: int = 64,
        pad_mode: Literal["zero", "reflect", "replicate"] = "zero",
    ):
        super().__init__()
        for name, value in (("transform", transform), ("window", window), ("pad_mode", pad_mode)):
            if value not in _MODES[name]:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(_MODES[name])}")
        if not (factor > 0 and 0 < exponent <= 1 and frames_multiple >= 1 and 1 <= hop_length <= n_fft // 2):
            raise ValueError(
                f"factor={factor}, exponent={exponent}, frames_multiple={frames_multiple}, hop_length={hop_length}: "
                "need factor > 0, 0 < exponent <= 1, frames_multiple >= 1, 1 <= hop_length <= n_fft / 2"
            )
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.factor, self.exponent, self.transform = factor, exponent, transform
        self.frames_multiple, self.pad_mode = frames_multiple, pad_mode
        hann = torch.hann_window(n_fft, periodic=True)
        self.register_buffer("analysis_window", hann.sqrt() if window == "sqrthann" else hann, persistent=False)

    def _compress(self, c: Tensor) -> Tensor:
        if self.transform == "none":
            return c
        if self.transform == "log":
            return torch.polar(self.factor * torch.log1p(c.abs()), c.angle())
        if self.exponent == 1:
            return self.factor * c
        # The factor last, as published: some samplers carry a rounding here into the fourth digit of their result
        return torch.polar(c.abs() ** self.exponent, c.angle()) * self.factor

    def _expand(self, x: Tensor) -> Tensor:
        if self.transform == "none":
            return x
        if self.transform == "log":
            return torch.polar(torch.expm1(x.abs() / self.factor), x.angle())
        x = x / self.factor
        # c = x |x|^(1/exponent - 1) needs no angle, so its gradient is finite at zero
        return x if self.exponent == 1 else x * x.abs() ** (1.0 / self.exponent - 1.0)

    def _pad_frames(self, x: Tensor) -> Tensor:
        missing = -x.shape[-1] % self.frames_multiple
        if not missing:
            return x
        if self.pad_mode == "zero":
            return F.pad(x, (0, missing))
        frames = x.shape[-1]
        index = torch.arange(frames, frames + missing, device=x.device)
        if self.pad_mode == "replicate" or frames == 1:
            index = index.clamp(max=frames - 1)
        else:
            # A triangle wave of indices reflects as often as it takes, so that clips of under half the multiple work
            index = (index - (frames - 1)) % (2 * (frames - 1))
            index = (frames - 1 - index).abs()
        return torch.cat([x, x[..., index]], dim=-1)

    def spectrogram(self, wav: Tensor) -> Tensor:
        """Plain STFT of (B, S), complex (B, F, 1 + S // hop_length)."""
        # Reflection at the ends needs more than half a window; shorter clips are lengthened, `decode` cuts them again.
        wav = F.pad(wav, (0, max(0, self.n_fft // 2 + 1 - wav.shape[-1])))
        return torch.stft(
            wav, self.n_fft, self.hop_length, window=self.analysis_window, center=True, pad_mode="reflect",
            return_complex=True,
        )

    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into complex (B, 1, F, T), T a multiple of `frames_multiple`."""
        return self._pad_frames(self._compress(self.spectrogram(wav)).unsqueeze(1))

    def decode(self, x: Tensor, length: int) -> Tensor:
        """Turn complex (B, 1, F, T) into (B, length); padded frames fall away."""
        wav = torch.istft(
            self._expand(x.squeeze(1)), self.n_fft, self.hop_length, window=self.analysis_window, center=True,
            length=max(length, self.n_fft // 2 + 1),
        )
        return wav[..., :length]
