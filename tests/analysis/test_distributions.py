"""Student's t as scipy.stats has it, without its import."""

import numpy as np
import pytest
from scipy import stats

from xlray.analysis.distributions import noncentral_t_beyond, t_beyond, t_quantile

FREEDOM = np.array([1.0, 1.5, 2.0, 3.7, 10.0, 50.0, 1e6, np.inf])


@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.999])
def test_quantiles_are_those_of_scipy(probability):
    assert t_quantile(probability, FREEDOM) == pytest.approx(stats.t.ppf(probability, FREEDOM), rel=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.7, 2.5, 9.0])
def test_tails_are_those_of_scipy(value):
    assert t_beyond(value, FREEDOM) == pytest.approx(stats.t.sf(value, FREEDOM), rel=1e-12)
    for shift in (0.5, 3.0):
        expected = stats.nct.sf(value, FREEDOM, shift)
        assert noncentral_t_beyond(value, FREEDOM, shift) == pytest.approx(expected, rel=1e-9)
