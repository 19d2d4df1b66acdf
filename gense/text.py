"""Transcripts to token ids."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

Rule = Literal["characters", "pinyin"]
RULES = ("characters", "pinyin")
PADDING = -1
UNKNOWN = 0


def split(text: str, rule: Rule) -> list[str]:
    """Cut a transcript into tokens.

    Args:
        text: any string.
        rule: "characters", each by itself; "pinyin", a syllable with the number of its tone for each Chinese character
            and one single token for each run of anything else.

    Raises:
        ValueError: an unknown rule.
        ModuleNotFoundError: Chinese text and the rule "pinyin", but no pypinyin.
    """
    if rule == "characters":
        return list(text)
    if rule != "pinyin":
        raise ValueError(f"rule={rule!r}: expected one of {', '.join(RULES)}")
    try:
        from pypinyin import Style, pinyin
    except ModuleNotFoundError:
        if not any(_is_chinese(character) for character in text):
            return [text] if text else []
        raise ModuleNotFoundError("pypinyin is not installed: pip install gense[text]") from None
    return [item[0] for item in pinyin(text, style=Style.TONE3)]


def _is_chinese(character: str) -> bool:
    """Whether a character lies in the CJK ideographs, for which alone there is a pinyin."""
    return re.fullmatch(f"[{_CHINESE}]", character) is not None


# A Chinese character is a word of its own; of everything else, what stands between spaces
_CHINESE = "\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_CHINESE}]|[^\s{_CHINESE}]+")


def excerpt(text: str, begin: float, end: float) -> str:
    """The part of a transcript that belongs to a part of its recording, spoken at an even pace.

    Words are not cut: those at the borders belong to both sides.

    Args:
        text: the transcript.
        begin: of the part, as a share of the whole, at least 0.
        end: of the part, at most 1.

    Returns:
        The words of which any letter lies between the two; the text itself where they enclose all of it; "" where none
        does.
    """
    if begin <= 0 and end >= 1:
        return text
    words = [m for m in _WORD.finditer(text) if m.end() > begin * len(text) and m.start() < end * len(text)]
    return text[words[0].start() : words[-1].end()] if words else ""


class Tokenizer(nn.Module):
    """Tokens of a vocabulary, numbered from 0.

    The vocabulary is a buffer with the bytes of its file (UTF-8, one token a line), so that it is saved, moved and
    loaded with the weights that it belongs to.

    Args:
        size: bytes of the vocabulary, which `read` or loaded weights fill in.
        rule: how a transcript is cut into tokens, see `split`.

    Raises:
        ValueError: an unknown rule; on calling, a vocabulary that is empty or does not begin with a space, which is
            what everything unknown becomes.
    """

    vocabulary: Tensor

    def __init__(self, size: int, *, rule: Rule = "characters"):
        super().__init__()
        if rule not in RULES:
            raise ValueError(f"rule={rule!r}: expected one of {', '.join(RULES)}")
        self.rule: Rule = rule
        self.register_buffer("vocabulary", torch.zeros(size, dtype=torch.uint8))

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, rule: Rule = "characters") -> Tokenizer:
        """Make one from a vocabulary file, whatever its line ends.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no UTF-8, or no vocabulary.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            lines = path.read_text(encoding="utf-8")  # universal newlines
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not readable as UTF-8 ({error})") from None
        data = lines.encode()
        tokenizer = cls(len(data), rule=rule)
        tokenizer.vocabulary.copy_(torch.tensor(list(data), dtype=torch.uint8))
        try:
            tokenizer.ids()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return tokenizer

    def ids(self) -> dict[str, int]:
        """Token -> id, the number of its line.

        Raises:
            ValueError: the vocabulary is empty or does not begin with a space.
        """
        # Not splitlines: a vocabulary may contain the other characters that it takes for line ends
        lines = bytes(self.vocabulary.tolist()).decode().removesuffix("\n").split("\n")
        if lines[0] != " ":
            raise ValueError(f"a vocabulary begins with a space, the token of everything unknown; got {lines[0]!r}")
        return {token: index for index, token in enumerate(lines)}

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Number the tokens of transcripts.

        What the vocabulary lacks becomes the space, with a warning that names it.

        Args:
            texts: B transcripts.

        Returns:
            (B, L) int64 on the vocabulary's device, L the longest; -1 behind the others.

        Raises:
            TypeError: one string where a list of strings is expected.
        """
        if isinstance(texts, str):
            raise TypeError(f"got the string {texts[:20]!r}: expected a list of strings, one an item")
        ids = self.ids()
        rows = [split(text, self.rule) for text in texts]
        if unknown := sorted({token for row in rows for token in row if token not in ids}):
            shown = ", ".join(map(repr, unknown[:10])) + (f" and {len(unknown) - 10} more" if unknown[10:] else "")
            hint = ""
            if self.rule == "characters" and any(map(_is_chinese, "".join(unknown))):
                hint = "; the rule 'pinyin' is the one for Chinese"
            warnings.warn(f"not in the vocabulary, read as a space: {shown}{hint}", stacklevel=2)
        length = max((len(row) for row in rows), default=0)
        padded = [[ids.get(token, UNKNOWN) for token in row] + [PADDING] * (length - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64, device=self.vocabulary.device).reshape(len(rows), length)
