"""What the demo page does with methods and recordings, and that it talks to nobody."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import gense
from gense.cli import main
from gense.demo import page as demo_page
from gense.demo import work
from gense.demo.command import demo_parser, serve
from gense.demo.models import Models, _knobs, _sampler_names
from gense.demo.work import Choices, run
from tests.conftest import EXAMPLES
from tests.folders import noise_like_speech, write_model

gradio = pytest.importorskip("gradio")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a small model with random weights: Ornstein-Uhlenbeck, euler, 2 steps."""
    return str(write_model(tmp_path_factory.mktemp("demo") / "model"))


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    path = tmp_path / "noisy.wav"
    soundfile.write(path, noise_like_speech(12000, channels=2).T, 24000)
    return path


# -- methods ---------------------------------------------------------------------------------------------------------


def test_methods_on_this_machine_come_first_and_the_others_say_that_they_are_fetched() -> None:
    models = Models()
    offered = models.choices()
    on_disk = {method.name for method in gense.methods() if method.on_disk}
    assert {name for _, name in offered} == {method.name for method in gense.methods() if not method.unsupported}
    assert {name for _, name in offered[: len(on_disk)]} == on_disk
    assert all("fetched on first use" in label for label, _ in offered[len(on_disk) :])
    assert offered[0] == ("flowse/fast", "flowse/fast")
    assert "Fetched on first use" in models.about("sgmse/vbdmd")
    assert "bundled" not in models.about("sgmse/vbdmd")


def test_chosen_methods_are_the_only_ones(own: str) -> None:
    models = Models(["sgmse", own])
    assert models.choices() == [("sgmse/compact", "sgmse/compact"), (own, own)]
    with pytest.raises(ValueError, match="not on offer"):
        models.get("flowse/fast")
    with pytest.raises(ValueError, match="nearest: 'sgmse'"):
        Models(["sgmsee"])


def test_samplers_and_schedules_are_those_that_run(own: str) -> None:
    """Checked against the library itself: what is offered works, what is not raises."""
    models = Models([own, "meanflow", "bridge"])
    wav = torch.from_numpy(noise_like_speech(1000))
    for _, name in models.choices():
        enhancer, knobs = models.get(name), models.knobs(name)
        for sampler in set(_sampler_names()) - {"odeint"}:  # which can take thousands of calls before it gives up
            try:
                gense.enhance(wav, enhancer, sampler=sampler, steps=2)
                works = True
            except ValueError:
                works = False
            assert works == (sampler in knobs.samplers), (name, sampler)
    assert "predictor_corrector" in models.knobs(own).samplers
    assert "average" not in models.knobs(own).samplers
    assert "average" in models.knobs("meanflow/compact").samplers
    assert "bridge_ode" in models.knobs("bridge/compact").samplers
    assert (models.knobs(own).steps, models.knobs(own).sampler, models.knobs(own).schedule) == (2, "euler", "uniform")
    assert "karras" in models.knobs(own).schedules


def test_finding_out_leaves_the_network_as_it_was(own: str) -> None:
    wav = torch.from_numpy(noise_like_speech(3000))
    assert torch.equal(gense.enhance(wav, Models([own]).get(own)), gense.enhance(wav, own))


def test_deterministic_methods_have_nothing_to_choose() -> None:
    models = Models(["regression"])
    knobs = models.knobs("regression/compact")
    assert (knobs.steps, knobs.samplers, knobs.schedules, knobs.text) == (None, (), (), False)
    settings = demo_page.controls(models, "regression/compact")
    assert [settings[key]["interactive"] for key in ("steps", "sampler", "schedule", "seed")] == [False] * 4


def test_methods_that_are_not_here_offer_everything_and_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(["sgmse/vbdmd"])
    if models.here("sgmse/vbdmd"):
        pytest.skip("these weights are on this machine")
    monkeypatch.setattr("gense.demo.models.load", lambda name: pytest.fail(f"loads {name}"))
    settings = demo_page.controls(models, "sgmse/vbdmd")
    assert settings["steps"]["value"] is None
    assert settings["sampler"]["interactive"]
    assert settings["text"]["visible"]


