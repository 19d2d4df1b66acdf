"""Checkpoints and configurations that were made to crash, hang or fill the memory of whoever loads them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from tests.folders import config, head, write_model
from tests.fuzz.mutations import mutated
from tests.fuzz.sandbox import Sandbox
from tests.fuzz.test_audio_files import quiet
from tests.parity.fixtures import FOLDER

TENSORS = save({"a": torch.ones(3, 4), "b": torch.arange(5)})


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def repacked(pickled: bytes | None = None, compression: int = zipfile.ZIP_STORED, value: Any = None) -> bytes:
    """A zip checkpoint around opcodes of one's own, or with compressed entries."""
    source = zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(4)} if value is None else value)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in source.namelist():
            own = pickled is not None and name.endswith("data.pkl")
            archive.writestr(name, pickled if own and pickled is not None else source.read(name))
    return buffer.getvalue()


def shared_key(depth: int) -> bytes:
    """Opcodes of {key: 1} whose key is a tuple of twice the same tuple of twice the same tuple ..., by the memo."""
    levels = b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(depth))
    return b"\x80\x02K\x01\x85q\x00" + levels + b"}h" + bytes([depth]) + b"K\x01s."


def overlapping() -> bytes:
    """A zip checkpoint of several tensors whose directory points at the bytes of the largest for each of them."""
    content = bytearray(repacked(value={"a": torch.zeros(9000), "b": torch.zeros(1), "c": torch.zeros(1)}))
    large, *small = [e for e in zipfile.ZipFile(io.BytesIO(content)).infolist() if "/data/" in e.filename]
    for place in small:
        at = content.rindex(place.filename.encode()) - 46  # its place in the directory; sizes and offset stand before
        content[at + 20 : at + 28] = 2 * large.file_size.to_bytes(4, "little")
        content[at + 42 : at + 46] = large.header_offset.to_bytes(4, "little")
    return bytes(content)


def long_number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little")


def tensors_file(header: dict[str, Any] | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (repacked(shared_key(60)), "nests shared objects beyond measure"),  # hashing it never ends
        (repacked(b"\x80\x02}K\x01" + b"(K\x01t" + b"2\x86" * 60 + b"s."), "nests shared objects beyond measure"),
        (
            repacked(b"\x80\x02}K\x01c__builtin__\nbytearray\n" + long_number(10**10) + b"\x85Rs."),
            r"allocates memory by a number \(__builtin__ bytearray\)",
        ),
        (repacked(value={"a": torch.zeros(2**20)}, compression=zipfile.ZIP_DEFLATED), "holds compressed entries"),
        (saved({"a": torch.zeros(1).expand(2**40)}), "bytes that stand for tensors of 4398046511104 or more"),
        (saved({"a": [{"b": torch.zeros(1).expand(2**40)}]}), "bytes that stand for tensors"),
        (saved({"a": torch.empty(2**40, device="meta")}), "sparse, quantised or empty tensor"),
        (
            saved({"a": torch.sparse_coo_tensor([[0], [1]], [1.0], (2**30, 2**30), check_invariants=False)}),
            "sparse, quantised or empty tensor",
        ),
        (b"\x80\x02M\xe9\x03.\x80\x02X\x00\x00\x00\x7f", "not readable as a PyTorch checkpoint"),  # a string of 2 GB
        (repacked(b"\x80\x02]q\x00h\x00a."), "holds a list, expected a mapping"),  # a list that holds itself
    ],
)
def test_hostile_pickles_are_refused(sandbox: Sandbox, content: bytes, message: str) -> None:
    kind, told = sandbox.run("pickle", content, "a.ckpt")
    assert kind == "ValueError"
    with pytest.raises(ValueError, match=message):
        raise ValueError(told)


