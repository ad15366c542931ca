"""The model equals the plain multivariate normal that it stands for."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from mipro.search import Space
from mipro.search._design import design_of
from mipro.search._evidence import MAX_GROUPS, condense
from mipro.search._hyper import (
    ALIKE_CHANGE,
    CHANGE,
    NULL_LEVEL,
    ODDS_LEVELS,
    VarianceChain,
    VariancePrior,
    slice_step,
)
from mipro.search._model import MEAN_VARIANCE, Fit, Pool, Scales

SPACE = Space({"0.instruction": 4, "0.demos": 5})


def make_case(seed=0, counts=(9, 6, 4, 4, 2), missing=((0, 3),)):
    """A small ragged table of two predictors, with its scales: all examples up to a count, but for some."""
    rng = np.random.default_rng(seed)
    space = Space({"0.instruction": 3, "0.demos": 2, "1.instruction": 2, "1.demos": 2})
    candidates = np.array([(0, 0, 0, 0), (1, 1, 0, 1), (2, 0, 1, 1), (1, 0, 1, 0), (1, 1, 1, 1)])
    values = rng.normal(size=(5, 9))
    for row, count in enumerate(counts):
        values[row, count:] = np.nan
    for cell in missing:
        values[cell] = np.nan
    scales = Scales(
        mains=np.array([0.4, 0.3]),
        interaction=0.2,
        rest=0.25,
        change=0.35,
        common=0.5,
        paired=np.array([0.3, 0.2]),
        alike=0.45,
        noise=0.7,
    )
    return space, candidates, values, scales


def dense(space, candidates, values, scales):
    """Covariance of the known scores, of the candidates' expected scores, and between them; and scores."""
    design = design_of(space)
    known = np.argwhere(~np.isnan(values))
    flat = values[tuple(known.T)]
    scores = (flat - flat.mean()) / flat.std()
    same = candidates[:, None, :] == candidates[None, :, :]
    kinds = [term.kind for term in design.mains]
    theta = np.full((len(candidates),) * 2, MEAN_VARIANCE)
    single = np.full((len(candidates),) * 2, scales.common**2)
    for variable, kind in enumerate(kinds):
        theta += scales.mains[kind] ** 2 * same[..., variable]
        changed = candidates[:, variable] > 0
        alike = changed[:, None] == changed[None, :]
        theta += scales.change**2 * alike
        single += scales.alike**2 * alike
        single += scales.paired[kind] ** 2 * same[..., variable]
    for a, b in ((0, 1), (2, 3)):
        theta += scales.interaction**2 * (same[..., a] & same[..., b])
    theta += scales.rest**2 * np.eye(len(candidates))
    rows, examples = known.T
    cover = theta[np.ix_(rows, rows)] + single[np.ix_(rows, rows)] * (examples[:, None] == examples[None, :])
    cover += scales.noise**2 * np.eye(len(rows))
    return cover, theta, theta[:, rows], scores


@pytest.mark.parametrize(
    ("case", "ladders"),
    [
        ({"missing": ()}, 1),
        ({"missing": (), "counts": (2, 9, 4, 6, 4)}, 1),
        ({"missing": ((0, 3),)}, 2),
        ({"missing": ((0, 0), (1, 1), (4, 1)), "seed": 1}, 3),
        ({"missing": ((0, 2), (0, 3), (1, 2)), "counts": (2, 9, 4, 6, 4), "seed": 2}, 2),
    ],
)
def test_posterior_equals_the_dense_one(case, ladders):
    """Means and covariances of the candidates' expected scores are exact, in whatever order they were met."""
    space, candidates, values, scales = make_case(**case)
    evidence = condense(design_of(space), candidates, values)
    assert len(evidence.ladders) == ladders
    fit = Fit(design_of(space), evidence, scales)
    cover, theta, cross, scores = dense(space, candidates, values, scales)
    effects = fit.effects()
    mean = (effects.additive(fit.design, candidates) + effects.rest)[:, 0]
    np.testing.assert_allclose(mean, cross @ np.linalg.solve(cover, scores), atol=1e-9)
    expected = theta - cross @ np.linalg.solve(cover, cross.T)
    np.testing.assert_allclose(fit.covariance(np.arange(5)), expected, atol=1e-9)


def test_likelihood_differences_equal_the_dense_ones():
    """The log likelihood is that of the multivariate normal, up to a constant."""
    space, candidates, values, scales = make_case()
    design = design_of(space)
    evidence = condense(design, candidates, values)
    other = Scales(
        mains=scales.mains * 2,
        interaction=0.1,
        rest=0.4,
        change=0.15,
        common=0.3,
        paired=scales.paired * 1.5,
        alike=0.1,
        noise=0.9,
    )
    found, expected = [], []
    for each in (scales, other):
        cover, _, _, scores = dense(space, candidates, values, each)
        expected.append(multivariate_normal(cov=cover).logpdf(scores))
        found.append(Fit(design, evidence, each).log_likelihood)
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], abs=1e-8)