def test_enhancers_are_loaded_once_and_the_oldest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [str(write_model(tmp_path / str(index))) for index in range(3)]
    models = Models(names)
    monkeypatch.setattr("gense.demo.models.KEPT", 2)
    loaded = []
    monkeypatch.setattr("gense.demo.models.load", lambda name: loaded.append(name) or gense.load(name))
    first = models.get(names[0])
    assert models.get(names[0]) is first
    for name in names[1:]:
        models.get(name)
    assert loaded == names
    assert models.get(names[1]) is models.get(names[1])
    assert models.get(names[0]) is not first
    assert loaded == [*names, names[0]]


# -- recordings ------------------------------------------------------------------------------------------------------


def test_a_recording_comes_back_as_the_library_makes_it_with_what_it_cost(
    noisy: Path, own: str, tmp_path: Path
) -> None:
    models = Models([own])
    result = run(noisy, models, Choices(own, steps=3, sampler="heun", schedule="cosine", seed=5), tmp_path)
    wav, rate = soundfile.read(noisy, dtype="float32")
    expected = gense.enhance(wav.T, own, sample_rate=rate, steps=3, sampler="heun", schedule="cosine", seed=5)
    out, out_rate = soundfile.read(result.audio, dtype="float32")
    assert out_rate == rate
    np.testing.assert_allclose(out.T, np.clip(expected, -1, 1), atol=2**-14)
    # 2 channels; a step of Heun calls twice, the last one once
    assert f"{own}, heun, cosine, 3 steps, seed 5: 10 network calls" in result.summary
    assert "for 0.50 s of audio, real-time factor " in result.summary
    assert result.picture.read_bytes().startswith(b"\x89PNG")


def test_deterministic_methods_say_so(noisy: Path, tmp_path: Path) -> None:
    result = run(noisy, Models(["regression"]), Choices("regression/compact"), tmp_path)
    assert result.summary.startswith("regression/compact, deterministic: 2 network calls, ")


def test_there_is_no_picture_of_next_to_nothing(own: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "click.wav", noise_like_speech(300), 16000)
    result = run(tmp_path / "click.wav", Models([own]), Choices(own), tmp_path)
    assert result.picture is None
    assert soundfile.info(result.audio).frames == 300


def test_long_recordings_are_pictured_in_part(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}

    def draw(path, before, after, rate, titles):
        drawn.update(shapes=[before.shape, after.shape], titles=titles)

    monkeypatch.setattr(work, "save_comparison", draw)
    monkeypatch.setattr(work, "PICTURED", 0.25)
    soundfile.write(tmp_path / "long.wav", noise_like_speech(8000, channels=2).T, 16000)
    run(tmp_path / "long.wav", Models([own]), Choices(own), tmp_path)
    assert drawn["shapes"] == [(4000,), (4000,)]
    assert drawn["titles"][0] == "before, first 0.25 s, first channel"


def test_limits_are_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(60 * work.MINUTES * 1000 + 1000, np.int16), 1000)
    with pytest.raises(ValueError, match=r"long\.wav: 10\.0 minutes long; this page takes up to 10 minutes"):
        work.checked_seconds(long)
    monkeypatch.setattr(work, "MEGABYTES", 1)
    with pytest.raises(ValueError, match="1 MB; this page takes up to 1 MB"):
        work.checked_seconds(long)
    models = Models(["flowse"])
    monkeypatch.setattr(models, "get", lambda name: pytest.fail("loads a method"))
    with pytest.raises(ValueError, match="takes up to"):
        run(long, models, Choices("flowse/fast"), tmp_path)


# -- the page's functions ----------------------------------------------------------------------------------------------


def press(models: Models, folder: Path, source: Path | None, method: str, **values):
    given = {"steps": None, "sampler": "", "schedule": "", "seed": 0, "text": "", **values}
    return demo_page.enhance_upload(models, folder, source and str(source), method, *given.values())


def test_what_the_page_holds_becomes_arguments(noisy: Path, own: str, tmp_path: Path) -> None:
    audio, picture, status = press(Models([own]), tmp_path, noisy, own, steps=1, sampler="exponential")
    assert Path(audio).name == "noisy.enhanced.wav"
    assert Path(picture).exists()
    assert "exponential, uniform, 1 step, seed 0: 2 network calls" in status


