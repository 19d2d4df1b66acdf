"""Lost packets of a call, hidden or not."""

from __future__ import annotations

import numpy as np

from gense.data.degrade import Degradation, Pair, checked_range, normalised, pick


class PacketLoss(Degradation):
    """Lose packets of the input in bursts; they are silent, or hidden by what came before.

    Losses follow the two-state chain of Gilbert (1960): packets are lost in the bad state. With mean loss p and mean
    burst b it is left with probability 1 / b and entered with p / (b (1 - p)). Hiding repeats the last packet that
    came, ever fainter, as a simple receiver does; joins fade over 2 ms.

    Args:
        loss: range of the mean share of packets that are lost.
        burst: range of the mean number of packets that are lost in a row.
        packet_ms: lengths of a packet in ms, one of which is drawn.
        hidden_share: share of items whose losses are hidden.
        fade_db: by how much each repetition is fainter than the one before, dB.
        probability: share of items.

    Raises:
        ValueError: a loss of everything, a burst below 1, no packet length, or a share outside 0 and 1.
    """

    def __init__(
        self,
        *,
        loss: tuple[float, float] = (0.02, 0.25),
        burst: tuple[float, float] = (1.0, 3.0),
        packet_ms: tuple[float, ...] = (10.0, 20.0, 40.0),
        hidden_share: float = 0.5,
        fade_db: float = 3.0,
        probability: float = 0.1,
    ):
        super().__init__(probability)
        self.loss = checked_range("loss", loss, least=0.0, most=0.9)
        self.burst = checked_range("burst", burst, least=1.0)
        if not packet_ms or min(packet_ms) < 2.5:
            raise ValueError(f"packet_ms={packet_ms}: need lengths of at least 2.5 ms")
        if not 0 <= hidden_share <= 1:
            raise ValueError(f"hidden_share={hidden_share}: expected 0 to 1")
        self.packet_ms, self.hidden_share, self.fade_db = tuple(packet_ms), hidden_share, fade_db

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        share = normalised([1.0] * len(self.packet_ms), "packet_ms")
        size = max(1, round(pick(self.packet_ms, share, rng) / 1000 * self.sample_rate))
        lost = lost_packets(-(-len(noisy) // size), rng.uniform(*self.loss), rng.uniform(*self.burst), rng)
        hidden = rng.random() < self.hidden_share
        return clean, without_packets(noisy, lost, size, self.sample_rate, self.fade_db if hidden else None)


def lost_packets(count: int, loss: float, burst: float, rng: np.random.Generator) -> np.ndarray:
    """Which of `count` packets are lost, bool (count,), by Gilbert's chain in its steady state.

    Args:
        count: packets.
        loss: mean share of lost packets, below 1.
        burst: mean number of packets lost in a row; where such bursts would have to follow on each other without a
            packet between them, it is longer.
        rng: generator.
    """
    burst = max(burst, loss / (1 - loss))
    enter, leave = loss / (burst * (1 - loss)), 1 / burst
    draws = rng.random(count + 1)
    states = np.empty(count, dtype=bool)
    bad = draws[0] < loss
    for index in range(count):
        states[index] = bad
        bad = draws[index + 1] >= leave if bad else draws[index + 1] < enter
    return states


def without_packets(
    wav: np.ndarray, lost: np.ndarray, size: int, sample_rate: int, fade_db: float | None
) -> np.ndarray:
    """(S,) without the packets that are lost: silent, or with `fade_db` filled by fading repetitions; float32 (S,)."""
    out = np.array(wav, dtype=np.float32)
    shape = np.repeat(lost, size)[: len(wav)]
    fade = max(1, min(size // 2, round(0.002 * sample_rate)))
    # Weight of what came: 0 within a loss, with ramps that lie in the packets around it
    kept = 1 - np.convolve(np.pad(shape, fade, mode="edge").astype(float), np.hanning(2 * fade + 1), "same") / fade
    kept = np.where(shape, 0.0, np.clip(kept[fade : fade + len(wav)], 0.0, 1.0))
    filling = np.zeros_like(out)
    if fade_db is not None:
        last, gain = None, 1.0
        for index, gone in enumerate(lost):
            part = slice(index * size, min((index + 1) * size, len(wav)))
            if not gone:
                last, gain = index, 1.0
            elif last is not None:
                gain *= 10 ** (-fade_db / 20)
                source = wav[last * size : (last + 1) * size]
                filling[part] = gain * source[: part.stop - part.start]
        # Into the ramps of the packets around, so that a repetition does not end in a click
        filling = np.where(shape, filling, _held(filling, shape, fade))
    return (kept * out + (1 - kept) * filling).astype(np.float32)


def _held(filling: np.ndarray, shape: np.ndarray, fade: int) -> np.ndarray:
    """The filling mirrored by `fade` samples over both ends of every loss."""
    out = np.zeros_like(filling)
    edges = np.flatnonzero(np.diff(shape.astype(int)))
    for edge in edges:
        for offset in range(fade):
            inside, outside = (edge - offset, edge + 1 + offset) if shape[edge] else (edge + 1 + offset, edge - offset)
            if 0 <= inside < len(out) and 0 <= outside < len(out) and shape[inside] and not shape[outside]:
                out[outside] = filling[inside]
    return out
