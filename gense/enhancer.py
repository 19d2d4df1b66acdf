"""Everything of a method in one module: waveform in, waveform out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gense import samplers
from gense.audio import Level
from gense.chunking import Chunking
from gense.heads.base import Head
from gense.losses import WaveLoss
from gense.representations.base import Representation
from gense.samplers.types import Noise, Step
from gense.types import Batch, Condition, Loss, Sampling
from gense.vocoders.base import Vocoder


class Enhancer(nn.Module):
    """Representations, a head, the input level and the chunking: a complete method.

    Args:
        representations: by name; condition `noisy_<name>` is the noisy input in that representation.
        head: what generates the clean features.
        vocoder: what makes the waveform from them; None leaves it to the representation. Its weights are not trained.
        sample_rate: of the waveforms, Hz.
        level: level to which each input is brought as a whole, and back afterwards.
        chunking: how long inputs are cut; None processes any input whole.
        wave_losses: training losses on the decoded estimate, beside the head's own.

    Attributes:
        output_rate: of what `enhance` returns, Hz; the vocoder's, without one `sample_rate`.

    Raises:
        ValueError: the head reads or predicts a representation that is not there, one has another rate, or the vocoder
            was made for other features.
    """

    def __init__(
        self,
        representations: dict[str, Representation],
        head: Head,
        vocoder: Vocoder | None = None,
        *,
        sample_rate: int,
        level: Level = Level("peak"),  # noqa: B008 - frozen
        chunking: Chunking | None = None,
        wave_losses: Sequence[WaveLoss] = (),
    ):
        super().__init__()
        for name, representation in representations.items():
            if representation.sample_rate != sample_rate:
                raise ValueError(
                    f"representation {name!r} works at {representation.sample_rate} Hz, the enhancer at {sample_rate}"
                )
        needed = [*(key.removeprefix("noisy_") for key in head.reads), head.target, *head.targets]
        for name in needed:
            if name not in representations:
                raise ValueError(f"the head needs representation {name!r}; there are {', '.join(representations)}")
        self.representations = nn.ModuleDict(representations)
        self.head, self.sample_rate, self.level, self.chunking = head, sample_rate, level, chunking
        self.wave_losses = nn.ModuleList(wave_losses)
        self.vocoder, self.output_rate = vocoder, sample_rate
        if vocoder is not None:
            vocoder.check(self.target.mel)
            vocoder.requires_grad_(False)
            self.output_rate = vocoder.sample_rate
            if self.target.hop_length * self.output_rate % sample_rate:
                raise ValueError(
                    f"{self.target.hop_length} samples at {sample_rate} Hz are no whole number of samples at the "
                    f"vocoder's {self.output_rate} Hz: chunks could not be joined"
                )
            if self.wave_losses and self.output_rate != sample_rate:
                raise ValueError(f"wave_losses work at {sample_rate} Hz, the vocoder at {self.output_rate}")
        self.autocast: torch.dtype | None = None

    def _representation(self, name: str) -> Representation:
        return self.representations[name]  # type: ignore[return-value]

    @property
    def target(self) -> Representation:
        """The representation that the head predicts."""
        return self._representation(self.head.target)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _conditions(self, noisy: Tensor) -> Condition:
        return {key: self._representation(key.removeprefix("noisy_")).encode(noisy) for key in self.head.reads}

    def loss(self, batch: Batch) -> Loss:
        """Training loss of a batch: the head's own and, weighted, those on waveforms."""
        scale = self.level.scale(batch.noisy, training=True)
        clean, noisy = batch.clean / scale, batch.noisy / scale
        targets = {name: self._representation(name).encode(clean) for name in self.head.targets}
        loss = self.head.loss(targets, self._conditions(noisy))
        if not self.wave_losses:
            return loss
        if loss.data is None:
            raise ValueError(f"{type(self.head).__name__} gives no estimate of the data, on which wave_losses work")
        total, parts = loss.total, dict(loss.parts)
        estimate = self._decode(loss.data, clean.shape[-1])
        for wave_loss in self.wave_losses:
            value = wave_loss(estimate, clean)
            total = total + wave_loss.weight * value
            parts[type(wave_loss).__name__] = value.detach()
        return Loss(total, parts, data=loss.data)

    @torch.inference_mode()
    def enhance(
        self,
        wav: Tensor,
        *,
        sampling: Sampling | None = None,
        seed: int = 0,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Enhance waveforms.

        The level is taken over each whole item, then items longer than one chunk are cut and cross-faded. Every item
        draws the same noise, keyed to the absolute frame, so a result depends neither on the batch nor on the cuts
        beyond what the network itself sees of its context. Silent items stay silent.

        Args:
            wav: (B, S), finite, at `sample_rate`; any device, computed on the module's.
            sampling: overrides the head's own sampling.
            seed: of the noise, >= 0.
            noise: replaces the seeded noise; drawn chunk batch after chunk batch.
            callback: called once a sampling step.
            progress: called with (chunks done, chunks in all) after each batch of chunks.

        Returns:
            (B, ceil(S * output_rate / sample_rate)) on the input's device.

        Raises:
            ValueError: wrong shape, no samples, or samples that are not finite.
        """
        if wav.ndim != 2 or wav.shape[1] == 0 or wav.shape[0] == 0:
            raise ValueError(f"wav has shape {tuple(wav.shape)}: expected (batch, samples), neither of them 0")
        if not wav.is_floating_point():
            raise TypeError(f"wav is {wav.dtype}: expected a float tensor with full scale 1")
        source = wav.float()
        low, high = torch.aminmax(source, dim=-1)  # no temporary as large as an hour of samples
        peak = torch.maximum(-low, high)
        if not torch.isfinite(peak).all():
            raise ValueError("wav holds NaN or infinite samples")
        if sampling is not None and self.head.sampling is None:
            raise ValueError("this method is deterministic: it takes no steps, sampler or options")
        scale = self.level.scale(source)
        # Numbers too small to be brought to a level are silence, too: a generative model would invent something there
        silent = peak < 1e-30
        items, samples = source.shape
        hop, frames = self.target.hop_length, self.target.hop_frames
        chunking = self.chunking or Chunking(samples / self.sample_rate + 4.0)
        plan = chunking.plan(samples, self.sample_rate, hop)
        joined = plan.at(self.output_rate, self.sample_rate)
        out = source.new_zeros(items, joined.samples)
        done, total = 0, items * len(plan.starts)
        for group in plan.groups(items, chunking.batch):
            pieces = torch.stack([plan.cut(source[item], plan.starts[index]) / scale[item] for item, index in group])
            starts = [plan.starts[index] // hop * frames for _, index in group]
            draw = noise or samplers.by_frame(seed, starts)
            clean = self._generate(pieces.to(self.device), sampling, draw, callback).to(source.device)
            for (item, index), piece in zip(group, clean, strict=True):
                start = joined.starts[index]
                stop = min(start + joined.length, joined.samples)
                faded = piece * joined.weight(index).to(piece.device)
                out[item, start:stop] += faded[: stop - start] * scale[item]
            done += len(group)
            if progress:
                progress(done, total)
        out[silent] = 0.0
        return out.to(wav.dtype)

    def _generate(
        self, wav: Tensor, sampling: Sampling | None, noise: Noise, callback: Callable[[Step], None] | None
    ) -> Tensor:
        """Enhance a batch of equally long pieces (B, S) at the model's level."""
        cond = self._conditions(wav)
        with torch.autocast(wav.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            features = self.head.generate(cond, sampling=sampling, noise=noise, callback=callback)
        length = -(-wav.shape[-1] * self.output_rate // self.sample_rate)
        return self._decode(features, length)

    def _decode(self, features: Tensor, length: int) -> Tensor:
        return self.target.decode(features, length) if self.vocoder is None else self.vocoder(features, length)
