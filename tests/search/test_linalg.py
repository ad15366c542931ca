"""LAPACK without the package around it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from mipro.search._linalg import (
    cholesky,
    congruent,
    diagonal,
    invert_lower,
    log_det,
    solve_both,
    solve_lower,
)


@pytest.fixture
def matrix():
    """A matrix that is positive definite."""
    root = np.random.default_rng(0).normal(size=(7, 7))
    return root @ root.T + np.eye(7)


def test_factors_and_solutions_are_those_of_scipy(matrix):
    """The bindings are loaded without `scipy.linalg` and give what it gives, beside it."""
    factor = cholesky(matrix)
    right = np.arange(7.0)[:, None]
    assert np.allclose(factor, linalg.cholesky(matrix, lower=True), rtol=1e-12)
    assert np.array_equal(factor, np.tril(factor))
    assert np.allclose(solve_lower(factor, right), linalg.solve_triangular(factor, right, lower=True))
    assert np.allclose(solve_both(factor, right), linalg.solve(matrix, right))
    assert np.isclose(log_det(factor), np.linalg.slogdet(matrix)[1])


def test_the_inverse_of_a_factor_undoes_it(matrix):
    """It is lower triangular as well."""
    factor = cholesky(matrix)
    inverse = invert_lower(factor)
    assert np.allclose(inverse @ factor, np.eye(7))
    assert np.array_equal(inverse, np.tril(inverse))


def test_congruence_is_two_products(matrix):
    """Its upper triangle is what two products give, and enough for a Cholesky factor."""
    factor, other = cholesky(matrix), np.diag(np.arange(1.0, 8.0)) + 0.1
    product = factor.T @ other @ factor
    found = congruent(other, factor)
    assert np.allclose(np.triu(found), np.triu(product))
    assert np.allclose(cholesky(found), linalg.cholesky(product, lower=True))


def test_a_matrix_that_is_not_positive_definite_is_refused():
    """LAPACK's verdict is an error."""
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        cholesky(-np.eye(2))


def test_the_diagonal_can_be_written_to(matrix):
    """It is a view, whatever the order of the matrix."""
    for order in "CF":
        changed = np.array(matrix, order=order)
        diagonal(changed)[:] += 1.0
        assert np.array_equal(changed, matrix + np.eye(7))
