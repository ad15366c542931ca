"""Cholesky factors straight from LAPACK: for small matrices a wrapper would cost more than the work."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

if TYPE_CHECKING:
    from mipro.search._book import Floats


def _bindings() -> Any:
    """Return scipy's bindings of LAPACK, without the package around them where that can be.

    It takes 0.2 s to load, ten times as long as they do, most of it for array libraries that have no
    part in this.
    """
    folder = Path(scipy.__file__).parent / "linalg"
    spec = importlib.machinery.PathFinder.find_spec("scipy.linalg._flapack", [str(folder)])
    if spec is None or spec.loader is None:  # they have moved
        return importlib.import_module("scipy.linalg.lapack")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_lapack = _bindings()


def cholesky(matrix: Floats) -> Floats:
    """Return the lower factor of a symmetric matrix, of which the upper triangle is read.

    Raises:
        numpy.linalg.LinAlgError: It is not positive definite.
    """
    # The transpose of a symmetric matrix is the same in the order that LAPACK reads without a copy.
    factor, info = _lapack.dpotrf(matrix.T, lower=1, clean=1)
    if info:
        raise np.linalg.LinAlgError(f"the matrix must be positive definite, but LAPACK says {info}.")
    return np.asarray(factor)


def congruent(matrix: Floats, factor: Floats) -> Floats:
    """Return the upper triangle of `L' M L` for a symmetric matrix M and a lower factor L.

    What is below the diagonal has no meaning. Two products would take twice the time.
    """
    product, _ = _lapack.dsygst(matrix.T, factor, itype=2, lower=1)
    return np.asarray(product.T)


def solve_lower(factor: Floats, right: Floats) -> Floats:
    """Return `L^-1 right` for a lower factor L."""
    return np.asarray(_lapack.dtrtrs(factor, right, lower=1)[0])


def solve_both(factor: Floats, right: Floats) -> Floats:
    """Return `(L L')^-1 right` for a lower factor L."""
    return np.asarray(_lapack.dpotrs(factor, right, lower=1)[0])


def invert_lower(factor: Floats) -> Floats:
    """Return `L^-1` for a lower factor L."""
    return np.asarray(_lapack.dtrtri(factor, lower=1)[0])


def diagonal(matrix: Floats) -> Floats:
    """Return the diagonal of a square matrix as a view that may be written to."""
    view: Floats = np.einsum("ii->i", matrix)
    return view


def log_det(factor: Floats) -> float:
    """Return `log det(L L')` for a lower factor L."""
    return 2.0 * float(np.log(factor.diagonal()).sum())
