"""Both renderers draw every kind of layer, write what was said, and show it whole."""

import typing

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from anybudget.show.page.interactive import interactive
from anybudget.show.pictures.picture import (
    Axis,
    Band,
    Bars,
    Cells,
    Intervals,
    Label,
    Layer,
    Line,
    Picture,
    Points,
    Sheet,
)
from anybudget.show.pictures.png import figure_of, save_png
from anybudget.show.pictures.style import STYLE

X = [1.0, 10.0, 100.0]
LAYERS = [
    Cells(
        x_edges=[1, 10, 100],
        y_edges=[1, 2, 3],
        values=np.array([[0.0, 1.0], [2.0, np.nan]]),
        hover=[[("a",), ("b",)], [("<c>",), ()]],
        bar=Axis(title="depth", span=(0, 2), ticks=[(0, "none"), (2, "two")]),
    ),
    Band(x=X, low=[1, 1, 2], high=[2, 2, 3], colour="#1d4ed8", name="a band"),
    Line(x=X, y=[1, 2, 3], name="cost in $, $", dash="dash", dot=5, hollow=[True, False, False]),
    Line(x=(), y=(), name="a key", width=0, dot=6, hollow=[True]),
    Line(x=X, y=[3, 2, 1], steps=True, hover=[("one", "<b>"), ("two",), ("three",)]),
    Points(x=X, y=[1, 1, 1], colours="#c2410c", symbol="star", hover=[("p",)] * 3),
    Points(x=X, y=[2, 2, 2], colours=["red", "blue", "green"], edge=""),
    Intervals(x=[10], low=[1], high=[2], colour="#000000", name="an interval", hover=[("i",)]),
    Bars(y=[1, 2], lengths=[10, 20]),
    Label(x=10, y=2, text="<script> & $5", bold=True, boxed=True, side="below left"),
]
PICTURE = Picture(
    title="What costs $5 and $6",
    x=Axis(title="time", span=(1, 100), log=True, ticks=[(1, "1s"), (60, "1m")]),
    y=Axis(title="loss", span=(0, 4)),
    layers=LAYERS,
)


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context(STYLE):
        yield


def test_every_kind_of_layer_is_here():
    assert {type(layer) for layer in LAYERS} == set(typing.get_args(Layer))


def test_a_page_shows_texts_as_they_are_written():
    figure = interactive(PICTURE).to_dict()
    assert figure["layout"]["annotations"][0]["text"] == "<b>&lt;script&gt; &amp; $5</b>"
    assert figure["layout"]["annotations"][0]["x"] == 1  # the logarithm of 10
    assert figure["layout"]["xaxis"]["ticktext"] == ["1s", "1m"]
    assert figure["layout"]["xaxis"]["range"] == [0, 2]
    told = [trace["hovertext"] for trace in figure["data"] if "hovertext" in trace]
    assert ["<b>one</b><br>&lt;b&gt;", "<b>two</b>", "<b>three</b>"] in told
    named = [trace["name"] for trace in figure["data"] if trace.get("showlegend")]
    assert named == ["a band", "cost in $, $", "a key", "an interval"]
    assert figure["data"][0]["text"][1][0] == "<b>&lt;c&gt;</b>"


def test_a_file_shows_texts_as_they_are_written():
    figure = figure_of(PICTURE)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == r"What costs \$5 and \$6"
    assert [text.get_text() for text in axes.texts] == [r"<script> & \$5"]
    [legend] = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["a band", r"cost in \$, \$", "a key", "an interval"]
    assert axes.get_xlim() == (1, 100)


@pytest.mark.parametrize("n_pictures", [1, 2, 6])
@pytest.mark.parametrize("n_lines", [2, 18])
def test_legend_and_titles_are_whole_and_cover_nothing(n_pictures, n_lines):
    lines = [
        Line(x=X, y=[at, at, at], name=f"{at} × some-device-of-ours, fused attention, N ~ T^0.54")
        for at in range(1, n_lines + 1)
    ]
    one = Picture(
        title="The best of each shape in 1h30m on 16 × some-device-of-ours, fused attention",
        x=Axis(title="time", span=(1, 100), log=True),
        y=Axis(title="loss", span=(0, 20)),
        layers=lines,
    )
    title = "The best model for a time budget, by a law with a name as long as they come"
    sheet = Sheet(title=title, pictures=[one] * n_pictures, columns=min(n_pictures, 3))
    figure = figure_of(sheet)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    whole = figure.bbox
    legend = figure.legends[0].get_window_extent(renderer)
    pictures = [box for axes in figure.axes if (box := axes.get_tightbbox(renderer))]
    parts = [legend, *pictures, *(text.get_window_extent(renderer) for text in figure.texts)]
    for box in parts:
        assert whole.x0 - 1 <= box.x0
        assert box.x1 <= whole.x1 + 1
        assert whole.y0 - 1 <= box.y0
        assert box.y1 <= whole.y1 + 1
    assert all(legend.y1 <= box.y0 + 1 for box in pictures)
    assert len(figure.legends[0].get_texts()) == n_lines


def test_a_file_is_a_png(tmp_path):
    save_png(PICTURE, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