def test_archives_of_other_kinds_are_refused(sandbox: Sandbox) -> None:
    """PyTorch would unpack an old tar file into the temporary folder, links and all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert "a tar archive" in sandbox.run("pickle", buffer.getvalue(), "a.ckpt")[1]
    assert "its entries overlap" in sandbox.run("pickle", overlapping(), "a.ckpt")[1]


def test_what_is_deeply_nested_is_read_or_refused(sandbox: Sandbox) -> None:
    for opcodes in (b"]" * 20000 + b"a" * 19999, b")" + b"\x85" * 20000):
        sandbox.run("load", repacked(b"\x80\x02}K\x01" + opcodes + b"s."), "a.ckpt")
        sandbox.run("load", repacked(b"\x80\x02}" + opcodes + b"K\x01s."), "a.ckpt")


@pytest.mark.parametrize(
    "content",
    [
        tensors_file({"a": entry([1], [0, 4])}, bytes(4), length=2**63),
        tensors_file({"a": entry([1], [0, 4])}, bytes(4), length=10**9),
        tensors_file({"a": entry([2**62], [0, 4])}, bytes(4)),
        tensors_file({"a": entry([2**32, 2**32], [0, 0])}),
        tensors_file({"a": entry([1], [0, 4]), "b": entry([1], [0, 4])}, bytes(4)),  # the same bytes twice
        tensors_file({"a": entry([1], [0, 4]), "b": entry([1], [2, 6])}, bytes(6)),
        tensors_file({"a": entry([1], [4, 8])}, bytes(8)),
        tensors_file({"a": entry([1], [4, 0])}, bytes(4)),
        tensors_file({"a": entry([-1], [0, 4])}, bytes(4)),
        tensors_file({"a": entry([1], [0, 4], "F33")}, bytes(4)),
        tensors_file({"a": entry([1], [0, 8])}, bytes(8)),
        tensors_file({"a": entry([1], [0, 4]), "__metadata__": {"x": 1}}, bytes(4)),
        tensors_file(b"[" * 100000),
        tensors_file(b'{"a":' * 100000),
        tensors_file(b"{}", bytes(4)),
        b"",
        bytes(8),
    ],
)
def test_hostile_safetensors_are_refused(sandbox: Sandbox, content: bytes) -> None:
    kind, told = sandbox.run("tensors", content, "model.safetensors")
    assert (kind, "not readable as safetensors" in told) == ("ValueError", True), told


@pytest.mark.parametrize(
    ("weight", "scale"),
    [((1, 1000), (1000, 1)), ((1, 100000), (100000,)), ((4,), (4,)), ((4, 2), ()), ((4, 2), (4, 2)), ((), ())],
)
def test_scales_do_not_multiply_the_size_of_a_file(sandbox: Sandbox, weight: tuple, scale: tuple) -> None:
    """A row of n weights and n scales would make n^2 numbers."""
    content = save({"a": torch.ones(weight, dtype=torch.int8), "a#scale": torch.ones(scale)})
    told = sandbox.run("tensors", content, "model.safetensors")
    assert told[0] == "ValueError"
    assert "a#scale belongs to no tensor of this file" in told[1]


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS + "class_path: *h", "aliases stand for more than 100000 values"),
        ("a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in
                                    zip("abcdefg", "bcdefgh", strict=True)), "stand for more than"),
        ("class_path: &a [*a]", "refers to itself"),
        ("class_path: &a {init_args: *a}", "refers to itself"),
        ("[" * 5000, "not readable as YAML"),
        ("{a: " * 5000, "not readable as YAML"),
        ("- " * 5000, "not readable as YAML"),
        ("a: " + "9" * 5000, "not readable as YAML"),
        ("a: 2020-99-99", "not readable as YAML"),
        ("a: !!python/object/apply:os.system [true]", "not readable as YAML"),
        ("a: !!set [1]", "not readable as YAML"),
        ("? {a: b}\n: c", "not readable as YAML"),
        ("a: \x00", "not readable as YAML"),
        ("x" * (2 << 20), "larger than 1048576 bytes"),
        ("class_path: 5", ""),
        ("class_path: gense.Enhancer\ninit_args: 3", ""),
        ("class_path: gense.Enhancer\ninit_args: {1: 2}", ""),
        ("class_path: [gense.Enhancer]", ""),
        ("class_path: gense.Enhancer\n1: 2", ""),
        ("class_path: gense.Enhancer\ninit_args: {head: {class_path: gense.Enhancer}}", ""),
    ],
)  # fmt: skip
def test_hostile_configurations_are_refused(sandbox: Sandbox, text: str, message: str) -> None:
    kind, told = sandbox.run("build", text.encode(), "method.yaml")
    assert kind == "ValueError"
    assert message in told


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("fuzz") / "model")


def changed(settings: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    """A configuration in which the value at a path inside its head's arguments has been replaced."""
    inner = head(settings) if path[0] != "enhancer" else settings["init_args"]
    for key in path[1:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return settings


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("head", "backbone", "init_args", "channels"), [10**9, 10**9]),
        (("head", "backbone", "init_args", "channels"), [10**6, 10**6]),
        (("head", "backbone", "init_args", "channels"), [30000, 30000]),
        (("head", "backbone", "init_args", "channels"), [8] * 100),
        (("head", "backbone", "init_args", "channels"), []),
        (("head", "backbone", "init_args", "channels"), [-8, 16]),
        (("head", "backbone", "init_args", "blocks"), 10**9),
        (("head", "backbone", "init_args", "blocks"), 10**6),
        (("head", "backbone", "init_args", "blocks"), -1),
        (("head", "backbone", "init_args", "time_dim"), 10**6),
        (("head", "sampling", "steps"), 10**9),
        (("enhancer", "representations", "stft", "init_args", "n_fft"), 10**9),
        (("enhancer", "representations", "stft", "init_args", "n_fft"), 0),
        (("enhancer", "sample_rate"), 10**12),
    ],
)
def test_absurd_sizes_are_refused_before_memory_is_taken(
    sandbox: Sandbox, model: Path, tmp_path: Path, path: tuple[str, ...], value: Any
) -> None:
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes())
    (tmp_path / "method.yaml").write_text(yaml.safe_dump(changed(config(), *path, to=value)))
    assert sandbox.run_path("load", tmp_path)[0] == "ValueError"


