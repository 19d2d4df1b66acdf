"""The `gense` command: many files, its other commands, and that its flags are the API's arguments."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import gense
from gense.cli import enhance_parser, main
from gense.files import enhance_files
from tests.folders import noise_like_speech, write_model
from tests.parity.fixtures import FOLDER

CHECKPOINT = FOLDER / "sgmse_ckpt_small" / "model.ckpt"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("cli") / "model"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(path: str, rate: int = 16000, subtype: str = "PCM_16", channels: int = 1, samples: int = 3000) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise_like_speech(samples, channels=channels).T, rate, subtype=subtype)
    return Path(path)


def files(folder: str = ".") -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def enhance(*args: str, model: str) -> int:
    return main(["enhance", *args, "--method", model, "--device", "cpu", "--steps", "1"])


# -- gense enhance ---------------------------------------------------------------------------------------------------


def test_one_file_to_a_name_of_its_own_is_what_the_api_gives(here: Path, model: str, capsys) -> None:
    source = sound("in.wav", rate=22050, subtype="FLOAT", channels=2)
    assert enhance("in.wav", "-o", "out.wav", "--seed", "3", model=model) == 0
    assert capsys.readouterr().out == "out.wav\n"
    wav = soundfile.read(source, dtype="float32")[0].T
    expected = gense.enhance(wav, model, sample_rate=22050, steps=1, seed=3, device="cpu")
    np.testing.assert_array_equal(soundfile.read("out.wav", dtype="float32")[0].T, expected)
    assert files() == ["in.wav", "out.wav"]


def test_several_files_go_into_a_folder_with_names_and_formats_kept(here: Path, model: str) -> None:
    given = [sound("a.wav", 16000, "PCM_24"), sound("b.flac", 48000, channels=2), sound("c.ogg", 8000, "VORBIS")]
    assert enhance("a.wav", "b.flac", "c.ogg", "-o", "new/clean", model=model) == 0
    assert files("new/clean") == ["a.wav", "b.flac", "c.ogg"]
    for source in given:
        before, after = soundfile.info(source), soundfile.info(Path("new/clean") / source)
        for what in ("format", "subtype", "samplerate", "channels", "frames"):
            assert getattr(before, what) == getattr(after, what)


def test_folders_are_walked_and_their_tree_is_kept(here: Path, model: str) -> None:
    for name in ("in/a.wav", "in/x/a.wav", "in/x/y/B.WAV", "in/x/notes.txt", "in/.hidden.wav"):
        sound(name) if name.lower().endswith("wav") else Path(name).write_text("no audio")
    assert enhance("in", "-o", "out", model=model) == 0
    assert files("out") == ["a.wav", "x/a.wav", "x/y/B.WAV"]


def test_patterns_are_expanded_where_the_shell_did_not(here: Path, model: str) -> None:
    for name in ("in/a1.wav", "in/a2.wav", "in/b.wav", "in/deep/a3.wav"):
        sound(name)
    assert enhance("in/**/a*.wav", "-o", "out", model=model) == 0
    assert files("out") == ["a1.wav", "a2.wav", "a3.wav"]


def test_a_file_named_twice_is_enhanced_once(here: Path, model: str, capsys) -> None:
    sound("in/a.wav")
    assert enhance("in/a.wav", "in/*.wav", "in", "-o", "out", model=model) == 0
    assert capsys.readouterr().out.count("a.wav") == 1


def test_results_inside_the_input_folder_are_no_inputs(here: Path, model: str) -> None:
    sound("talks/a.wav")
    for _ in range(2):
        assert enhance("talks", "-o", "talks/clean", model=model) == 0
    assert files() == ["talks/a.wav", "talks/clean/a.wav"]


def test_resume_skips_what_is_there(here: Path, model: str, capsys) -> None:
    sound("in/a.wav")
    sound("in/b.wav")
    Path("out").mkdir()
    Path("out/a.wav").write_bytes(b"finished before")
    assert enhance("--resume", "in", "-o", "out", model=model) == 0
    assert Path("out/a.wav").read_bytes() == b"finished before"
    captured = capsys.readouterr()
    assert captured.out == "out/b.wav\n"
    assert captured.err == "skipped 1 finished files\n"
    assert enhance("in", "-o", "out", "--resume", model="no such model, and none needed") == 0
    assert enhance("in", "-o", "out", model=model) == 0
    assert soundfile.info("out/a.wav").frames == 3000


def test_a_bad_file_among_good_ones_is_listed_at_the_end(here: Path, model: str, capsys) -> None:
    sound("in/a.wav")
    sound("in/z.wav")
    Path("in/deep").mkdir()
    Path("in/deep/bad.wav").write_bytes(b"no audio at all")
    Path("in/empty.flac").write_bytes(b"")
    whole = sound("in/cut.wav").read_bytes()
    Path("in/cut.wav").write_bytes(whole[:3000])
    assert enhance("in", "-o", "out", model=model) == 1
    captured = capsys.readouterr()
    assert captured.out.split() == ["out/a.wav", "out/z.wav"]
    lines = captured.err.strip().splitlines()
    assert lines[0] == "gense enhance: 3 of 5 files failed:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["in/cut.wav", "in/deep/bad.wav", "in/empty.flac"]
    assert "in/empty.flac: the file is empty (0 bytes)" in lines[3]
    assert files("out") == ["a.wav", "z.wav"]  # nothing of the bad ones, no temporary file
    assert not Path("out/deep").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["missing.wav", "-o", "out"], "missing.wav: no such file or folder"),
        (["no/*.wav", "-o", "out"], "no/*.wav: no such file or folder"),
        (["empty", "-o", "out"], "empty: no audio files (.wav, "),
        (["a.wav", "-o", "a.wav"], "output a.wav is the input itself: give another folder or name"),
        (["a.wav", "x/b.wav", "-o", "."], "output a.wav is the input itself"),
        (["x", "-o", "x"], "is the input itself"),
        (["a.wav", "x/a.wav", "-o", "out"], "a.wav and x/a.wav would both be written to out/a.wav: give the folder"),
        (["a.wav", "x/b.wav", "-o", "out.wav"], "output out.wav is a file name, but there may be several inputs"),
        (["x", "-o", "a.wav"], "output a.wav is a file name, but there may be several inputs"),
        (["a.wav", "x/b.wav", "-o", "notes.txt"], "output notes.txt is a file name"),
        (["x", "-o", "notes.txt/deep"], "output notes.txt/deep: notes.txt is a file; give another folder"),
        (["a.wav", "-o", "out.m4a"], "out.m4a: unknown audio format '.m4a'; use .wav, .flac, .ogg or .mp3"),
        (["a.wav", "-o", "out.wav", "--seed", "-1"], "seed=-1: need a whole number"),
        (["a.wav", "-o", "out.wav", "--steps", "0"], "steps=0: need a whole number, at least 1"),
        (["a.wav", "-o", "out.wav", "--sampler", "huen"], "'huen' is none of "),
        (["a.wav", "-o", "out.wav", "--schedule", "unifrom"], "nearest: 'uniform'"),
        (["a.wav", "-o", "out.wav", "--options.snr", "1"], "unexpected option 'snr': sampler euler takes none; "),
        (["a.wav", "-o", "out.wav", "--method", "flows"], "method 'flows' unknown; nearest: 'flowse'"),
        (["a.wav", "-o", "out.wav", "--device", "quantum"], "device='quantum' cannot be used"),
        (["a.wav", "-o", "out.wav", "--dtype", "int8"], "dtype='int8': expected one of"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is_written(
    here: Path, model: str, capsys, args: list[str], message: str
) -> None:
    sound("a.wav")
    sound("x/a.wav")
    sound("x/b.wav")
    Path("notes.txt").write_text("mine")
    Path("empty").mkdir()
    before = files()
    assert main(["enhance", "--method", model, "--device", "cpu", *args]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 or (len(lines) == 2 and "1 of 1 files failed" in lines[0])
    assert files() == before
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a.wav", "-o", "b.wav", "--steps", "many"], "steps: expected int or null, got many"),
        (["a.wav", "-o", "b.wav", "--steps", "1.5"], "steps: expected int or null, got 1.5"),
        (["a.wav", "-o", "b.wav", "--seed", "x"], "seed: expected int, got x"),
        (["a.wav", "-o", "b.wav", "--stepz", "2"], "unrecognized arguments: --stepz 2"),
        (["a.wav"], "the following arguments are required: output"),
        ([], "the following arguments are required: inputs, output"),
    ],
)
def test_a_wrong_command_line_is_said_in_one_line(here: Path, capsys, args: list[str], message: str) -> None:
    assert main(["enhance", *args]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"gense enhance: {message}")
    assert captured.err.endswith("; see gense enhance --help\n")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("options", [["--options.snr", "0.3"], ["--options", '{"snr": 0.3}']])
def test_options_reach_the_sampler_in_either_spelling(here: Path, model: str, options: list[str]) -> None:
    sound("a.wav", subtype="FLOAT")
    assert enhance("a.wav", "-o", "b.wav", "--sampler", "predictor_corrector", *options, model=model) == 0
    wav = soundfile.read("a.wav", dtype="float32")[0]
    expected = gense.enhance(wav, model, sampler="predictor_corrector", snr=0.3, steps=1, device="cpu")
    np.testing.assert_array_equal(soundfile.read("b.wav", dtype="float32")[0], expected)
    other = gense.enhance(wav, model, sampler="predictor_corrector", snr=0.4, steps=1, device="cpu")
    assert not np.array_equal(expected, other)


def test_an_option_may_have_the_name_of_a_flag(here: Path, model: str) -> None:
    sound("a.wav", subtype="FLOAT")
    fixed = ["--sampler", "odeint", "--options.solver", "midpoint", "--options.end", "0.03"]
    assert enhance("a.wav", "-o", "b.wav", *fixed, model=model) == 0
    assert enhance("a.wav", "-o", "c.wav", "--sampler", "midpoint", "--options.end", "0.03", model=model) == 0
    b, c = (soundfile.read(name)[0] for name in ("b.wav", "c.wav"))
    np.testing.assert_allclose(b, c, atol=1e-3 * np.abs(c).max())


def test_every_flag_is_an_argument_of_the_api_with_its_default() -> None:
    parser = enhance_parser()
    flags = vars(parser.get_defaults())
    arguments = inspect.signature(enhance_files).parameters
    assert set(flags) == set(arguments)
    for name, argument in arguments.items():
        if argument.default is not inspect.Parameter.empty and name != "options":
            assert flags[name] == argument.default, name
    help_text = parser.format_help()
    for name in set(arguments) - {"inputs"}:
        assert f"--{name}" in help_text
    # and the file's arguments are those of one piece of audio, as far as they make sense for many files
    of_one = set(inspect.signature(gense.enhance).parameters)
    assert set(arguments) - of_one == {
        "inputs", "dtype", "compile", "trust", "resume", "text_file", "transcripts"
    }  # fmt: skip


# -- the other commands ----------------------------------------------------------------------------------------------


def test_methods_lists_rate_size_licence_and_source(capsys) -> None:
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "RATE", "WEIGHTS", "LICENCE", "SOURCE"]
    assert len(lines) == 1 + len(gense.methods())
    assert any(line.startswith("flowse/fast (default)") and "Apache-2.0" in line for line in lines)
    assert any(line.startswith("sgmse/ears-wham ") and "48000 Hz" in line for line in lines)


def test_info_tells_of_a_checkpoint_and_of_a_folder(model: str, capsys) -> None:
    assert main(["info", str(CHECKPOINT)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("format: sgmse\n")
    for text in ("sample rate: 16000 Hz", "parameters: 124,862", "predictor_corrector", "kind='peak'", "seconds=20.0"):
        assert text in out
    assert main(["info", model]) == 0
    out = capsys.readouterr().out
    assert "format" not in out
    assert "sampler='euler', steps=2" in out


def test_convert_writes_a_folder_that_loads(here: Path, capsys) -> None:
    assert main(["convert", str(CHECKPOINT), "new/model"]) == 0
    assert "gense.load('new/model')" in capsys.readouterr().out
    assert files() == ["new/model/method.yaml", "new/model/model.safetensors"]
    assert gense.load("new/model", device="cpu").sample_rate == 16000


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["convert", "missing.ckpt", "out"], "gense convert: missing.ckpt: no such file"),
        (["convert", str(CHECKPOINT), "file"], "gense convert: file is a file: give a folder"),
        (["convert", "file", "out"], "gense convert: file: not readable as a PyTorch checkpoint"),
        (["info", "flowze"], "gense info: method 'flowze' unknown; nearest: 'flowse'"),
        (["info", "missing.ckpt"], "gense info: missing.ckpt: no such file or folder, and no method has that name"),
        (["info", "empty"], "gense info: empty: no method.yaml in this folder"),
    ],
)
def test_other_commands_fail_in_one_line(here: Path, capsys, args: list[str], message: str) -> None:
    Path("file").write_text("not a checkpoint")
    Path("empty").mkdir()
    assert main(args) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert files() == ["file"]


def test_help_version_and_unknown_commands(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{gense.__version__}\n"
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in ("enhance", "methods", "info", "convert", "fit"):
        assert f"\n  {command}" in overview
    assert main([]) == 2
    capsys.readouterr()
    assert main(["enhnace"]) == 2
    assert capsys.readouterr().err == (
        "gense: unknown command 'enhnace'; expected enhance, enhance-corpus, stream, methods, info, convert, evaluate, "
        "sweep, data, fit, validate, test, demo, serve\n"
    )


@pytest.mark.parametrize("command", ["enhance", "methods", "info", "convert"])
def test_every_command_has_help(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: gense {command}" in capsys.readouterr().out


def test_an_interrupt_ends_quietly(here: Path, model: str, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    sound("a.wav")

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gense.files.enhance_file", interrupted)
    assert enhance("a.wav", "-o", "b.wav", model=model) == 130
    assert "interrupted" in capsys.readouterr().err
    assert files() == ["a.wav"]


def test_the_installed_command_enhances_and_fails_with_its_status(here: Path, model: str) -> None:
    """Once through the real entry point, where a good file is written, a bad one listed, and no progress bar shown."""
    command = Path(sys.executable).with_name("gense")
    assert command.exists(), "the package is not installed: pip install -e ."
    sound("in.wav", rate=8000)
    Path("bad.wav").write_text("no audio")
    run = ["enhance", "in.wav", "bad.wav", "-o", "OUT", "--method", model, "--steps", "1"]
    done = subprocess.run([command, *run], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "OUT/in.wav\n")
    assert done.stderr.startswith("gense enhance: 1 of 2 files failed:\n  bad.wav: cannot be read as audio")
    assert done.stderr.count("\n") == 2
    assert files("OUT") == ["in.wav"]


# -- enhance_files itself --------------------------------------------------------------------------------------------


def test_the_report_says_what_became_of_the_files(here: Path, model: str) -> None:
    sound("a.wav")
    Path("bad.wav").write_text("no")
    report = gense.enhance_files(["a.wav", Path("bad.wav")], "out", method=gense.load(model, device="cpu"), steps=1)
    assert report.done == [Path("out/a.wav")]
    assert list(report.failed) == [Path("bad.wav")]
    again = gense.enhance_files(["a.wav"], "out/", method=model, resume=True)
    assert (again.skipped, again.done, again.failed) == ([Path("out/a.wav")], [], {})


def test_settings_of_loading_are_refused_for_a_loaded_enhancer(here: Path, model: str) -> None:
    sound("a.wav")
    with pytest.raises(ValueError, match=r"device, dtype and compile belong to gense\.load"):
        gense.enhance_files(["a.wav"], "b.wav", method=gense.load(model, device="cpu"), dtype="bfloat16")
    with pytest.raises(ValueError, match="no input files"):
        gense.enhance_files([], "out")
