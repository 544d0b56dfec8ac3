"""Student's t, central and not. By scipy.special: importing scipy.stats takes seconds, which `xlray plan` would wait for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]


def t_quantile(probability: float, freedom: float | Array) -> Array:
    """The value that t stays below with a probability; infinitely many degrees of freedom are the normal distribution."""
    found = np.where(np.isinf(freedom), special.ndtri(probability), special.stdtrit(freedom, probability))
    return np.asarray(found, np.float64)


def t_beyond(value: float | Array, freedom: float | Array) -> Array:
    """The probability that t exceeds a value."""
    below = -np.asarray(value)
    return np.asarray(np.where(np.isinf(freedom), special.ndtr(below), special.stdtr(freedom, below)), np.float64)


def noncentral_t_beyond(value: float | Array, freedom: float | Array, noncentrality: float) -> Array:
    """The probability that noncentral t exceeds a value."""
    return np.asarray(1.0 - special.nctdtr(freedom, noncentrality, value), np.float64)
