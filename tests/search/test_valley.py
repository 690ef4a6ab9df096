"""Where the valley's ends are, of shapes whose losses are made up."""

from types import SimpleNamespace

import pytest

from anybudget.search.valley import valley


def shapes(losses: dict[tuple[int, int], float]) -> list:
    made = [SimpleNamespace(shape=shape, loss=loss) for shape, loss in losses.items()]
    return sorted(made, key=lambda one: one.loss)


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        (
            {(512, 4): 3.05, (512, 6): 3.0, (640, 8): 3.005, (256, 16): 3.02, (256, 20): 3.04},
            "6 to 8 layers of width 512 to 640 lose less than 0.01 nats; 4 layers or fewer and 20 "
            "or more lose over 0.03.",
        ),
        ({(512, 6): 3.0, (512, 7): 3.02}, "6 layers of width 512 lose less than 0.01 nats."),
        (
            {(512, 6): 3.0, (256, 12): 3.2, (512, 12): 3.02, (256, 24): 3.3},
            "6 layers of width 512 lose less than 0.01 nats; 24 or more lose over 0.03.",
        ),
    ],
)
def test_the_words_of_a_valley(losses, words):
    assert valley(shapes(losses)) == words


@pytest.mark.parametrize(
    ("last", "words"),
    [
        # Of depths that are not among the shapes it is known that they lose as much as the last.
        (3.04, "4 to 6 layers of width 512 lose less than 0.01 nats; 2 layers or fewer and 8 or "
               "more lose over 0.03."),
        (3.02, "4 to 6 layers of width 512 lose less than 0.01 nats."),
        (3.009, ""),
    ],
)  # fmt: skip
def test_the_words_of_what_is_known_of_a_valley(last, words):
    first = shapes({(512, 6): 3.0, (512, 4): 3.008, (384, 6): last})
    assert valley(first, depths=[1, 2, 4, 6, 8, 12]) == words
