"""Cholesky factors straight from LAPACK: for small matrices a wrapper would cost more than the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtrtrs

if TYPE_CHECKING:
    from mipro.search._book import Floats


def cholesky(matrix: Floats) -> Floats:
    """Return the lower factor of a symmetric matrix.

    Raises:
        numpy.linalg.LinAlgError: It is not positive definite.
    """
    # The transpose of a symmetric matrix is the same in the order that LAPACK reads without a copy.
    factor, info = dpotrf(matrix.T, lower=1, clean=1)
    if info:
        raise np.linalg.LinAlgError(f"the matrix must be positive definite, but LAPACK says {info}.")
    return np.asarray(factor)


def solve_lower(factor: Floats, right: Floats) -> Floats:
    """Return `L^-1 right` for a lower factor L."""
    return np.asarray(dtrtrs(factor, right, lower=1)[0])


def solve_both(factor: Floats, right: Floats) -> Floats:
    """Return `(L L')^-1 right` for a lower factor L."""
    return np.asarray(dpotrs(factor, right, lower=1)[0])


def invert(factor: Floats) -> Floats:
    """Return `(L L')^-1` for a lower factor L."""
    lower, _ = dpotri(factor, lower=1)
    return np.asarray(lower + np.tril(lower, -1).T)


def log_det(factor: Floats) -> float:
    """Return `log det(L L')` for a lower factor L."""
    return 2.0 * float(np.log(factor.diagonal()).sum())