def test_draws_have_the_posterior_moments():
    """Matheron draws agree with the posterior's means and covariances."""
    space, candidates, values, scales = make_case()
    fit = Fit(design_of(space), condense(design_of(space), candidates, values), scales)
    draws = fit.sample(np.random.default_rng(0), 40_000)
    theta = draws.additive(fit.design, candidates) + draws.rest
    effects = fit.effects()
    mean = (effects.additive(fit.design, candidates) + effects.rest)[:, 0]
    np.testing.assert_allclose(theta.mean(axis=1), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(theta), fit.covariance(np.arange(5)), atol=0.02)


def test_constant_scores_give_a_finite_model():
    """A table of one value has no variance of its own and still can be condensed."""
    space = Space({"0.instruction": 2})
    evidence = condense(design_of(space), np.array([[0], [1]]), np.ones((2, 4)))
    assert evidence.scale == 1.0
    assert not any(rung.scatter.any() for ladder in evidence.ladders for rung in ladder.rungs)


def test_slice_steps_follow_the_density():
    """A chain of slice steps has the mean and spread of its density."""
    rng = np.random.default_rng(0)
    point, found = np.zeros(1), []
    for _ in range(6000):
        point = slice_step(point, lambda x: -0.5 * float((x[0] - 1.0) ** 2), np.array([1.5]), rng)
        found.append(point[0])
    assert np.mean(found) == pytest.approx(1.0, abs=0.1)
    assert np.std(found) == pytest.approx(1.0, abs=0.1)


def test_prior_is_bounded():
    """Points that would spoil the linear algebra have no density."""
    prior = VariancePrior(2)
    assert np.isfinite(prior.log_density(prior.center))
    assert prior.log_density(prior.center - 100.0) == -np.inf


def test_joint_covariance_equals_that_of_the_candidates_seen():
    """Beliefs on a pool agree with those on its members, and an unseen candidate is less sure."""
    space, candidates, values, scales = make_case()
    design = design_of(space)
    local = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    fit = Fit(design, condense(design, candidates, values), scales, local=local)
    pool = np.concatenate([candidates, [[0, 1, 1, 0]]])
    joint = fit.joint(Pool(design, fit.evidence, pool, np.array([0, 1, 2, 3, 4, -1]), np.ones(6)))
    np.testing.assert_allclose(joint[:5, :5], fit.covariance(np.arange(5)), atol=1e-9)
    assert joint[5, 5] > joint[0, 0]


def test_scattered_missing_scores_leave_few_groups():
    """Holes anywhere in a table neither break the model nor make it slow."""
    rng = np.random.default_rng(0)
    space = Space({"0.instruction": 6, "0.demos": 5})
    candidates = np.array([(i, d) for i in range(6) for d in range(5)])
    values = rng.normal(size=(30, 200))
    values[rng.random(values.shape) < 0.05] = np.nan
    evidence = condense(design_of(space), candidates, values)
    assert sum(len(ladder.rungs) for ladder in evidence.ladders) <= MAX_GROUPS
    assert np.isfinite(Fit(design_of(space), evidence, make_case()[3]).log_likelihood)


@pytest.mark.parametrize(
    ("effects", "changed", "low", "high"),
    [(0.0, 0.0, -3.0, -0.5), (0.25, 0.0, 2.0, 400.0), (0.0, 0.6, 2.0, 400.0)],
    ids=["nothing matters", "choices matter", "any change matters"],
)
def test_the_odds_tell_what_matters_from_nothing(effects, changed, low, high):
    """Negative only where all expected scores are the same, by ten tables of 20 candidates x 60 examples."""
    design = design_of(SPACE)
    candidates = np.array(list(np.ndindex(*SPACE.sizes)))
    found = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        expected = rng.normal(scale=effects, size=4)[candidates[:, 0]] + changed * (candidates[:, 1] > 0)
        evidence = condense(design, candidates, expected[:, None] + rng.normal(size=(20, 60)))
        prior = VariancePrior(design.kinds)
        chain = VarianceChain(design, evidence, prior, prior.center.copy(), tails=True)
        chain.advance(rng)
        found.append(chain.odds())
    assert low < np.median(found) < high


def test_the_odds_are_a_ratio_of_mean_likelihoods():
    """Of settings of the effects' scales, with the scales of single scores as they are and normal rests."""
    space, candidates, values, _ = make_case()
    design = design_of(space)
    evidence = condense(design, candidates, values)
    prior = VariancePrior(design.kinds)
    rng = np.random.default_rng(1)
    chain = VarianceChain(design, evidence, prior, prior.center.copy(), tails=True)
    chain.advance(rng)

    def likelihood(level, change):
        logs = np.append(prior.center[: prior.effects], chain.logs[prior.effects :])
        logs[0], logs[prior.effects - 1] = level, math.log(change)
        return math.exp(Fit(design, evidence, Scales.from_vector(logs, design.kinds)).log_likelihood)

    nothing = math.log(NULL_LEVEL)
    some = [likelihood(level, ALIKE_CHANGE) for level in ODDS_LEVELS] + [likelihood(nothing, CHANGE)]
    assert chain.odds() == pytest.approx(math.log(np.mean(some) / likelihood(nothing, ALIKE_CHANGE)))
