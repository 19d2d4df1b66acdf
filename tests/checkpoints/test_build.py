"""From YAML to modules, and what a stranger's YAML must not reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gense
from gense.checkpoints.build import build, read_config
from tests.folders import config, head, write_model


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bool]]:
    """A module `stranger` outside gense; the fixture tells whether it has been imported."""
    mark = tmp_path / "imported"
    (tmp_path / "stranger.py").write_text(
        f"open({str(mark)!r}, 'w').close()\n"
        "from gense.processes import NoisyFlow\n"
        "class Path(NoisyFlow):\n    pass\n"
        "def sampler(field, x, times, *, callback=None):\n    return x\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield mark.exists
    sys.modules.pop("stranger", None)


def set_process(value: Any) -> Callable[[dict], None]:
    return lambda settings: head(settings).update(process=value)


def set_sampling(**values: Any) -> Callable[[dict], None]:
    return lambda settings: head(settings)["sampling"].update(values)


ATTEMPTS = {
    "class path": set_process({"class_path": "stranger.Path"}),
    "bare string": set_process("stranger.Path"),
    "JSON in a string": set_process('{"class_path": "stranger.Path"}'),
    "JSON higher up": lambda s: s["init_args"].update(head='{"init_args": {"process": "stranger.Path"}}'),
    "blanks around": set_process({"class_path": " stranger.Path\n"}),
    "letters of another script": set_process({"class_path": "stranger.\N{FULLWIDTH LATIN CAPITAL LETTER P}ath"}),
    "a file": set_process("/tmp/process.yaml"),
    "dotted key": lambda s: head(s).update({"process.class_path": "stranger.Path"}),
    "sampler": set_sampling(sampler="stranger.sampler"),
    "schedule": set_sampling(schedule="stranger.sampler"),
    "sampler as a class": set_sampling(sampler={"class_path": "stranger.Path"}),
    "sampler as JSON": set_sampling(sampler='{"class_path": "stranger.Path"}'),
    "options": set_sampling(options={"correct": {"class_path": "stranger.Path"}}),
    "list": lambda s: s["init_args"].update(wave_losses=[{"class_path": "stranger.Path"}]),
    "deep in a list": lambda s: head(s)["backbone"]["init_args"].update(channels=[8, [{"a": "stranger.Path"}]]),
    "the whole": lambda s: s.update(class_path="stranger.Path"),
    "not quite gense": set_process("gensense.Path"),
    "capitals": set_process("GENSE.processes.NoisyFlow"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_name_outside_gense_is_refused_and_not_imported(attempt: str, foreign: Callable[[], bool]) -> None:
    settings = config()
    ATTEMPTS[attempt](settings)
    with pytest.raises(ValueError, match=r"enhancer\.\S+: .* lies outside gense and was not imported; pass trust=True"):
        build(settings)
    assert not foreign()
    assert "stranger" not in sys.modules


def test_a_class_imported_elsewhere_is_not_taken_by_its_bare_name(foreign: Callable[[], bool]) -> None:
    settings = config()
    set_process("stranger.Path")(settings)
    build(settings, trust=True)
    set_process("Path")(settings)
    with pytest.raises(ValueError, match=r"process: 'stranger\.Path' lies outside gense"):
        build(settings)


@pytest.mark.parametrize("attempt", ["class path", "bare string", "sampler"])
def test_trust_imports_what_the_file_names(attempt: str, tmp_path: Path, foreign: Callable[[], bool]) -> None:
    settings = config()
    ATTEMPTS[attempt](settings)
    folder = write_model(tmp_path / "model")
    (folder / "method.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"method\.yaml: .*outside gense"):
        gense.load(folder, device="cpu")
    assert not foreign()
    model = gense.load(folder, device="cpu", trust=True)
    wav = 0.1 * torch.randn(1, 3000, generator=torch.Generator().manual_seed(0))
    assert model.enhance(wav).shape == wav.shape
    assert foreign()


@pytest.mark.parametrize("name", ["gense.checkpoints.fetch.os.system", "gense.checkpoints.fetch.shutil.rmtree"])
def test_functions_that_gense_imports_are_no_samplers(name: str, tmp_path: Path) -> None:
    settings = config()
    set_sampling(sampler=name)(settings)
    model = gense.load(write_model(tmp_path / "model", settings), device="cpu")
    with pytest.raises(ValueError, match="cannot be imported"):
        model.enhance(torch.ones(1, 1000))


def test_a_trusted_model_of_gense_alone_needs_no_trust() -> None:
    settings = config()
    head(settings)["sampling"] = {
        "sampler": "gense.samplers.euler_maruyama", "steps": 3, "schedule": "karras", "options": {"churn": 0.5},
        "schedule_options": {"rho": "1e0"},
    }  # fmt: skip
    assert build(settings).head.sampling.sampler == "gense.samplers.euler_maruyama"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: head(s).update(bogus=1), "enhancer.head: Option 'bogus' is not accepted"),
        (lambda s: head(s)["backbone"]["init_args"].update(blokcs=1), "enhancer.head.backbone: Option 'blokcs'"),
        (lambda s: s["init_args"].update(sampel_rate=1), "enhancer: Option 'sampel_rate' is not accepted"),
        (lambda s: head(s)["sampling"].update(stepz=1), "enhancer.head: .*'sampling' does not accept option 'stepz'"),
        (lambda s: head(s).update(t_eps="soon"), "enhancer.head.t_eps: expected float, got soon"),
        (lambda s: s["init_args"]["chunking"].update(secnods=1), "enhancer.chunking: Option 'secnods' is not accepted"),
        (lambda s: s["init_args"]["chunking"].update(batch="x"), "enhancer.chunking.batch: expected int, got x"),
        (lambda s: head(s).update(anchor=[1]), r"enhancer.head.anchor: expected str or null, got \[1\]"),
        (lambda s: s["init_args"]["level"].update(kind="loud"), r"enhancer.level.kind: expected Literal\['peak'.*loud"),
        (lambda s: head(s).pop("backbone"), "enhancer.head: the following arguments are required: backbone"),
        (lambda s: head(s)["backbone"].update(class_path="gense.backbones.UNett"), "no attribute 'UNett'"),
        (lambda s: head(s)["backbone"].update(class_path="gense.processes.NoisyFlow"), "not correspond to a subclass"),
        (lambda s: s["init_args"].update(sample_rate=8000), "'stft' works at 16000 Hz, the enhancer at 8000"),
        (lambda s: head(s)["process"].update(dict_kwargs={"a": 1}), "unexpected keyword argument 'a'"),
        (lambda s: s["init_args"].update(head=3), "enhancer.head: "),
    ],
)
def test_a_wrong_configuration_is_told_in_one_line_with_its_path(change: Callable, message: str) -> None:
    settings = config()
    change(settings)
    with pytest.raises(ValueError, match=message) as raised:
        build(settings)
    assert "\n" not in str(raised.value)


def test_a_configuration_that_contains_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="refers to itself"):
        build(yaml.safe_load("class_path: gense.Enhancer\ninit_args: &a {level: *a}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class_path: [", "not readable as YAML"),
        ("- a\n- b\n", "expected a mapping with class_path: gense.Enhancer and init_args"),
        ("init_args: {}", "expected a mapping with class_path"),
        ("", "expected a mapping with class_path"),
        ("a: !!python/object/apply:os.system ['true']", "not readable as YAML"),
        (b"\xff\xfe\x00bad", "not readable as YAML"),
    ],
)
def test_what_is_no_method_file_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    (tmp_path / "method.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path / "method.yaml")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_config(tmp_path / "other.yaml")
