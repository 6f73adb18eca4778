"""`ftc report`: one page and one picture of runs, whatever state they are in, whatever stands in their logs."""

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ftc.compiler.cli.installing import install
from ftc.compiler.report.charts import chart, label, smoothed, span, thinned, ticks

from .specs import BASE, ftc, merged, toml


@pytest.fixture
def run(folder: Path) -> Path:
    (folder / "spec.toml").write_text(toml(merged(BASE, {"name": "one"})))
    ftc("compile", folder / "spec.toml", "-o", folder / "one")
    return folder / "one"


def logged(run: Path, records: list[object], samples: list[object] = (), end: str = "\n") -> None:
    (run / "logs").mkdir(exist_ok=True)
    for name, lines in (("metrics", records), ("samples", samples)):
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (run / f"logs/{name}.jsonl").write_text("".join(f"{text}\n" for text in texts)[:-1] + end)


def start(first: int = 0, total: int = 8) -> dict[str, object]:
    return {"start": "now", "first_step": first, "total_steps": total, "trainable_parameters": 99}


def step(number: int, **more: object) -> dict[str, object]:
    return {"step": number, "epoch": number / 4, "loss": 2 / number, "learning_rate": 1e-4} | more


class Page(HTMLParser):
    """The page as a browser reads it: what tags it has, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def paged(*runs: Path) -> Page:
    output = runs[0].parent / "page.html"
    assert ftc("report", *runs, "-o", output).stdout == f"{output}\n"
    return Page(output.read_text("utf-8"))


def test_a_run_that_was_not_started_has_a_plan_and_no_curves(run: Path) -> None:
    page = paged(run)
    assert "not started" in page.text and "Nothing was logged yet" in page.text
    assert "LoRA of smollm2-135m-instruct" in page.text and "optim.learning_rate" in page.text
    assert "svg" not in [tag for tag, _ in page.tags]


@pytest.mark.parametrize("place", ["logs", "checkpoints/step-000008"])
def test_the_plan_is_the_one_that_was_trained(run: Path, place: str) -> None:
    """Compiled anew since the start, the directory holds another plan: told in one line."""
    logged(run, [start(), *(step(n) for n in range(1, 9))])
    (run / "checkpoints/step-000004").mkdir(parents=True)
    (run / place).mkdir(exist_ok=True)
    shutil.copy(run / "ftc.lock", run / place)
    assert "Compiled since" not in paged(run).text
    ftc("compile", run.parent / "spec.toml", "-o", run, "--set", "method.rank=4")
    page = paged(run)
    since = page.text.partition("Compiled since with other values of ")[2].partition(":")[0]
    assert "method.lora.rank" in since
    assert "what is compiled now cannot resume its checkpoints" in page.text
    assert "method.lora.rank16default" in page.text and "Edited" not in page.text
    assert "trained weights" in page.text and "method.lora.rank4" not in page.text
    ftc("compile", run.parent / "spec.toml", "-o", run, "--set", "train.log_every=4")
    assert "what is compiled now can resume its checkpoints" in paged(run).text
    ftc("compile", run.parent / "spec.toml", "-o", run)
    assert "Compiled since" not in paged(run).text


def test_what_differs_is_between_what_was_trained(run: Path) -> None:
    spec = run.parent / "spec.toml"
    ftc("compile", spec, "-o", run.parent / "two", "--set", "seed=7")
    logged(run, [start(), step(1)])
    shutil.copy(run / "ftc.lock", run / "logs")
    ftc("compile", spec, "-o", run, "--set", "seed=9")
    page = paged(run, run.parent / "two")
    table = page.text.partition("What differs")[2].partition("The plan")[0]
    assert "seed" in table and "7" in table and "9" not in table


def test_a_resumed_unfinished_run(run: Path) -> None:
    """What the second start wrote replaces what the first did; a line that is being written is no damage."""
    more = {"tokens_per_second": 1000.0, "peak_memory_gb": 1.25, "grad_norm": None}
    steps = [step(n, **more) for n in (1, 2, 3)]
    end = [start(2), step(3, loss=0.25, **more), {"step": 3, "validation_loss": 0.75}, '{"step": 4']
    logged(run, [start(), *steps, *end], end="")
    page = paged(run)
    assert "unfinished" in page.text and "Resumed after 2 steps." in page.text
    assert "no record" not in page.text
    assert "step 3, training 0.25, validation 0.75" in page.text
    assert "0.7500lowest validation loss, after 3 steps" in page.text
    assert "1.25GB of memory" in page.text and "Gradient norm" not in page.text


def test_a_run_that_stopped_early(run: Path) -> None:
    spike = {"step": 2, "loss_spike": 9.5, "mean_before": 1.0, "rows": ["a:1"]}
    ended = {"step": 3, "stopped_early": True, "best_step": 1}
    logged(run, [start(), step(1), step(2), spike, step(3), ended])
    page = paged(run)
    assert "stopped early" in page.text
    assert "The validation loss was lowest after 1 steps" in page.text
    assert "The loss jumped at step 2 (to 9.5000)" in page.text


HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)> \"' & {{ x }} \u202e\x00"


def test_hostile_text_stays_text(folder: Path) -> None:
    data = merged(BASE, {"samples": {"prompts": [HOSTILE.replace("\x00", "")]}})
    (folder / "spec.toml").write_text(toml(data))
    run = folder / "<b>run"
    ftc("compile", folder / "spec.toml", "-o", run)
    samples = [{"step": n, "prompt": HOSTILE, "answer": f"{HOSTILE}\nline {n}"} for n in range(40)]
    odd = ["[]", '"text"', "nothing", "[" * 9999, {"step": -1}, {"step": True, "loss": 1.0}]
    odd += [
        {"step": 10**400},
        {"step": 1, "loss": HOSTILE, HOSTILE: 1.0},
        '{"step": 2, "loss": NaN}',
    ]
    odd += [{"start": HOSTILE, "first_step": HOSTILE}, {"step": 3, "loss": 10**400}, step(5)]
    logged(run, [*odd, '{"step": 6, "loss": 1, "x": "\\ud800"}'], [*samples, {"step": 1}, 7])
    page = paged(run)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "link", "b2"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes), tag
    assert page.text.count("<script>alert(1)</script>") > 40
    assert "<b>run" in page.text and "\u202e" not in page.text and "\x00" not in page.text
    assert "9 lines are no record" in page.text
    policy = next(a for tag, a in page.tags if a.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_runs_side_by_side(run: Path, folder: Path) -> None:
    changed = merged(BASE, {"name": "two", "optim": {"learning_rate": 0.5}, "method": {"rank": 4}})
    (folder / "other.toml").write_text(toml(changed))
    ftc("compile", folder / "other.toml", "-o", folder / "two")
    logged(run, [start(), *(step(n) for n in range(1, 9))], [sample("a"), sample("b", 8)])
    logged(folder / "two", [start(), step(1, loss=3.5)], [sample("c")])
    page = paged(run, folder / "two")
    assert "2 runs" in page.text and "step 1, one 2, two 3.5" in page.text
    differences = page.text[page.text.index("What differs") : page.text.index("Samples")]
    assert re.search(r"method\.rank\s*–\s*4", differences), differences
    assert "optim.learning_rate" in differences and "0.5" in differences
    assert "method.alpha" not in differences
    colours = [a["class"] for tag, a in page.tags if tag == "polyline"]
    assert {"line c0", "line c1", "faint c0"} <= set(colours)
    same = folder / "again" / "one"
    same.parent.mkdir()
    run.rename(same)
    text = paged(same, folder / "two", folder / "two").text
    assert str(folder / "two") in text  # one name for two runs would not tell them apart


def sample(answer: str, number: int = 0) -> dict[str, object]:
    return {"step": number, "prompt": "Who?", "answer": answer}


def test_what_is_no_run_is_said_all_at_once(run: Path, folder: Path) -> None:
    said = ftc("report", folder / "spec.toml", folder / "nowhere", run, exit_code=2).stderr
    assert said.count("error[no-lock]") == 2 and "Nothing was written" in said


def test_a_file_of_somebody_else_is_not_overwritten(run: Path, folder: Path) -> None:
    mine = folder / "mine.html"
    mine.write_text("my page")
    assert "error[exists]" in ftc("report", run, "-o", mine, exit_code=2).stderr
    assert mine.read_text() == "my page"
    ftc("report", run, "-o", mine, "--force")
    ftc("report", run, "-o", mine)  # its own is
    refused = ftc("report", run, "-o", folder / "no" / "page.html", exit_code=2).stderr
    assert "error[not-written]: No such file or directory" in refused


def test_the_picture(run: Path, monkeypatch) -> None:
    logged(run, [start(), *(step(n, grad_norm=1.0) for n in range(1, 9))])
    picture = run.parent / "page.png"
    ftc("report", run, "-o", run.parent / "x.html", "--png", picture)
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = ftc("report", run, "-o", run.parent / "x.html", "--png", picture, exit_code=2).stderr
    assert "error[no-runtime]: --png needs matplotlib" in said and install("report") in said


@pytest.mark.slow
def test_a_browser_has_nothing_to_complain_of(run: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    logged(run, [start(), *(step(n) for n in range(1, 9))], [sample(HOSTILE)])
    ftc("report", run, "-o", run.parent / "page.html")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--disable-background-networking", f"--user-data-dir={run.parent / 'browser'}"]
    command += [f"--screenshot={run.parent / 'page.png'}", (run.parent / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert "CONSOLE" not in done.stderr  # where it would say what it refused to run or to load
    assert (run.parent / "page.png").stat().st_size > 10_000


def test_numbers_of_an_axis() -> None:
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10] and ticks(3.0, 3.0) == [3.0]
    assert [label(n) for n in (0, 0.25, 1.5e-4, 12000, 2.5e6)] == [
        "0",
        "0.25",
        "1.5e-4",
        "12k",
        "2.5M",
    ]


def test_a_running_mean_starts_without_a_bias() -> None:
    assert smoothed([(n, 3.0) for n in range(500)])[-1] == (499, pytest.approx(3.0))
    noisy = [(n, 1.0 + (-1) ** n) for n in range(1000)]
    assert max(abs(value - 1) for _, value in smoothed(noisy)[100:]) < 0.1


def test_a_long_curve_keeps_its_extremes() -> None:
    points = [(n, math.sin(n)) for n in range(100_000)]
    points[777] = (777, 50.0)
    assert (777, 50.0) in thinned(points) and len(thinned(points)) <= 600
    assert len(chart([curve(points)])) < 40_000
    low, high = span([curve(points)], from_zero=False)
    assert high < 2 and low > -2  # one outlier does not flatten the rest


def curve(points):
    from ftc.compiler.report.charts import Curve

    return Curve("loss", points, 0, smooth=True)
