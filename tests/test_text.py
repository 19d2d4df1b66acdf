"""Transcripts to token ids: both rules against the published ones, files, and what is not in the vocabulary."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

from gense.text import Tokenizer
from tests.parity.fixtures import FOLDER

TOKENS = [" ", "a", "b", "hao3", "ni3", "，"]


def write(path: Path, tokens: list[str], *, end: str = "\n", last: str = "\n") -> Path:
    path.write_bytes((end.join(tokens) + last).encode())
    return path


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    return write(tmp_path / "vocab.txt", TOKENS)


def test_characters_are_padded_to_the_longest(vocabulary: Path) -> None:
    ids = Tokenizer.read(vocabulary)(["ab a", "b", ""])
    assert ids.tolist() == [[1, 2, 0, 1], [2, -1, -1, -1], [-1, -1, -1, -1]]
    assert ids.dtype == torch.int64
    assert Tokenizer.read(vocabulary)([""]).shape == (1, 0)


def test_what_the_vocabulary_lacks_is_named(vocabulary: Path) -> None:
    tokenizer = Tokenizer.read(vocabulary)
    with pytest.warns(UserWarning, match=r"not in the vocabulary, read as a space: '!', 'x'$"):
        assert tokenizer(["xab!x"]).tolist() == [[0, 1, 2, 0, 0]]
    with pytest.warns(UserWarning, match=r"'你', '好'; the rule 'pinyin' is the one for Chinese"):
        tokenizer(["你好"])
    with pytest.warns(UserWarning, match=r"and 4 more"):
        tokenizer(["cdefghijklmnop"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer(["a b"])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("closed", [True, False])
def test_line_ends_of_the_file_do_not_matter(tmp_path: Path, end: str, closed: bool) -> None:
    # Some characters end a line for str.splitlines but not in a file
    tokens = [*TOKENS, "\x85", "\u2028", "z"]
    tokenizer = Tokenizer.read(write(tmp_path / "vocab.txt", tokens, end=end, last=end if closed else ""))
    assert list(tokenizer.ids()) == tokens
    assert tokenizer(["z\u2028"]).tolist() == [[8, 7]]


def test_the_vocabulary_is_saved_with_the_weights(vocabulary: Path) -> None:
    tokenizer = Tokenizer.read(vocabulary)
    state = tokenizer.state_dict()
    other = Tokenizer(len(state["vocabulary"]))
    with pytest.raises(ValueError, match="a vocabulary begins with a space"):
        other(["a"])
    other.load_state_dict({name: value.float() for name, value in state.items()})  # as a folder's weights are loaded
    assert other.ids() == tokenizer.ids()
    assert other.to(torch.bfloat16)(["ba"]).tolist() == [[2, 1]]


def test_bad_vocabularies_and_arguments(tmp_path: Path, vocabulary: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file"):
        Tokenizer.read(tmp_path / "none.txt")
    with pytest.raises(ValueError, match=r"letters\.txt: a vocabulary begins with a space.*got 'a'"):
        Tokenizer.read(write(tmp_path / "letters.txt", ["a", "b"]))
    with pytest.raises(ValueError, match=r"empty\.txt: a vocabulary begins with a space"):
        Tokenizer.read(write(tmp_path / "empty.txt", [], last=""))
    (tmp_path / "latin.txt").write_bytes(b" \n\xe9\n")
    with pytest.raises(ValueError, match=r"latin\.txt: not readable as UTF-8"):
        Tokenizer.read(tmp_path / "latin.txt")
    with pytest.raises(ValueError, match="rule='jieba': expected one of characters, pinyin"):
        Tokenizer.read(vocabulary, rule="jieba")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got the string 'ab': expected a list of strings"):
        Tokenizer.read(vocabulary)("ab")


def test_pinyin(vocabulary: Path) -> None:
    pytest.importorskip("pypinyin")
    tokenizer = Tokenizer.read(vocabulary, rule="pinyin")
    assert tokenizer(["你好，", "a"]).tolist() == [[4, 3, 5], [1, -1, -1]]


def test_without_pypinyin_the_error_names_the_extra(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    tokenizer = Tokenizer.read(vocabulary, rule="pinyin")
    assert tokenizer(["a", ""]).tolist() == [[1], [-1]]
    with pytest.raises(ModuleNotFoundError, match=r"pypinyin is not installed: pip install gense\[text\]"):
        tokenizer(["a你"])


@pytest.mark.parametrize("rule", ["characters", "pinyin"])
def test_ids_are_the_published_ones(tmp_path: Path, rule: str) -> None:
    """The published vocabulary is not shipped: the recorded tokens are put at their recorded ids."""
    if rule == "pinyin":
        pytest.importorskip("pypinyin")
    recorded = json.loads((FOLDER / "flowse_tokens" / "config.json").read_text(encoding="utf-8"))["items"]
    kind = {"characters": "inference", "pinyin": "training"}[rule]
    known: dict[int, str] = {0: " "}
    for item in recorded:
        for token, index in zip(item[f"{kind}_tokens"], item[f"{kind}_ids"], strict=True):
            if index:
                assert known.setdefault(index, token) == token
    lines = [known.get(index, f"<{index}>") for index in range(2545)]
    tokenizer = Tokenizer.read(write(tmp_path / "vocab.txt", lines), rule=rule)  # type: ignore[arg-type]
    for item in recorded:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert tokenizer([item["text"]])[0].tolist() == item[f"{kind}_ids"]
