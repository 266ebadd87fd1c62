"""Figures as files: SVG that stands alone, PNG of the size that was asked for, with letters in it."""

import re
import struct
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from pipeline.report import export, figures
from pipeline.report import stage as report

pytest.importorskip("resvg_py")


@pytest.fixture(scope="module")
def written(tmp_path_factory, samples):
    run = tmp_path_factory.mktemp("run")
    folder = samples.make_target(run, "alpha", '"><script>alert(1)</script>')
    assert report.main(["--target-dir", str(folder), "--figures", str(run / "figures"), "--dpi", "72"]) == 0
    return run / "figures"


def size(png):
    content = png.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_every_plot_of_the_page_is_written_twice(written):
    names = {"front", "side", "plddt", "depth", "displacement", "coverage", "pae", "distances", "ramachandran"}
    expected = {f"{name}.{kind}" for name in {*names, "comparison", "timing", "recycles"} for kind in ("svg", "png")}
    assert {path.name for path in written.iterdir()} == expected


def test_a_figure_stands_alone(written):
    for path in written.glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        root = ET.fromstring(text.partition("\n")[2])  # noqa: S314  our own text
        assert root.get("width").endswith("mm")
        assert "var(" not in text
        assert "@media" not in text
        assert "script" not in text
        classes = {name for element in root.iter() for name in (element.get("class") or "").split()}
        style = root.find("{http://www.w3.org/2000/svg}style").text
        unstyled = {"figure", "chain", "map", "ribbon", "pixels"}
        assert not [name for name in classes - unstyled if f".{name}" not in style]


def test_sizes_are_those_of_a_journal(written):
    assert 'width="180.00mm"' in (written / "plddt.svg").read_text(encoding="utf-8")
    width, height = size(written / "plddt.png")
    assert width == pytest.approx(180 / 25.4 * 72, abs=1)
    assert height / width == pytest.approx(284 / 960, rel=0.01)


def test_letters_are_drawn(tmp_path):
    """The same figure without its words has fewer dark pixels, so the font was found."""
    with_words = figures.timing_figure({"search": 1.0})
    without = re.sub(r"<text.*?</text>", "", with_words)
    paths = export.write_figures({"a": with_words, "b": without, "none": ""}, tmp_path, 100)
    assert [path.name for path in paths] == ["a.svg", "a.png", "b.svg", "b.png"]
    assert (tmp_path / "a.png").stat().st_size > 1.5 * (tmp_path / "b.png").stat().st_size


def test_figures_of_a_run(tmp_path, samples):
    samples.make_target(tmp_path, "alpha")
    assert report.main(["--run", str(tmp_path), "--figures", str(tmp_path / "f"), "--dpi", "50"]) == 0
    assert {path.name for path in (tmp_path / "f").iterdir()} == {
        *("histogram.svg", "histogram.png", "timing.svg", "timing.png")
    }


def test_what_is_no_figure_is_refused():
    with pytest.raises(ValueError, match="viewBox"):
        export.standalone("<svg></svg>")


def test_thousands_keep_their_space():
    svg = export.standalone(figures.depth_figure(np.full(7, 12_000), [str(i + 1) for i in range(7)], 30))
    assert "10\u00a0000" in svg
