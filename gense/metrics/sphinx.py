"""Words and phonemes by PocketSphinx: an old recogniser, far behind today's, whose wheel holds all that it needs.

It hears noise and artefacts at once, which makes it a strict judge; its error rates compare systems and are not those
of a product.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np

from .signals import Signal, UndefinedScore, as_signal, at_rate

RATE = 16000
FRAMES_PER_SECOND = 100
LEVEL = 10 ** (-23 / 20)
WIDEST_SEARCH = 3000  # states per frame; noise would otherwise make it ten times slower for the same words
_BUSY = Lock()  # a decoder is one machine with a state


def require_sphinx() -> None:
    """Raise ImportError where the package is not installed."""
    if find_spec("pocketsphinx") is None:
        raise ImportError("pocketsphinx is not installed: pip install gense[metrics]")


def recognise_sphinx(wav: Signal, sample_rate: int) -> str:
    """English words, lower case, "" for silence. A gain changes nothing.

    Args:
        wav: (S,), full scale 1.0.
        sample_rate: Hz; any other than 16 kHz is resampled first.

    Raises:
        ImportError: the package `pocketsphinx` is not installed.
        ValueError: the signal is not (S,) or not finite.
    """
    words = (re.sub(r"\(\d+\)$", "", word) for word, _, _ in _segments(wav, sample_rate, words=True))
    return " ".join(word for word in words if not word.startswith(("<", "[")))


def phones_sphinx(wav: Signal, sample_rate: int) -> list[tuple[str, float, float]]:
    """Phonemes of English in ARPABET, each with its start and end in seconds; silence and noise are left out.

    Arguments and errors as for `recognise_sphinx`.
    """
    return [
        (phone, start / FRAMES_PER_SECOND, (end + 1) / FRAMES_PER_SECOND)
        for phone, start, end in _segments(wav, sample_rate, words=False)
        if phone.isalpha() and phone != "SIL"
    ]


def _segments(wav: Signal, sample_rate: int, words: bool) -> list[tuple[str, int, int]]:
    """(what, first frame, last frame), best path through the whole signal."""
    decoder = load_decoder(words)
    try:
        signal = at_rate(as_signal(wav, "wav"), sample_rate, RATE)
    except UndefinedScore:
        return []
    signal = signal * (LEVEL / np.sqrt(np.mean(signal**2)))
    samples = (signal.clip(-1, 1) * 32767).astype("<i2").tobytes()
    with _BUSY:
        decoder.reinit_feat()  # forgets the signals before
        decoder.start_utt()
        decoder.process_raw(samples, full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return []
        return [(segment.word, segment.start_frame, segment.end_frame) for segment in decoder.seg()]


@lru_cache(maxsize=2)
def load_decoder(words: bool) -> Any:
    """A decoder of words, or of phonemes with a phoneme language model.

    Raises:
        ImportError: the package `pocketsphinx` is not installed.
    """
    require_sphinx()
    import pocketsphinx

    common = {"samprate": RATE, "cmn": "batch", "loglevel": "FATAL"}
    if words:
        return pocketsphinx.Decoder(maxhmmpf=WIDEST_SEARCH, **common)
    phones = pocketsphinx.get_model_path("en-us/en-us-phone.lm.bin")
    # Weight and beams as the package's documentation advises for this mode
    return pocketsphinx.Decoder(allphone=phones, lw=2.0, beam=1e-10, pbeam=1e-10, **common)
