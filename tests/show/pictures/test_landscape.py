"""The map of a space: every shape has a cell, and words cover neither the star nor each other."""

import dataclasses
import itertools

import numpy as np
import pytest

from anybudget.search.certify.scan import scan
from anybudget.show.pictures.labels import share
from anybudget.show.pictures.landscape import (
    LABEL_SHARE,
    STAR_SHARE,
    edges_of,
    landscape,
)
from anybudget.show.pictures.picture import Cells, Label, Line, Points


@pytest.fixture(scope="module")
def shapes(small_space, objective):
    return scan(small_space, objective, top=10).shapes


@pytest.fixture(scope="module")
def picture(shapes, objective):
    return landscape(shapes, [shape.shape for shape in shapes[:3]], objective)


def layers(picture, kind):
    return [layer for layer in picture.layers if isinstance(layer, kind)]


def test_every_shape_has_its_cell(picture, shapes):
    [cells] = layers(picture, Cells)
    assert np.isfinite(cells.values).sum() == len(shapes)
    for shape in shapes:
        column = np.searchsorted(cells.x_edges, shape.arch.d_model) - 1
        row = np.searchsorted(cells.y_edges, shape.arch.n_layers) - 1
        behind = max(shape.loss - shapes[0].loss, 1e-3)
        assert cells.values[row, column] == pytest.approx(np.log10(behind))
        assert f"d_model {shape.arch.d_model}" in cells.hover[row][column][0]


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ([64], [63.5, 64.5]),
        ([2, 3, 4], [1.5, 2.5, 3.5, 4.5]),
        # A logarithmic axis has no zero.
        ([3, 9, 15], [2, 6, 12, 18]),
        # A gap stays white: the cell of 9 is no wider than the others.
        ([2, 3, 4, 9], [1.5, 2.5, 3.5, 4.5, 8.5, 9.5]),
    ],
)
def test_cells_are_as_wide_as_most_gaps(values, edges):
    found, cells = edges_of(values)
    assert found == edges
    assert all(found[cells[value]] < value < found[cells[value] + 1] for value in values)


def test_the_star_comes_last_and_the_tied_have_dots(picture, shapes):
    tied, star = layers(picture, Points)
    assert list(zip(tied.x, tied.y, strict=True)) == sorted(s.shape for s in shapes[1:3])
    assert ([*star.x, *star.y], star.symbol) == ([*shapes[0].shape], "star")
    covering = picture.layers[picture.layers.index(star) + 1 :]
    assert not [layer for layer in covering if not isinstance(layer, Label) and len(layer.x)]


@pytest.mark.parametrize("factor", [0.05, 1, 20])
def test_labels_cover_neither_the_star_nor_each_other(shapes, objective, factor):
    device = dataclasses.replace(
        objective.device, peak_flops_per_s=objective.device.peak_flops_per_s * factor
    )
    picture = landscape(shapes, [], dataclasses.replace(objective, device=device))
    *times, name = layers(picture, Label)
    star_x, star_y = shapes[0].shape
    boxes = [(share(picture.x, star_x), share(picture.y, star_y), *STAR_SHARE)]
    for label in times:
        x, y = share(picture.x, label.x), share(picture.y, label.y)
        boxes.append((x - LABEL_SHARE[0] / 2, y, *LABEL_SHARE))
    for (x, y, w, h), (x2, y2, w2, h2) in itertools.combinations(boxes, 2):
        assert abs(x - x2) >= (w + w2) / 2 or abs(y - y2) >= (h + h2) / 2
    assert all(x - w / 2 >= 0 and x + w / 2 <= 1 for x, _, w, _ in boxes[1:])
    assert name.text == f"{shapes[0].arch.d_model}×{shapes[0].arch.n_layers}"
    assert all(label.boxed for label in times)
    assert len([line for line in layers(picture, Line) if len(line.x)]) >= len(times)
