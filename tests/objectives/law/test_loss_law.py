"""Loss laws against published predictions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anybudget.presets.laws import load_law


@pytest.mark.parametrize(
    ("n_params", "n_tokens", "size_term", "data_term"),
    [
        # The law's two terms for Chinchilla and Gopher, as widely reproduced from Hoffmann et al.
        # 2022: 1.936 and 1.993 nats per token in all.
        (70e9, 1.4e12, 0.083, 0.163),
        (280e9, 300e9, 0.052, 0.251),
    ],
)
def test_hoffmann_on_chinchilla_and_gopher(n_params, n_tokens, size_term, data_term):
    loss = load_law("hoffmann-2022").loss(n_params, n_tokens)
    # Each quoted term is rounded to 0.0005.
    assert loss == pytest.approx(1.69 + size_term + data_term, abs=0.001)


def test_with_kappa_and_without_a_floor_it_is_kaplans_law(law):
    """Equation 1.5 and table 2 of Kaplan et al. 2020: N_c, D_c and two exponents."""
    size, tokens, alpha_n, alpha_d = 6.4e13, 1.8e13, 0.076, 0.103
    ratio = alpha_n / alpha_d
    numbers = {"E": 0.0, "A": size**ratio, "B": tokens, "alpha": ratio, "beta": 1.0}
    kaplan = dataclasses.replace(law, **numbers, kappa=alpha_d)
    for n_params, n_tokens in ((1e6, 1e9), (1e9, 2e10)):
        expected = ((size / n_params) ** ratio + tokens / n_tokens) ** alpha_d
        assert kaplan.loss(n_params, n_tokens) == pytest.approx(expected)
    # Alone, either law is that of equations 1.1 and 1.2.
    assert kaplan.loss(1e9, 1e300) == pytest.approx((size / 1e9) ** alpha_n)
    assert kaplan.loss(1e300, 1e9) == pytest.approx((tokens / 1e9) ** alpha_d)
    assert (kaplan.floor, dataclasses.replace(kaplan, E=16, kappa=0.5).floor) == (0, 4)


def test_infinite_model_and_data_leave_the_floor(law):
    assert law.loss(1e300, 1e300) == pytest.approx(law.E)


def test_four_times_the_data_at_beta_one_half_halves_its_term(law):
    square_root = dataclasses.replace(law, beta=0.5)
    floor = square_root.loss(1e8, 1e300)
    once, four = (square_root.loss(1e8, tokens) - floor for tokens in (1e9, 4e9))
    assert once / four == pytest.approx(2)


def test_one_formula_for_scalars_meshes_and_jax_arrays(law):
    sizes, tokens = [1e6, 1e7, 1e8], [1e8, 1e9]
    scalars = [[law.loss(n, d) for d in tokens] for n in sizes]
    mesh = law.loss(np.array(sizes)[:, None], np.array(tokens))
    np.testing.assert_allclose(mesh, scalars, rtol=1e-14)
    on_jax = law.loss(jnp.array(sizes)[:, None], jnp.array(tokens))
    assert isinstance(on_jax, jax.Array)
    np.testing.assert_allclose(np.asarray(on_jax), scalars, rtol=1e-5)  # float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": 0.0}, "law 'toy-law': `A` must be > 0, but got 0"),
        ({"beta": -0.3}, "`beta` must be > 0, but got -0.3"),
        ({"alpha": float("nan")}, "`alpha` must be > 0, but got nan"),
        ({"E": -0.1}, "`E` must be >= 0, but got -0.1"),
        ({"kappa": 1.5}, "`kappa` must be from 0.01 to 1, but got 1.5"),
        ({"n_params_range": (2.0, 1.0)}, r"`n_params_range` must be .* but got \[2.0, 1.0\]"),
        ({"n_tokens_range": (0.0, 1.0)}, "`n_tokens_range` must be 0 < low <= high"),
        ({"aspect_ratio_range": (9.0, 3.0)}, "`aspect_ratio_range` must be 0 < low <= high"),
    ],
)
def test_refused(law, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(law, **change)
