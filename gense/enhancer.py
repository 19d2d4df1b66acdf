"""Everything of a method in one module: waveform in, waveform out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gense import samplers
from gense.audio import Level
from gense.chunking import Chunking, Plan
from gense.heads.base import Head
from gense.losses import WaveLoss
from gense.representations.base import Representation
from gense.samplers.types import Noise, Step
from gense.text import PADDING, Tokenizer, excerpt
from gense.types import Batch, Condition, Loss, Sampling
from gense.vocoders.base import Vocoder

TEXT = "text"
"""The condition that is made from transcripts."""


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
        needed = [*(key.removeprefix("noisy_") for key in features), head.target, *head.targets]
        for name in needed:
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
            ValueError: the batch has transcripts and the method takes none, or `wave_losses` lack an estimate.
        """
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
        beyond what the network itself sees of its context. Silent items stay silent.

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
            progress: called with (chunks done, chunks in all) after each batch of chunks.

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
        low, high = torch.aminmax(source, dim=-1)  # no temporary as large as an hour of samples
        peak = torch.maximum(-low, high)
        if not torch.isfinite(peak).all():
            raise ValueError("wav holds NaN or infinite samples")
        if sampling is not None and self.head.sampling is None:
            raise ValueError("this method is deterministic: it takes no steps, sampler or options")
        texts = self.transcripts(text, len(source))
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
        tokens = None if texts is None else self._tokens(texts, plan)
        for group in plan.groups(items, chunking.batch):
            pieces = torch.stack([plan.cut(source[item], plan.starts[index]) / scale[item] for item, index in group])
            starts = [plan.starts[index] // hop * frames for _, index in group]
            draw = noise or samplers.by_frame(seed, starts)
            ids = None if tokens is None else pad_sequence([tokens[job] for job in group], True, PADDING)
            clean = self._generate(pieces.to(self.device), ids, sampling, draw, callback).to(source.device)
            for (item, index), piece in zip(group, clean, strict=True):
                start = joined.starts[index]
                stop = min(start + joined.length, joined.samples)
                faded = piece * joined.weight(index).to(piece.device)
                out[item, start:stop] += faded[: stop - start] * scale[item]
            done += len(group)
            if progress:
                progress(done, total)
        out[silent] = 0.0
        if self.output_level is not None:
            frame = max(1, hop * self.output_rate // (self.sample_rate * frames))
            whole = out.shape[-1] // frame * frame or out.shape[-1]
            out /= self.output_level.scale(out[:, :whole])
        return out.to(wav.dtype)

    def _tokens(self, texts: list[str], plan: Plan) -> dict[tuple[int, int], Tensor]:
        """Token ids (L,) of each (item, chunk)."""
        assert self.text is not None
        ends = [(start / plan.samples, (start + plan.length) / plan.samples) for start in plan.starts]
        jobs = {(item, k): excerpt(text, *end) for item, text in enumerate(texts) for k, end in enumerate(ends)}
        ids = self.text(list(jobs.values()))  # all at once, so that what is unknown is told once
        return {job: row[: int((row != PADDING).sum())] for job, row in zip(jobs, ids, strict=True)}

    def _generate(
        self,
        wav: Tensor,
        tokens: Tensor | None,
        sampling: Sampling | None,
        noise: Noise,
        callback: Callable[[Step], None] | None,
    ) -> Tensor:
        """Enhance a batch of equally long pieces (B, S) at the model's level, with their token ids (B, L) or none."""
        cond = self.conditions(wav, tokens)
        with torch.autocast(wav.device.type, dtype=self.autocast, enabled=self.autocast is not None):
            features = self.head.generate(cond, sampling=sampling, noise=noise, callback=callback)
        length = -(-wav.shape[-1] * self.output_rate // self.sample_rate)
        return self._decode(features, length)

    def _decode(self, features: Tensor, length: int) -> Tensor:
        return self.target.decode(features, length) if self.vocoder is None else self.vocoder(features, length)
