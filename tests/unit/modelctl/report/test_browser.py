"""The page in a real browser: in light and dark, on a phone and on paper."""

import json
import re
import shutil
import subprocess
import zlib
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from tests.unit.modelctl.report import documents
from tests.unit.modelctl.report.test_page import hostile, worse
from tools.modelctl.report import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome is on PATH; apt-get install chromium"),
    pytest.mark.xdist_group("browser"),  # one worker, so that the browser starts once
]

PHONE, DESK = 390, 1100  # units of width
SEEN = """
onload = () => { document.getElementById("seen").textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
  const root = frame.contentDocument.documentElement, look = each => frame.contentWindow.getComputedStyle(each);
  const drawings = [...root.querySelectorAll("svg")], outside = text => {
    const box = text.getBoundingClientRect(), around = text.closest("svg").getBoundingClientRect();
    return box.right > around.right + 2 || box.left < around.left - 2 || box.bottom > around.bottom + 2; };
  return { width: root.scrollWidth, height: root.scrollHeight, paper: look(root).backgroundColor, ink: look(root).color,
    flat: drawings.filter(each => each.getBoundingClientRect().height < 20).length, drawings: drawings.length, words: root.innerText.length,
    outside: [...root.querySelectorAll("svg text")].filter(outside).map(each => each.textContent),
    asked: frame.contentWindow.performance.getEntriesByType("resource").map(each => each.name) }; })); };
"""
LIGHT, DARK = ("rgb(255, 255, 255)", "rgb(31, 35, 40)"), ("rgb(13, 17, 23)", "rgb(230, 237, 243)")


def browse(folder: Path, html: str, *options: str) -> tuple[str, str]:
    """What the browser makes of a page without a network, and what it says of it."""
    (folder / "page.html").write_text(html, "utf-8")
    quiet = ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-extensions", "--disable-sync")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", *quiet]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}", *options, (folder / "page.html").as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, timeout=120)
    return done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a script outside the pages sees in each: the browser starts once for all of them."""
    full = documents.classifier(compression=documents.compression(), migration=documents.migration())
    frames = {
        "phone": (page.render(full, production=worse(full, 0.03)), PHONE, "light"),
        "phone, regression": (page.render(documents.regressor()), PHONE, "dark"),
        "phone, hostile": (page.render(hostile(60), production=hostile(60)), PHONE, "light"),
        "desk": (page.render(full, production=worse(full, 0.03)), DESK, "light"),
        "desk, dark": (page.render(documents.clusters()), DESK, "dark"),
        "asks": ('<!doctype html><img src="http://127.0.0.1:9/pixel.png">', DESK, "light"),
    }
    shown = "".join(
        f'<iframe style="width:{width}px;height:2000px;border:0;color-scheme:{scheme}" srcdoc="{escape(html)}"></iframe>'
        for html, width, scheme in frames.values()
    )
    folder = tmp_path_factory.mktemp("browser")
    picture = folder / "page.png"
    options = ("--window-size=1200,2400", "--dump-dom", f"--screenshot={picture}")
    dom, said = browse(folder, f'<!doctype html><pre id="seen"></pre>{shown}<script>{SEEN}</script>', *options)
    (answer,) = re.findall(r'<pre id="seen">(.*?)</pre>', dom, flags=re.DOTALL)
    return dict(zip(frames, json.loads(unescape(answer)), strict=True)) | {"said": said, "picture": picture}


@pytest.mark.parametrize("name", ["phone", "phone, regression", "phone, hostile"])
def test_nothing_runs_out_of_a_phones_screen(seen: dict[str, Any], name: str) -> None:
    assert seen[name]["width"] == PHONE


@pytest.mark.parametrize(("name", "colours"), [("phone", LIGHT), ("desk", LIGHT), ("phone, regression", DARK), ("desk, dark", DARK)])
def test_it_takes_the_colours_that_its_reader_has_chosen(seen: dict[str, Any], name: str, colours: tuple[str, str]) -> None:
    assert (seen[name]["paper"], seen[name]["ink"]) == colours


@pytest.mark.parametrize(("name", "drawings"), [("desk", 10), ("phone", 10), ("phone, regression", 5), ("desk, dark", 3)])
def test_every_drawing_is_there_with_its_words_inside(seen: dict[str, Any], name: str, drawings: int) -> None:
    assert seen[name]["drawings"] >= drawings
    assert (seen[name]["flat"], seen[name]["outside"]) == (0, [])
    assert seen[name]["words"] > 1000
    assert seen["picture"].stat().st_size > 50_000  # a blank one has 10,000


def test_it_asks_for_nothing_and_complains_of_nothing(seen: dict[str, Any]) -> None:
    assert seen["asks"]["asked"] == ["http://127.0.0.1:9/pixel.png"]  # so it would be seen
    assert [found["asked"] for name, found in seen.items() if name not in {"asks", "said", "picture"}] == [[]] * 5
    assert "CONSOLE" not in seen["said"]


def test_it_is_printed_light_on_several_sheets_whatever_the_screen_has(tmp_path: Path) -> None:
    sheets = tmp_path / "page.pdf"
    dark = "--blink-settings=preferredColorScheme=0"
    browse(tmp_path, page.render(documents.classifier()), dark, "--no-pdf-header-footer", f"--print-to-pdf={sheets}")
    body = sheets.read_bytes()
    streams = b"".join(map(inflated, re.findall(rb"stream\r?\n(.*?)\r?\nendstream", body, flags=re.DOTALL)))
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", body)) <= 6
    assert b".1216 .1373 .1569 rg" in streams  # the ink of the light page
    assert b".902 .9294 .9529 rg" not in streams  # and of the dark one


def inflated(part: bytes) -> bytes:
    """A part of a PDF; nothing of one that is packed otherwise."""
    try:
        return zlib.decompress(part)
    except zlib.error:
        return b""
