import pytest

from xlray import analysis
from xlray.errors import InputError


@pytest.mark.parametrize("num_seeds", [3, 6, 20])
def test_with_seeds_alone_it_is_the_paired_t_test_of_statsmodels(num_seeds):
    from statsmodels.stats.power import TTestPower

    seeds_only = analysis.Variances(subset=0.0, seed=0.5, trial=0.0)  # a difference of two cells has variance 1
    found = analysis.minimum_detectable_effect(1, num_seeds, seeds_only)
    assert found == pytest.approx(TTestPower().solve_power(nobs=num_seeds, power=0.8, alpha=0.05), rel=1e-3)


@pytest.mark.parametrize(("sizes", "seeds"), [(12, 1), (12, 2), (2, 5), ((2, 12), 5), ((2, 1), 5)])
def test_too_few_for_an_interval_find_nothing(sizes, seeds):
    assert analysis.minimum_detectable_effect(sizes, seeds) is None


def test_more_seeds_and_subsets_find_less():
    few, many = analysis.minimum_detectable_effect(6, 3), analysis.minimum_detectable_effect(12, 5)
    assert 0 < many < few
    with pytest.raises(InputError, match="num_subsets >= 1"):
        analysis.minimum_detectable_effect(0, 3)


def test_two_cells_of_different_size_lie_between_those_of_one_size():
    few, mixed, many = (analysis.minimum_detectable_effect(size, 5) for size in (3, (3, 12), 12))
    assert many < mixed < few
    assert analysis.minimum_detectable_effect((12, 3), 5) == pytest.approx(mixed)
    assert analysis.minimum_detectable_effect((12, 12), 5) == many


def test_the_spread_of_subsets_does_not_enter_for_a_single_one():
    spread = analysis.Variances(subset=1.0, seed=0.1, trial=0.0)
    alone = analysis.Variances(subset=0.0, seed=0.1, trial=0.0)
    assert analysis.minimum_detectable_effect(1, 5, spread) == analysis.minimum_detectable_effect(1, 5, alone)
    both, one = (analysis.minimum_detectable_effect(sizes, 5, spread) for sizes in ((12, 12), (1, 12)))
    assert analysis.minimum_detectable_effect(1, 5, alone) < one < both