@pytest.mark.parametrize(
    ("content", "values", "message"),
    [
        (b"no audio at all", {}, "broken &lt;b&gt;.wav: cannot be read as audio"),
        (b"", {}, "broken &lt;b&gt;.wav: the file is empty"),
        (None, {"sampler": "average"}, "no average velocity"),
        (None, {"text": "hello"}, "reads no transcript"),
        (None, {"seed": -1}, "seed=-1"),
    ],
)
def test_errors_are_readable_and_hide_where_uploads_lie(
    content: bytes | None, values: dict, message: str, noisy: Path, own: str, tmp_path: Path
) -> None:
    source = noisy
    if content is not None:
        source = tmp_path / "broken <b>.wav"
        source.write_bytes(content)
    with pytest.raises(gradio.Error) as caught:
        press(Models([own]), tmp_path, source, own, **values)
    assert message in caught.value.message
    assert str(tmp_path) not in caught.value.message
    assert caught.value.print_exception is False


def test_enhancing_nothing_asks_for_a_recording(own: str, tmp_path: Path) -> None:
    with pytest.raises(gradio.Error, match="no recording yet"):
        press(Models([own]), tmp_path, None, own)


def test_a_transcript_can_be_given_to_methods_that_read_one(tmp_path: Path) -> None:
    from tests.tiny_text import tiny_text

    models = Models(["flowse"])
    models._loaded["flowse/fast"] = (tiny_text(), _knobs(tiny_text()))
    settings = demo_page.controls(models, "flowse/fast")
    assert settings["text"]["visible"]
    assert "which this method reads" in settings["text"]["label"]


def test_results_of_an_hour_ago_are_removed(own: str, tmp_path: Path) -> None:
    models, folder, click = Models([own]), tmp_path / "results", tmp_path / "click.wav"
    soundfile.write(click, noise_like_speech(300), 16000)
    folder.mkdir()
    press(models, folder, click, own)
    (old,) = folder.iterdir()
    os.utime(old, (1, 1))
    press(models, folder, click, own)
    (new,) = folder.iterdir()
    assert new != old


def test_the_example_is_the_clip_of_a_working_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert demo_page.example_clip() == EXAMPLES / "noisy.wav"
    monkeypatch.setattr(demo_page, "__file__", str(tmp_path / "site-packages/gense/demo/page.py"))
    assert demo_page.example_clip() is None


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_page_listens_on_this_machine_only_and_asks_nobody(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Served for a moment, with every connection of the process recorded."""
    asked = set()
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def recorded(self, address):
        asked.add(address[0])
        return connect(self, address)

    def looked_up(host, *args, **kwargs):
        asked.add(host)
        return look_up(host, *args, **kwargs)

    launched = {}
    launch = gradio.Blocks.launch

    def launching(self, **settings):
        launched.update(settings, analytics=self.analytics_enabled, page=self)
        return launch(self, **settings)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(gradio.Blocks, "launch", launching)
    monkeypatch.setattr(gradio.Blocks, "block_thread", lambda self: self.close())
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    serve(Models([own]), tmp_path, port=free_port())
    assert asked <= {"127.0.0.1", "localhost", "::1"}
    assert (launched["analytics"], launched["share"], launched["server_name"]) == (False, False, "127.0.0.1")
    assert launched["page"].config["analytics_enabled"] is False
    assert launched["max_file_size"] == "200mb"
    assert os.environ["GRADIO_TEMP_DIR"].startswith(str(tmp_path))
    out, err = capsys.readouterr()
    assert "gense demo: http://127.0.0.1:" in out
    assert "password" not in err


def test_the_defaults_stay_on_this_machine() -> None:
    settings = demo_parser().parse_args([])
    assert (settings.host, settings.port, settings.methods, settings.open) == ("127.0.0.1", 7860, [], False)


def test_the_command_says_what_is_wrong(own: str, capsys) -> None:
    assert main(["demo", "--methods", "sgmsee"]) == 1
    assert "gense demo: method 'sgmsee' unknown; nearest: 'sgmse'" in capsys.readouterr().err
    assert main(["demo", "--methods", own, "--port", "70000"]) == 1
    assert "port=70000: expected 1 to 65535" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--methods", own, "--port", str(port)]) == 1
    assert f"{port}" in capsys.readouterr().err


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ImportError, match=r"gradio is not installed: pip install gense\[page\]"):
        demo_page.gradio()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