def test_good_files_pass_the_sandbox(sandbox: Sandbox, model: Path) -> None:
    """Otherwise the tests of refusals would pass whatever is read."""
    assert sandbox.run_path("load", model)[0] == "ok"
    assert sandbox.run_path("load", FOLDER / "sgmse_ckpt_small" / "model.ckpt")[0] == "ok"
    assert sandbox.run("tensors", TENSORS, "model.safetensors")[0] == "ok"
    old = saved({"a": torch.zeros(4)}, _use_new_zipfile_serialization=False)
    assert sandbox.run("pickle", old, "a.ckpt")[0] == "ok"
    assert sandbox.run("pickle", repacked(shared_key(10)), "a.ckpt")[0] == "ok"


@st.composite
def mutated_pickle(draw: st.DrawFn) -> bytes:
    """A checkpoint as a whole, of both kinds, or today's kind around a mutated pickle."""
    value = {"state_dict": {"a": torch.zeros(4, 2)}, "epoch": 3, "hyper_parameters": {"x": [1.5, "y", (None, True)]}}
    if draw(st.booleans()):
        return draw(mutated(saved(value, _use_new_zipfile_serialization=draw(st.booleans())), header=600))
    archive = zipfile.ZipFile(io.BytesIO(saved(value)))
    return repacked(draw(mutated(archive.read("archive/data.pkl"))), value=value)


CASES: dict[str, tuple[str, str, st.SearchStrategy[bytes]]] = {
    "safetensors": ("tensors", "model.safetensors", mutated(TENSORS)),
    "pickle": ("pickle", "a.ckpt", mutated_pickle()),
    "yaml": ("yaml", "method.yaml", mutated(yaml.safe_dump(config()).encode(), header=1000)),
}


def fuzz(sandbox: Sandbox, case: str, examples: int, *, fixed: bool) -> None:
    task, name, contents = CASES[case]

    @quiet(examples, fixed=fixed)
    @given(contents)
    def run(content: bytes) -> None:
        sandbox.run(task, content, name)

    run()


@pytest.mark.parametrize("case", CASES)
def test_mutated_checkpoints_are_read_or_refused(sandbox: Sandbox, case: str) -> None:
    fuzz(sandbox, case, 60, fixed=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_many_mutated_checkpoints_are_read_or_refused(sandbox: Sandbox, case: str) -> None:
    fuzz(sandbox, case, 5000, fixed=False)


@st.composite
def mutated_config(draw: st.DrawFn) -> bytes:
    """A configuration in which values have been replaced by others of any type, and keys left out."""
    settings = config()
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                collect(node[key])

    collect(settings)
    for _ in range(draw(st.integers(1, 3))):
        inside, key = draw(st.sampled_from(places))
        inside[key] = draw(
            st.one_of(
                st.integers(-3, 40), st.sampled_from([2**16, 2**20, 2**31, 2**63, 10**30]), st.floats(), st.none(),
                st.booleans(), st.sampled_from(["", "gense.Enhancer", "gense.backbones.UNet", "stft", "os.system"]),
                st.lists(st.integers(-1, 2**20), max_size=5), st.dictionaries(st.text(max_size=3), st.integers(0, 9)),
            )
        )  # fmt: skip
    return yaml.safe_dump(settings).encode()


def fuzz_models(sandbox: Sandbox, model: Path, examples: int, *, fixed: bool) -> None:
    weights = (model / "model.safetensors").read_bytes()
    (sandbox.folder / "model.safetensors").write_bytes(weights)

    @quiet(examples, fixed=fixed)
    @given(mutated_config())
    def run(content: bytes) -> None:
        (sandbox.folder / "method.yaml").write_bytes(content)
        sandbox.run_path("load", sandbox.folder)

    run()


def test_mutated_models_are_loaded_or_refused(sandbox: Sandbox, model: Path) -> None:
    fuzz_models(sandbox, model, 10, fixed=True)


@pytest.mark.slow
def test_many_mutated_models_are_loaded_or_refused(sandbox: Sandbox, model: Path) -> None:
    fuzz_models(sandbox, model, 1000, fixed=False)
