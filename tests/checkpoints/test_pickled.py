"""Checkpoints from strangers: what they name is never run."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from gense.checkpoints.pickled import Reference, read_checkpoint
from tests.parity.fixtures import FOLDER


class Attack:
    """Pickles as a call of os.system."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def by_hand(path: Path, opcodes: bytes) -> Path:
    """A zip checkpoint as torch.save writes it, around pickle opcodes of one's own."""
    torch.save({"a": torch.zeros(2)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, opcodes if name.endswith("data.pkl") else content)
    return path


def call(module: str, name: str, argument: str) -> bytes:
    """Opcodes of {"a": module.name(argument)}."""
    text = argument.encode()
    return (
        b"\x80\x02}X\x01\x00\x00\x00ac" + f"{module}\n{name}\n".encode()
        + b"X" + len(text).to_bytes(4, "little") + text + b"\x85Rs."
    )  # fmt: skip


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that every attack here tries to make."""
    return tmp_path / "executed"


def test_the_attack_works_on_an_ordinary_unpickler(mark: Path, tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Attack(f"touch {mark}")))
    assert mark.exists()
    mark.unlink()
    torch.load(by_hand(tmp_path / "a.ckpt", call("os", "system", f"touch {mark}")), weights_only=False)
    assert mark.exists()


def test_a_pickle_with_code_is_refused_and_not_executed(mark: Path, tmp_path: Path) -> None:
    settings = {"sde": "ouve", "x": Attack(f"touch {mark}")}
    torch.save({"state_dict": {"dnn.a": torch.zeros(1)}, "hyper_parameters": settings}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt: the pickle refers to code \((posix|nt)\.system\); it was refused"):
        read_checkpoint(tmp_path / "a.ckpt")
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_old_and_bare_pickles_with_code_are_refused(mark: Path, tmp_path: Path) -> None:
    torch.save({"a": Attack(f"touch {mark}")}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"a": Attack(f"touch {mark}")}))
    (tmp_path / "bare2.pkl").write_bytes(pickle.dumps({"a": Attack(f"touch {mark}")}, protocol=2))
    for name in ("old.ckpt", "bare.pkl", "bare2.pkl"):
        with pytest.raises(ValueError, match="executed") as raised:
            read_checkpoint(tmp_path / name)
        assert "weights_only" not in str(raised.value)  # PyTorch's message advises to switch the safeguard off
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("builtins", "exec"), ("torch", "os.system"),
     ("torch.hub", "load"), ("gense.checkpoints.fetch", "os.system"), ("sgmsex", "y"), ("runpy", "run_path")],
)  # fmt: skip
def test_other_names_are_refused(module: str, name: str, mark: Path, tmp_path: Path) -> None:
    path = by_hand(tmp_path / "a.ckpt", call(module, name, f"touch {mark}"))
    with pytest.raises(ValueError, match=r"refers to code \(" + f"{module}.{name}".replace(".", r"\.")):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("pathlib", "os.system"), ("pathlib.os", "system"), ("lightning.something", "system"), ("sgmse.os", "system"),
     ("pytorch_lightning.utilities", "os.system"), ("lightning.pytorch.cli", "os.system"), ("pathlib", "PosixPath")],
)  # fmt: skip
def test_code_behind_a_harmless_prefix_is_a_placeholder(module: str, name: str, mark: Path, tmp_path: Path) -> None:
    """Such names pass, because real checkpoints hold them; what they name is never looked up."""
    path = by_hand(tmp_path / "a.ckpt", call(module, name, f"touch {mark}"))
    checkpoint = read_checkpoint(path)
    assert type(checkpoint["a"]) is Reference
    assert not vars(checkpoint["a"])
    assert not mark.exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02}X\x01\x00\x00\x00aclightning.x\nY\n(K\x01K\x02t\x81}X\x01\x00\x00\x00bK\x01sbs.",  # NEWOBJ, BUILD
        b"\x80\x02}X\x01\x00\x00\x00aclightning.x\nY\ns.",  # the bare reference
    ],
)
def test_a_placeholder_takes_anything_and_keeps_nothing(opcodes: bytes, tmp_path: Path) -> None:
    value = read_checkpoint(by_hand(tmp_path / "a.ckpt", opcodes))["a"]
    assert value is Reference or (type(value) is Reference and not vars(value))


def test_the_published_kind_of_reference_is_read_and_its_package_is_not_imported() -> None:
    checkpoint = read_checkpoint(FOLDER / "sgmse_ckpt_small" / "model.ckpt")
    assert checkpoint["hyper_parameters"]["data_module_cls"] is Reference
    assert "sgmse" not in sys.modules


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    "opcodes",
    [
        b"\x80\x02}X\x01", b"", b"\x80\x02}(", b"\xff\xff", b"\x80\x02}X\x01\x00\x00\x00a(ilightning.x\nsystem\ns.",
        b"\x80\x04}\x8c\x01a\x8c\x07pathlib\x8c\x09os.system\x93\x8c\x04true\x85Rs.", b"\x80\x02R.", b"\x80\x02a.",
    ],
)  # fmt: skip
def test_damaged_and_odd_pickles_are_refused_in_one_line(opcodes: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.ckpt: (not readable as a PyTorch checkpoint|holds a)") as raised:
        read_checkpoint(by_hand(tmp_path / "a.ckpt", opcodes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("share", [0.99, 0.5, 0.01])
def test_a_checkpoint_that_was_cut_off_is_refused(share: float, tmp_path: Path) -> None:
    whole = (FOLDER / "sgmse_ckpt_small" / "model.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="not readable as a PyTorch checkpoint; it is cut off, another kind of file"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"plain text " * 50, "not readable"), (bytes(5000), "not readable")],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path / "a.ckpt")


def test_what_holds_no_mapping_is_refused(tmp_path: Path) -> None:
    for value, name in (([1, 2], "list"), (torch.zeros(2), "Tensor")):
        torch.save(value, tmp_path / "a.ckpt")
        with pytest.raises(ValueError, match=f"holds a {name}, expected a mapping"):
            read_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_checkpoint(tmp_path / "missing.ckpt")


def test_reading_leaves_no_placeholders_behind(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(by_hand(tmp_path / "a.ckpt", call("lightning.x", "Y", "z")))
    assert set(torch.serialization.get_safe_globals()) == before
