"""Everything of a method in one module: waveform in, waveform out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gense.audio import Level
from gense.chunking import Chunking
from gense.core import TEXT, enhance_items
from gense.heads.base import Head
from gense.losses import WaveLoss
from gense.representations.base import Representation
from gense.samplers.types import Noise, Step
from gense.streaming import Stream, open_stream
from gense.text import Tokenizer
from gense.types import Batch, Condition, Loss, Sampling
from gense.vocoders.base import Vocoder


class Enhancer(nn.Module):
    """Representations, a head, the input level and the chunking: a complete method.

    Args:
        representations: by name; condition `noisy_<name>` is the noisy input in that representation.
        head: what generates the clean features.
        vocoder: what makes the waveform from them; None leaves it to the representation. Its weights are not trained.
        text: what makes condition `text` from transcripts; None for a method, or a copy of one, that takes none.
        sample_rate: of the waveforms, Hz.
        level: level to which each input is brought as a whole, and back afterwards.
        output_level: level to which each result is brought as a whole, measured on its whole frames; None leaves it at
            the input's. Nothing is clipped here: where a peak then exceeds full scale, files of integers clip it.
        chunking: how long inputs are cut; None processes any input whole.
        wave_losses: training losses on the decoded estimate, beside the head's own.

    Attributes:
        output_rate: of what `enhance` returns, Hz; the vocoder's, without one `sample_rate`.

    Raises:
        ValueError: the head reads or predicts a representation that is not there, one has another rate, or the vocoder
            was made for other features, or there is a tokenizer and the head reads no text.
    """

    def __init__(
        self,
        representations: dict[str, Representation],
        head: Head,
        vocoder: Vocoder | None = None,
        *,
        text: Tokenizer | None = None,
        sample_rate: int,
        level: Level = Level("peak"),  # noqa: B008 - frozen
        output_level: Level | None = None,
        chunking: Chunking | None = None,
        wave_losses: Sequence[WaveLoss] = (),
    ):
        super().__init__()
        for name, representation in representations.items():
            if representation.sample_rate != sample_rate:
                raise ValueError(
                    f"representation {name!r} works at {representation.sample_rate} Hz, the enhancer at {sample_rate}"
                )
        if text is not None and TEXT not in head.reads:
            raise ValueError(f"there is a tokenizer, but the head reads no text, only {', '.join(head.reads)}")
        features = tuple(key for key in head.reads if key != TEXT)
        for name in [*(key.removeprefix("noisy_") for key in features), head.target]:
            if name not in representations:
                raise ValueError(f"the head needs representation {name!r}; there are {', '.join(representations)}")
        self.representations = nn.ModuleDict(representations)
        self.head, self.sample_rate, self.level, self.chunking = head, sample_rate, level, chunking
        self.text, self.features, self.output_level = text, features, output_level
        self.wave_losses = nn.ModuleList(wave_losses)
        self.vocoder, self.output_rate = vocoder, sample_rate
        if vocoder is not None:
            vocoder.check(self.target.mel)
            vocoder.requires_grad_(False)
            self.output_rate = vocoder.sample_rate
            target = self.target
            if target.hop_length * self.output_rate != vocoder.hop_length * sample_rate * target.hop_frames:
                raise ValueError(
                    f"the head makes a frame every {target.hop_length / target.hop_frames:g} samples at {sample_rate} "
                    f"Hz, the vocoder takes one for {vocoder.hop_length} at its {self.output_rate} Hz"
                )
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

    def conditions(self, noisy: Tensor, tokens: Tensor | None = None) -> Condition:
        """What the head reads, of waveforms (B, S) and token ids (B, L); without tokens there is no text."""
        cond = {key: self._representation(key.removeprefix("noisy_")).encode(noisy) for key in self.features}
        return cond if tokens is None else {**cond, TEXT: tokens.to(noisy.device)}

    def transcripts(self, text: str | Sequence[str] | None, items: int) -> list[str] | None:
        """Check transcripts before any work: one an item, or one string for all.

        Raises:
            ValueError: the method reads none, its vocabulary is missing, their number is wrong, or one is empty.
            TypeError: neither a string nor strings.
        """
        if text is None:
            return None
        if TEXT not in self.head.reads:
            raise ValueError("text: this method reads no transcript; leave it out")
        if self.text is None:
            raise ValueError(
                "text: this method reads transcripts, but came without its vocabulary; leave the text out, put the "
                "vocabulary beside the checkpoint (vocab.txt) and load it again, or set "
                "enhancer.text = gense.text.Tokenizer.read(path)"
            )
        texts = [text] * items if isinstance(text, str) or not isinstance(text, Sequence) else list(text)
        if wrong := [type(one).__name__ for one in texts if not isinstance(one, str)]:
            raise TypeError(f"text holds {wrong[0]}: expected a string, or a list of strings")
        if len(texts) != items:
            raise ValueError(f"text: {len(texts)} transcripts for {items} items; give one an item, or one string")
        if any(not one.strip() for one in texts):
            raise ValueError("text is empty: give what is said in the recording, or leave it out")
        return texts

    def loss(self, batch: Batch) -> Loss:
        """Training loss of a batch: the head's own and, weighted, those on waveforms.

        Raises:
            ValueError: unwanted transcripts, `wave_losses` without an estimate, or weights without what training reads.
        """
        if lacking := [name for name in self.head.targets if name not in self.representations]:
            raise ValueError(f"no representation {lacking[0]!r}: build the method from its YAML to train it")
        scale = self.level.scale(batch.noisy, training=True)
        clean, noisy = batch.clean / scale, batch.noisy / scale
        targets = {name: self._representation(name).encode(clean) for name in self.head.targets}
        texts = self.transcripts(batch.text, len(noisy))
        tokens = self.text(texts) if self.text is not None and texts is not None else None
        loss = self.head.loss(targets, self.conditions(noisy, tokens))
        if not self.wave_losses:
            return loss
        if loss.data is None:
            raise ValueError(f"{type(self.head).__name__} gives no estimate of the data, on which wave_losses work")
        total, parts, estimate = loss.total, dict(loss.parts), self.decode(loss.data, clean.shape[-1])
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
        text: str | Sequence[str] | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Enhance waveforms.

        The level is taken over each whole item, then items longer than one chunk are cut and cross-faded. Every item
        draws the same noise, keyed to the absolute frame, so a result depends neither on the batch nor on the cuts
        beyond what the network itself sees of its context. Silent items stay silent. On a CPU, chunks go one by one, so
        that not a bit depends on the batch.

        The transcript of an item that is cut is cut, too: each chunk gets the words that would be spoken in it at an
        even pace, those of an overlap and at the borders on both sides. Where the pace is uneven, cut the recording at
        its pauses yourself and give each part its own words.

        Args:
            wav: (B, S), finite, at `sample_rate`; any device, computed on the module's.
            text: what is said, one transcript an item or one for all; None leaves the condition out.
            sampling: overrides the head's own sampling.
            seed: of the noise, >= 0.
            noise: replaces the seeded noise; drawn chunk batch after chunk batch.
            callback: called once a sampling step.
            progress: called with (chunks done, chunks in all) after each chunk.

        Returns:
            (B, ceil(S * output_rate / sample_rate)) on the input's device.

        Raises:
            ValueError: wrong shape, no samples, samples that are not finite, or text that does not fit; see
                `transcripts`.
        """
        if wav.ndim != 2 or wav.shape[1] == 0 or wav.shape[0] == 0:
            raise ValueError(f"wav has shape {tuple(wav.shape)}: expected (batch, samples), neither of them 0")
        if not wav.is_floating_point():
            raise TypeError(f"wav is {wav.dtype}: expected a float tensor with full scale 1")
        source = wav.float()
        self._check(source, sampling, "wav")
        outs = enhance_items(
            self, list(source), [seed] * len(source), texts=self.transcripts(text, len(source)), sampling=sampling,
            noise=noise, callback=callback, progress=progress,
        )
        return (outs[0][None] if len(outs) == 1 else torch.stack(outs)).to(wav.dtype)

    @torch.inference_mode()
    def enhance_many(
        self,
        wavs: Sequence[Tensor],
        *,
        text: str | Sequence[str] | None = None,
        sampling: Sampling | None = None,
        seed: int | Sequence[int] = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Tensor]:
        """Enhance waveforms of different lengths, filling the network's batches across them.

        Each result is that of `enhance` on its item alone with its seed: on a CPU bit for bit; on other devices, where
        pieces of several items share a batch, within the rounding of sums.

        Args:
            wavs: (S_i,) each, finite, at `sample_rate`; any device, computed on the module's.
            seed: of the noise, >= 0; one for all, or one an item.
            text: what is said, one transcript an item or one for all.
            sampling: overrides the head's own sampling.
            progress: called with (chunks done, chunks in all).

        Returns:
            (ceil(S_i * output_rate / sample_rate),) of each item on its device.

        Raises:
            ValueError: an item of another shape, without samples, or with samples that are not finite (it is named);
                another number of seeds, or text that does not fit.
            TypeError: an item that is no float tensor.
        """
        seeds = list(seed) if isinstance(seed, Sequence) else [seed] * len(wavs)
        if len(seeds) != len(wavs):
            raise ValueError(f"seed: {len(seeds)} seeds for {len(wavs)} waveforms; give one each, or one for all")
        sources = []
        for index, wav in enumerate(wavs):
            if wav.ndim != 1 or len(wav) == 0:
                raise ValueError(f"wavs[{index}] has shape {tuple(wav.shape)}: expected (samples,), not 0 of them")
            if not wav.is_floating_point():
                raise TypeError(f"wavs[{index}] is {wav.dtype}: expected a float tensor with full scale 1")
            sources.append(wav.float())
            self._check(sources[-1][None], sampling, f"wavs[{index}]")
        if not sources:
            return []
        texts = self.transcripts(text, len(sources))
        outs = enhance_items(self, sources, seeds, texts=texts, sampling=sampling, progress=progress)
        return [out.to(wav.dtype) for out, wav in zip(outs, wavs, strict=True)]

    def stream(
        self,
        sample_rate: int,
        *,
        channels: int = 1,
        scale: float | Sequence[float] | Tensor | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        chunking: Chunking | None = None,
    ) -> Stream:
        """Enhance blocks as they come, at any rate; see `Stream` for how, and for the latency.

        The level of the whole is not known while it comes. Without a `scale` it is measured on each channel's first
        chunk with any sound (silence before stays silence), and held; so is `output_level`, on the first result. With
        `level.scale(whole at the method's rate)` the result is that of the whole but for the last chunk's cross-fade.

        Args:
            sample_rate: of the blocks, Hz, in and out.
            channels: enhanced one by one with the same noise.
            scale: what to divide the input by, above 0; one for all channels, or one a channel.
            sampling: overrides the head's own.
            seed: of the noise, >= 0.
            chunking: overrides the method's: shorter chunks make the latency shorter.

        Raises:
            ValueError: an impossible rate, number of channels or scale, or a method that takes recordings whole.
        """
        return open_stream(self, sample_rate, channels, scale, chunking or self.chunking, sampling, seed)

    def _check(self, wav: Tensor, sampling: Sampling | None, name: str) -> None:
        """Refuse (B, S) with samples that are not finite, and a sampling where there is nothing to sample."""
        if not all(torch.isfinite(bound).all() for bound in torch.aminmax(wav, dim=-1)):  # no temporary of its length
            raise ValueError(f"{name} holds NaN or infinite samples")
        if sampling is not None and self.head.sampling is None:
            raise ValueError("this method is deterministic: it takes no steps, sampler or options")

    def decode(self, features: Tensor, length: int) -> Tensor:
        """Turn what the head generated, (B, *feature, T), into waveforms (B, length) at `output_rate`."""
        return self.target.decode(features, length) if self.vocoder is None else self.vocoder(features, length)
