"""What a law says of experts, against the tables of the paper that it is from."""

import dataclasses

import numpy as np
import pytest

from anybudget.presets.laws import EXPERTS_LAW, known_law, load_law

# Number of experts, and the law for it: scale and power of N, of D (arXiv:2502.05172, Table 4).
TABLE_4 = [
    (1, 30.3640, 0.1817, 53.9838, 0.1965),
    (2, 27.7982, 0.1780, 66.8401, 0.2065),
    (4, 24.8462, 0.1731, 87.7022, 0.2192),
    (8, 21.8330, 0.1676, 119.9126, 0.2338),
    (16, 19.0159, 0.1617, 167.5073, 0.2494),
    (32, 16.5424, 0.1557, 234.6726, 0.2652),
]
LAW = load_law(EXPERTS_LAW)


@pytest.mark.parametrize(("n_experts", "m", "mu", "n", "nu"), TABLE_4)
def test_at_each_number_of_experts_it_is_the_published_sum(n_experts, m, mu, n, nu):
    n_params, n_tokens = np.array([1e8, 1e9]), np.array([2e9, 5e10])
    expected = 1.3637 + m * n_params**-mu + n * n_tokens**-nu
    found = LAW.loss(n_params, n_tokens, {"n_experts": n_experts})
    # Its numbers are told with four digits, its powers too: 2% of a part at most.
    np.testing.assert_allclose(found, expected, rtol=3e-3)


def test_of_a_dense_model_it_is_the_dense_law_to_the_last_digit():
    dense = dataclasses.replace(LAW, experts=None)
    for run in (None, {}, {"n_experts": 1}):
        assert LAW.loss(3e8, 1e10, run) == dense.loss(3e8, 1e10)
    known = known_law(EXPERTS_LAW).dense
    assert known.law == dense
    assert known.draws is not None
    assert known.draws.shape[1] == 5


def test_more_experts_gain_more_on_more_tokens_and_less_on_more_parameters():
    """Observations 2 and 3 of the paper's section 3, within what its runs had."""

    def gain(n_params, n_tokens):
        dense, sparse = (LAW.loss(n_params, n_tokens, {"n_experts": n}) for n in (1, 8))
        return dense - sparse

    assert gain(3e8, 4e10) > gain(3e8, 4e9) > 0
    assert gain(1e8, 8e9) > gain(1e9, 8e9) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 1.0}, "`experts.limit` must be above `start`"),
        ({"size": 11.0}, "`experts_size` must be from -10 to 10, but got 11"),
        ({"start": 0.0}, "`experts.start`"),
        ({"n_experts_range": (4, 2)}, "`experts.n_experts_range` must be 1 <= low <= high"),
    ],
)
def test_what_no_law_says(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LAW.experts, **change)
