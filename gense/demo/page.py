"""The page: what is on it, and what its buttons call."""

from __future__ import annotations

import html
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from gense.demo.models import Models
from gense.demo.work import MEGABYTES, MINUTES, Choices, run

KEPT_SECONDS = 3600
"""How long uploads and results are kept on disk while the page runs."""
OWN = ""
"""What a list of samplers or schedules holds for the method's own."""
RESULT = "result-"
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError)
ABOUT = f"""# gense: speech enhancement

Drop or record speech, choose a method, hear and see the difference. Up to {MINUTES} minutes and {MEGABYTES} MB; WAV,
FLAC, OGG and MP3. Recordings stay on the machine that runs this page and are deleted when it stops."""


def gradio() -> Any:
    """Return the module gradio, without its telemetry.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import gradio as module
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install gense[page]") from error
    return module


def example_clip() -> Path | None:
    """The clip of a working copy; an installed package has none."""
    root = Path(__file__).parents[2]
    clip = root / "examples" / "noisy.wav"
    return clip if clip.exists() and (root / "pyproject.toml").exists() else None


def build(models: Models, folder: Path, clip: Path | None = None) -> Any:
    """Put the page together.

    Args:
        models: the methods on offer.
        folder: for the results, one new folder in it for each; whoever starts the page removes it.
        clip: a recording to begin with; None leaves the button for it out.

    Returns:
        The `gradio.Blocks`, to be launched.

    Raises:
        ImportError: gradio is not installed.
    """
    gr = gradio()
    offered = models.choices()
    first = offered[0][1]
    own = controls(models, first)
    with gr.Blocks(title="gense", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)) as page:
        gr.Markdown(ABOUT)
        with gr.Row(equal_height=True):
            source = gr.Audio(label="Before", type="filepath", elem_id="source", buttons=["download"])
            enhanced = gr.Audio(
                label="After", type="filepath", interactive=False, elem_id="enhanced", buttons=["download"]
            )
        with gr.Row():
            start = gr.Button("Enhance", variant="primary", elem_id="enhance")
            example = gr.Button("Take the example", visible=clip is not None, elem_id="example")
        with gr.Row():
            method = gr.Dropdown(offered, value=first, label="Method", elem_id="method", scale=2)
            steps = gr.Number(label="Steps", precision=0, minimum=1, elem_id="steps", **own["steps"])
            sampler = gr.Dropdown(label="Sampler", elem_id="sampler", **own["sampler"])
            schedule = gr.Dropdown(label="Schedule", elem_id="schedule", **own["schedule"])
            seed = gr.Number(0, label="Seed of the noise", precision=0, minimum=0, elem_id="seed", **own["seed"])
        about = gr.Markdown(elem_id="about", **own["about"])
        text = gr.Textbox(elem_id="text", **own["text"])
        status = gr.Markdown(elem_id="status")
        picture = gr.Image(
            label="Spectrograms", interactive=False, elem_id="picture", format="png",
            buttons=["download", "fullscreen"], visible=False,
        )  # fmt: skip

        def choose(name: str) -> list[Any]:
            try:
                return [gr.update(**settings) for settings in controls(models, name).values()]
            except EXPECTED as error:
                raise readable(error) from error

        def enhance(*given: Any) -> list[Any]:
            audio, picked, summary = enhance_upload(models, folder, *given)
            return [audio, gr.update(value=picked, visible=picked is not None), summary]

        def forget() -> list[Any]:
            return [None, gr.update(value=None, visible=False), ""]

        knobs = [steps, sampler, schedule, seed, text, about]
        page.load(lambda: gr.update(choices=models.choices()), None, [method], show_progress="hidden")
        method.change(choose, [method], knobs, show_progress="hidden")
        source.change(forget, None, [enhanced, picture, status], show_progress="hidden")
        # One recording at a time, whoever asks: the processor is one, and calls are counted
        start.click(
            enhance, [source, method, steps, sampler, schedule, seed, text], [enhanced, picture, status],
            concurrency_limit=1,
        )  # fmt: skip
        if clip is not None:
            example.click(lambda: str(clip), None, [source], show_progress="hidden")
    return page


def controls(models: Models, name: str) -> dict[str, dict[str, Any]]:
    """What the controls hold for a method: its own steps, the samplers and schedules that it takes, a line about it.

    Returns:
        Properties of steps, sampler, schedule, seed, text and about, in this order.

    Raises:
        ValueError, OSError: the weights, which are on this machine, cannot be loaded.
    """
    knobs = models.knobs(name)
    samples = bool(knobs.samplers)

    def choice(own: str | None, names: tuple[str, ...]) -> dict[str, Any]:
        label = f"default ({own})" if own else "default" if samples else "none"
        return {"choices": [(label, OWN), *((other, other) for other in names)], "value": OWN, "interactive": samples}

    reader = "which this method reads" if models.here(name) else "if the method reads it"
    placeholder = "default" if samples else "none: deterministic"
    return {
        "steps": {"value": knobs.steps, "placeholder": placeholder, "interactive": samples},
        "sampler": choice(knobs.sampler, knobs.samplers),
        "schedule": choice(knobs.schedule, knobs.schedules),
        "seed": {"interactive": samples},
        "text": {"label": f"What is said, {reader}", "visible": knobs.text, **({} if knobs.text else {"value": ""})},
        "about": {"value": models.about(name)},
    }


def enhance_upload(
    models: Models,
    folder: Path,
    source: str | None,
    method: str,
    steps: int | None,
    sampler: str | None,
    schedule: str | None,
    seed: int | None,
    text: str | None,
) -> tuple[str, str | None, str]:
    """Enhance what is on the page, with the values of its controls.

    Args:
        models: the methods on offer.
        folder: where a new folder for the results is made.
        source: path of the upload or the recording, None without one.
        method: name of the method.
        steps: None or 0 for the method's own.
        sampler: `OWN` or None for the method's own.
        schedule: likewise.
        seed: of the noise, None for 0.
        text: what is said; blank for nothing.

    Returns:
        Path of the result, path of the picture or None, and the status line.

    Raises:
        gradio.Error: whatever a user can do something about, in words.
    """
    if not source:
        raise readable(ValueError("There is no recording yet: drop a file, or record one."))
    path = Path(source)
    spoken = text.strip() if text else ""
    try:
        if not models.here(method):
            gradio().Info(f"Fetching the weights of {method}: this can take minutes.")
        choices = Choices(method, steps or None, sampler or None, schedule or None, seed or 0, spoken or None)
        result = run(path, models, choices, _fresh(folder))
    except EXPECTED as error:
        raise readable(error, path) from error
    return str(result.audio), str(result.picture) if result.picture else None, result.summary


def _fresh(folder: Path) -> Path:
    """Make a folder for one result, and remove those of old ones, of which gradio holds a copy as long as it needs."""
    for old in folder.glob(f"{RESULT}*"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=RESULT, dir=folder))


def readable(error: Exception, path: Path | None = None) -> Exception:
    """The error as the page shows it: its words, with the name of the upload in place of where it was put."""
    message = str(error) or type(error).__name__
    if path is not None:
        message = message.replace(str(path), path.name)
    return gradio().Error(html.escape(message, quote=False), duration=None, print_exception=False)
