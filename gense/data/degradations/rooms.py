"""Reverberation by simulated shoebox rooms."""

from __future__ import annotations

import numpy as np

from gense.data.degradations.reverb import Target, check_target, reverberate
from gense.data.degrade import Degradation, Pair, checked_range

_SPEED = 343.0
_IMAGES_SECONDS = 0.1
_JOIN_SECONDS = 0.02
_WALL_METRES = 0.3


class SimulatedReverb(Degradation):
    """Put the input into one of many simulated rooms; the target stays aligned to the direct path.

    The rooms are made once, before training, from a seed of their own. See `simulate_room`.

    Args:
        rooms: how many; each takes some hundredths of a second to make.
        t60: range of the reverberation time, s.
        width: range of both horizontal lengths of a room, m.
        height: range of its height, m.
        distance: range from talker to microphone, m; shortened where the room is too small.
        target: "dry" or "early", see `Reverb`.
        early_ms: length of the early reflections after the direct path, ms.
        seed: of the rooms.
        probability: share of items.

    Raises:
        ValueError: no rooms, a range that is not above 0, or another target.
    """

    def __init__(
        self,
        *,
        rooms: int = 100,
        t60: tuple[float, float] = (0.15, 0.9),
        width: tuple[float, float] = (3.0, 10.0),
        height: tuple[float, float] = (2.4, 4.0),
        distance: tuple[float, float] = (0.3, 4.0),
        target: Target = "dry",
        early_ms: float = 50.0,
        seed: int = 0,
        probability: float = 0.3,
    ):
        super().__init__(probability)
        check_target(target, early_ms)
        if rooms < 1:
            raise ValueError(f"rooms={rooms}: need at least one")
        self.rooms, self.target, self.early_ms, self.seed = rooms, target, early_ms, seed
        self.t60, self.distance = checked_range("t60", t60, least=0.05), checked_range("distance", distance, least=0.05)
        self.width, self.height = checked_range("width", width, least=1.5), checked_range("height", height, least=1.5)

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.rirs = [self._room(np.random.default_rng((self.seed, index))) for index in range(self.rooms)]

    def _room(self, rng: np.random.Generator) -> np.ndarray:
        size = np.array([rng.uniform(*self.width), rng.uniform(*self.width), rng.uniform(*self.height)])
        # A room with walls that swallow all of it is still longer than this
        shortest = 0.161 * size.prod() / (2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])) / 0.9
        t60 = max(rng.uniform(*self.t60), shortest)
        return simulate_room(size, t60, rng.uniform(*self.distance), self.sample_rate, rng)

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        h = self.rirs[int(rng.integers(len(self.rirs)))]
        early = round(self.early_ms / 1000 * self.sample_rate) if self.target == "early" else None
        return reverberate(clean, noisy, h, early)


def simulate_room(
    size: np.ndarray, t60: float, distance: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Impulse response (R,) of an empty shoebox room, float32.

    The first 0.1 s are those of image sources (Allen & Berkley 1979), displaced at random by up to 8 cm against the
    sweeping echoes of regular rooms (De Sena et al. 2015, IEEE/ACM TASLP 23); the later, diffuse part is noise that
    decays with the reverberation time, at the level of the images where the two are joined, after Lehmann and Johansson
    (2010, IEEE TASLP 18), because the number of images grows with the third power of the time. The talker stands at a
    whole number of samples from the microphone, so that the direct path is one sample and not two.

    Args:
        size: of the room, (3,), m.
        t60: reverberation time, s, from which Sabine's formula gives the absorption of the walls.
        distance: from talker to microphone, m; shortened until both are 0.3 m from the walls.
        sample_rate: Hz.
        rng: generator.

    Raises:
        ImportError: pyroomacoustics is not installed.
        ValueError: no walls can absorb enough for so short a time.
    """
    try:
        import pyroomacoustics
    except ModuleNotFoundError as error:
        raise ImportError("simulated rooms need pyroomacoustics: pip install gense[data]") from error

    try:
        absorption, order = pyroomacoustics.inverse_sabine(t60, list(size), c=_SPEED)
    except ValueError as error:
        metres = " x ".join(f"{length:.1f}" for length in size)
        raise ValueError(f"t60={t60:.2f} s is too short for a room of {metres} m: make it longer or smaller") from error
    mic, talker = _places(size, distance, sample_rate, rng)
    room = pyroomacoustics.ShoeBox(
        list(size), fs=sample_rate, materials=pyroomacoustics.Material(absorption),
        max_order=min(order, int(np.ceil(_IMAGES_SECONDS * _SPEED / size.min()))),
    )  # fmt: skip
    room.set_sound_speed(_SPEED)
    room.add_source(list(talker))
    room.add_microphone(list(mic))
    room.image_source_model()
    images = room.sources[0]
    reflected = images.orders > 0
    # Not by use_rand_ism, which draws from a generator of the whole process
    images.images[:, reflected] += rng.uniform(-0.08, 0.08, (3, int(reflected.sum()))).astype(images.images.dtype)
    room.compute_rir()
    return _with_tail(np.asarray(room.rir[0][0], dtype=np.float64), t60, sample_rate, rng).astype(np.float32)


def _places(
    size: np.ndarray, distance: float, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Microphone and talker in a room, (3,) each, a whole number of samples apart."""
    mic = rng.uniform(_WALL_METRES, size - _WALL_METRES)
    while True:
        way = rng.standard_normal(3) * (1.0, 1.0, 0.3)  # people are about as high as microphones
        steps = max(1, round(distance / _SPEED * sample_rate))
        talker = mic + way / np.linalg.norm(way) * steps * _SPEED / sample_rate
        if np.all(talker > _WALL_METRES) and np.all(talker < size - _WALL_METRES):
            return mic, talker
        distance = max(0.95 * distance, _SPEED / sample_rate)


def _with_tail(h: np.ndarray, t60: float, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Images until 0.1 s, noise that decays by 60 dB in `t60` after it; joined over 20 ms at equal power."""
    direct, join = int(np.argmax(np.abs(h))), round(_JOIN_SECONDS * sample_rate)
    start = direct + round(_IMAGES_SECONDS * sample_rate) - join
    length = direct + round(t60 * sample_rate)
    if length <= start + join:
        return h[: max(length, direct + 1)]
    h = np.pad(h[:length], (0, max(0, length - len(h))))
    seconds = np.arange(length - start) / sample_rate
    # The level just before the join, brought forward to it
    decay = 10 ** (-3 * seconds / t60)
    before = h[start - join : start] * 10 ** (3 * (np.arange(-join, 0) / sample_rate) / t60)
    tail = rng.standard_normal(length - start) * np.sqrt(np.mean(before**2)) * decay
    fade = np.ones(length - start)
    fade[:join] = np.sin(np.linspace(0, np.pi / 2, join))
    h[start:] = h[start:] * np.sqrt(1 - fade**2) + tail * fade
    return h
