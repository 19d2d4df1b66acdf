"""What a checkpoint from a stranger may ask for, found out before it is read: nothing beyond what its size can hold."""

from __future__ import annotations

import pickletools
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

# Shared objects in a pickle count again each time: nested, a kilobyte of them stands for more than any machine holds,
# and stands still in any code that walks or hashes them. Real checkpoints count some hundred thousand.
_MOST_OBJECTS = 10_000_000
# Callables that pass PyTorch's restricted unpickler and fill as much memory as a number in the file says
_ALLOCATING = ("builtins bytearray", "__builtin__ bytearray")
_PICKLES_IN_A_LEGACY_FILE = 5
_ZIP = b"PK\x03\x04"
# Weights that are tied, or that stand in an average, too, share their storage: then tensors exceed their file
_MOST_SHARED, _SMALL = 4, 1 << 20


def check_file(path: Path) -> None:
    """Look through a `torch.save` file, of today's kind (an archive) or the old one, without loading it.

    Raises:
        ValueError: compressed entries, which PyTorch does not write; entries that overlap; a tar archive, as PyTorch
            wrote until 2016; or a pickle that would not end, or allocates memory of any size.
    """
    with path.open("rb") as file:
        if file.read(4) == _ZIP:
            _check_archive(path)
        else:
            _refuse_tar(path)
            file.seek(0)
            for _ in range(_PICKLES_IN_A_LEGACY_FILE):
                _check_pickle(path, file)


def unreadable(path: Path) -> ValueError:
    """What to say of a file that is damaged in any way."""
    return ValueError(
        f"{path}: not readable as a PyTorch checkpoint; it is cut off, another kind of file, or a pickle with more "
        "than tensors and plain values. Nothing in it was executed"
    )


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError(f"{path}: holds compressed entries, which torch.save does not write; save it again")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError(f"{path}: its entries overlap; it was made to fill the memory")
            for entry in entries:
                if entry.filename.endswith(".pkl"):
                    with archive.open(entry) as file:
                        _check_pickle(path, file)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, OSError):
        raise unreadable(path) from None


def _refuse_tar(path: Path) -> None:
    try:
        with tarfile.open(path, "r:") as archive:
            if archive.next() is None:
                return
    except (tarfile.TarError, OSError, ValueError):
        return
    raise ValueError(f"{path}: a tar archive, as PyTorch wrote until 2016; load it there and save it again")


class _Item(NamedTuple):
    """An object on the stack: how many objects it stands for, and the name of a class or function."""

    objects: int
    name: str | None = None


_MARK = _Item(-1)


class _Stream:
    """A file for `pickletools`, which would make room for strings of any length that a pickle announces."""

    def __init__(self, file: IO[bytes], size: int):
        self._file, self._size = file, size

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, self._size))

    def readline(self) -> bytes:
        return self._file.readline()

    def tell(self) -> int:
        return self._file.tell()


def _check_pickle(path: Path, file: IO[bytes]) -> None:
    """Run through a pickle to its end, with counts in place of objects."""
    stack: list[_Item] = []
    memo: dict[int, _Item] = {}
    operations = pickletools.genops(_Stream(file, path.stat().st_size))  # type: ignore[arg-type]
    while True:
        try:
            opcode, argument, _ = next(operations)
            if opcode.name == "STOP":
                return
            _step(opcode, argument, stack, memo)
        except (ValueError, LookupError, OverflowError):
            raise unreadable(path) from None
        if stack and stack[-1].objects > _MOST_OBJECTS:
            raise ValueError(f"{path}: the pickle nests shared objects beyond measure; it was made to hang programs")
        if opcode.name in ("REDUCE", "NEWOBJ") and stack[-1].name in _ALLOCATING:
            raise ValueError(f"{path}: the pickle allocates memory by a number ({stack[-1].name}); it was refused")


def _step(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[_Item], memo: dict[int, _Item]) -> None:
    if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif opcode.name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif opcode.name == "DUP":
        stack.append(stack[-1])
    elif opcode.name == "MARK":
        stack.append(_MARK)
    else:
        taken: list[_Item] = []
        before = opcode.stack_before
        if pickletools.markobject in before:
            while stack[-1] is not _MARK:
                taken.append(stack.pop())
            stack.pop()
            before = before[: before.index(pickletools.markobject)]
        taken += [stack.pop() for _ in before]
        made = len(opcode.stack_after)
        name = str(argument) if opcode.name == "GLOBAL" else None
        if opcode.name in ("REDUCE", "NEWOBJ"):
            name = taken[-1].name  # of what is called
        stack += [_Item(1 + sum(item.objects for item in taken), name)] * made


def check_tensors(path: Path, checkpoint: Mapping[Any, Any]) -> None:
    """Refuse tensors that stand for more than the file holds: repeated by strides, sparse, or without any data.

    Raises:
        ValueError: says which kind.
    """
    size = path.stat().st_size
    total = 0
    seen: set[int] = set()
    waiting: list[Any] = [checkpoint]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
                raise ValueError(f"{path}: holds a sparse, quantised or empty tensor; expected plain ones")
            total += value.numel() * value.element_size()
            if total > _MOST_SHARED * size + _SMALL:
                raise ValueError(f"{path}: {size} bytes that stand for tensors of {total} or more; it was refused")
        elif isinstance(value, (Mapping, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, Mapping) else value)
