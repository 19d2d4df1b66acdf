"""Reports as files: what they hold, how large they are, and what no file name can do to them."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gense.evaluation.result import Evaluation, FileScores
from gense.evaluation.statistics import compare
from gense.report import evaluation as evaluation_report
from gense.report import write_evaluation_report, write_sweep_report
from gense.report.page import text
from gense.sweeps.result import Cell, Sweep
from tests.report.made import evaluation, result, sound, sweep

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></script><h1>x",
    "&lt;b&gt; &amp;",
    "]]>--><!--",
    "evil\u202egnp.exe",
    "tab\tand\x00bell\x07",
    b"not utf-8 \xff".decode("utf-8", "surrogateescape"),
    "x" * 255,
]


class Seen(HTMLParser):
    """What a browser would make of the page, as far as these tests ask."""

    VOID = ("meta", "link", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.balanced = True
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.balanced &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_is_complete_and_policy_allows_only_its_own_script(tmp_path: Path) -> None:
    path = write_evaluation_report(tmp_path / "r.html", evaluation([0.5, -0.5], folder=tmp_path), title="T")
    page = path.read_text(encoding="utf-8")
    seen = Seen(page)
    assert seen.balanced
    assert not seen.open
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["r.html"]
    for _, attributes in seen.tags:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:", "#"))
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    policy = next(m["content"] for m in seen.of("meta") if m.get("http-equiv"))
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    identities = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    labels = [attributes.get("aria-labelledby") for _, attributes in seen.tags]
    targets = [(a["href"] or "")[1:] for a in seen.of("a")]
    assert {*labels, *targets} <= {None, *identities}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    found = evaluation([0.1 * i for i in range(len(HOSTILE))], names=HOSTILE)
    found.failed = dict.fromkeys(HOSTILE, HOSTILE[0])
    other = evaluation([0.0] * len(HOSTILE), names=HOSTILE)
    path = write_evaluation_report(tmp_path / "r.html", found, title=HOSTILE[0], examples=9, others={HOSTILE[1]: other})
    plain = evaluation([0.1 * i for i in range(len(HOSTILE))], names=[f"{i}" for i in range(len(HOSTILE))])
    plain.failed = {str(i): "reason" for i in range(len(HOSTILE))}
    others = {"other": evaluation([0.0] * len(HOSTILE), names=[f"{i}" for i in range(len(HOSTILE))])}
    harmless = write_evaluation_report(tmp_path / "p.html", plain, title="T", examples=9, others=others)
    mine, theirs = (Seen(p.read_text(encoding="utf-8")) for p in (path, harmless))
    # The names change no tag and no attribute's name: they are nothing but text
    assert [(tag, sorted(a)) for tag, a in mine.tags] == [(tag, sorted(a)) for tag, a in theirs.tags]
    words = "".join(mine.words)
    assert all(name in words for name in HOSTILE[:6])
    assert "\u202e" not in words
    assert "\x07" not in words
    cells = [Cell(name, name, name, 1, options=((name, name),)) for name in HOSTILE]
    hostile = Sweep([result(cell, 2 + i / 10, i + 1) for i, cell in enumerate(cells)], ["pesq", "wer"], HOSTILE)
    hostile.failed = hostile.refused = dict.fromkeys(HOSTILE, HOSTILE[0])
    page = write_sweep_report(tmp_path / "s.html", hostile, title=HOSTILE[1], qualities=["pesq"]).read_text("utf-8")
    assert Seen(page).balanced
    assert len(Seen(page).of("script")) == 1
    assert not Seen(page).of("img")


def test_text_keeps_what_is_harmless() -> None:
    assert text("Größe 声 😀 a/b.wav") == "Größe 声 😀 a/b.wav"
    assert text("<&\"'") == "&lt;&amp;&quot;&#x27;"


def test_failure_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.html"
    write_sweep_report(path, sweep(), title="first", qualities=["pesq"])
    before = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_sweep_report(path, sweep(), title="second", qualities=["pesq"])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("report.pdf", ValueError, "ends in .html"),
        ("missing/report.html", FileNotFoundError, "no such folder"),
        ("folder.html", IsADirectoryError, "is a folder"),
    ],
)
def test_bad_paths(tmp_path: Path, name: str, error: type[Exception], words: str) -> None:
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(error, match=words):
        write_evaluation_report(tmp_path / name, evaluation([0.1]), title="T")
    with pytest.raises(error, match=words):
        write_sweep_report(tmp_path / name, sweep(), title="T", qualities=["pesq"])


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="examples=-1"):
        write_evaluation_report(tmp_path / "r.html", evaluation([0.1]), title="T", examples=-1)
    for qualities in ([], ["pesk"]):
        with pytest.raises(ValueError, match="expected some of pesq, wer"):
            write_sweep_report(tmp_path / "r.html", sweep(), title="T", qualities=qualities)


def page_of(tmp_path: Path, found: Evaluation, **options: object) -> str:
    return write_evaluation_report(tmp_path / "r.html", found, title="T", **options).read_text("utf-8")  # type: ignore[arg-type]


def test_missing_sound_is_said(tmp_path: Path) -> None:
    found = evaluation([0.5, -0.5], folder=tmp_path)
    found.files[0].est.unlink()
    found.files[0].noisy = None
    assert found.files[1].noisy is not None
    found.files[1].noisy.write_bytes(b"RIFFgarbage")
    page = page_of(tmp_path, found, examples=1)
    assert len(Seen(page).of("audio")) == 1 + 2
    assert "enhanced: the file is not there any more" in page
    assert "noisy input: cannot be read as audio" in page
    assert not Seen(page_of(tmp_path, evaluation([0.5, -0.5]))).of("audio")


def test_worst_and_best_follow_the_change_and_the_direction(tmp_path: Path) -> None:
    found = evaluation([0.3, -0.4, 0.0, 0.9, math.nan])

    def headings(page: str) -> list[str]:
        return re.findall(r"<article class=\"example\">\n<h3><bdi>(\d+)</bdi>", page)

    assert headings(page_of(tmp_path, found, examples=2)) == ["001", "002", "003", "000"]
    assert headings(page_of(tmp_path, found, examples=9)) == ["001", "002", "003", "000"]
    assert headings(page_of(tmp_path, found, examples=0)) == []
    for file in found.files:  # of error rates alone, where less is better, the ranking is the same
        file.scores = {"wer": file.scores["wer"]}
    assert headings(page_of(tmp_path, found, examples=1)) == ["001", "003"]
    for file in found.files:
        file.noisy_scores = {}
    assert headings(page_of(tmp_path, found, examples=1)) == ["001", "003"]


def test_what_is_not_in_the_figures_is_said(tmp_path: Path) -> None:
    found = evaluation([0.3, -0.4])
    found.failed = {"broken": "no audio"}
    found.left_out = ["alone", "also"]
    page = page_of(tmp_path, found)
    assert "Could not be scored: 1 file. Left out, as there is no enhanced file: 2." in page
    assert "no audio" in page.split('id="failed"')[1]


def test_undefined_scores_are_dashes_and_in_no_plot(tmp_path: Path) -> None:
    page = page_of(tmp_path, evaluation([0.3, math.nan, -0.4]))
    assert len(re.findall(r'<path class="dot', page)) == 2 * 2
    assert "without 1 file of undefined score" in page
    assert '<td class="number" data-key="">–</td>' in page
    assert not re.search(r"\b(nan|inf)\b", page.split("<main>")[1].split("<script>")[0])
    nothing = page_of(tmp_path, evaluation([math.nan, math.nan]))
    assert "<h2" in nothing
    assert 'class="dot' not in nothing


@pytest.mark.parametrize("found", [evaluation([0.3]), Evaluation([], {"a": "no audio"}), Evaluation([])])
def test_one_file_and_none(tmp_path: Path, found: Evaluation) -> None:
    seen = Seen(page_of(tmp_path, found))
    assert seen.balanced
    assert f"{len(found.files)} file" in "".join(seen.words)


def test_figures_are_those_of_the_statistics(tmp_path: Path) -> None:
    found, other = evaluation([0.5, 0.1, -0.2, 0.4]), evaluation([0.2, 0.2, 0.2, 0.2])
    other.files.pop(0)  # the comparison is over the files that both have
    page = page_of(tmp_path, found, others={"theirs": other})
    words = re.sub(r"<[^>]+>", "", page)
    gain = compare(found.values("pesq"), found.values("pesq", noisy=True))
    assert f"+{gain.difference.low:.2f} to +{gain.difference.high:.2f}".replace("+-", "−") in words
    assert "Mean PESQ rises from 2.00 to 2.20 (+0.20" in words
    assert "better on 3 of 4 files and worse on 1" in words
    pair = compare(found.values("pesq")[1:], other.values("pesq"))
    section = page.split('id="against-0"')[1].split("</section>")[0]
    row = re.findall(r"<td[^>]*>(.*?)</td>", section.split("PESQ</th>")[1])[:6]
    assert row[:3] == ["2.10", "2.20", "−0.10"]
    assert row[4:] == ["1 of 3", f"{pair.p:.3f}"]


def test_many_files_are_thinned_and_the_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluation([i / 1000 for i in range(1500)])
    page = page_of(tmp_path, found)
    assert len(re.findall(r'<path class="dot', page)) == 2 * evaluation_report.MOST_FILES
    assert "1,000 of 1,500 files" in page
    assert all(f"<bdi>{name}</bdi>" in page for name in ("000", "1499"))
    assert len(page) < 2_000_000
    small = evaluation([0.1 * i for i in range(6)], folder=tmp_path)
    whole = len(page_of(tmp_path, small))
    monkeypatch.setattr(evaluation_report, "LARGEST", whole - 50_000)
    page = page_of(tmp_path, small)
    assert len(page.encode()) < whole - 50_000
    assert 0 < len(Seen(page).of("audio")) < 18
    assert "the report would be too large" in page


def test_a_long_file_is_cut_to_where_input_and_output_differ(tmp_path: Path) -> None:
    noisy = sound(tmp_path / "noisy.wav", 30, burst=21)
    est = sound(tmp_path / "est.wav", 30, rate=8000)
    found = Evaluation([FileScores("long", {"pesq": 2.0}, {"pesq": 1.5}, 30.0, est, None, noisy)])
    page = page_of(tmp_path, found)
    said = re.search(r"10 of 30\.0 s, from ([\d.]+) to ([\d.]+) s: where input and output differ most", page)
    assert said is not None
    start, end = map(float, said.groups())
    assert start <= 21
    assert end >= 22
    assert end - start == pytest.approx(10, abs=0.05)


def test_sweep_names_the_unbeaten_settings(tmp_path: Path) -> None:
    page = write_sweep_report(tmp_path / "s.html", sweep(), title="T", qualities=["pesq", "wer"]).read_text("utf-8")
    seen = Seen(page)
    assert seen.balanced
    words = re.sub(r"<[^>]+>", "", page)
    assert "The best mean PESQ, 2.60, comes from slow, heun, 16 steps with 32 network calls" in words
    budgets = page.split('id="quality-0-calls-note"')[1].split("</table>")[0]
    rows = [re.findall(r"<(?:td|th scope=\"row\")[^>]*>(.*?)</t[dh]>", row) for row in budgets.split("<tr")[2:]]
    assert [(row[1], re.sub("<.*?>", "", row[2]), row[3]) for row in rows] == [
        ("1 to 4", "fast, euler, 1 step", "1.50"),
        ("4 to 8", "fast, heun, 2 steps", "2.00"),
        ("8 to 32", "slow, euler, 8 steps, eta=0.5", "2.50"),
        ("from 32", "slow, heun, 16 steps", "2.60"),
    ]
    # Six settings with a score, two qualities, two costs; the legend shows each of the three methods twice
    assert len(re.findall(r'<path class="dot', page)) == 6 * 2 * 2 + 3 * 2
    assert page.count("noisy input</text>") == 4
    assert all(said in page for said in ("schedule &#x27;sway&#x27; unknown", "diverged"))
    empty = Sweep([], ["pesq"], ["a"], failed={"x": "diverged"})
    page = write_sweep_report(tmp_path / "e.html", empty, title="T", qualities=["pesq"]).read_text("utf-8")
    assert Seen(page).balanced
