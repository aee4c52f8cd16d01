"""Transport: give the features of one picture the statistics of another, by the smallest change.

First the linear map of optimal transport between two Gaussians (Pitié and Kokaram 2007, "The linear Monge-Kantorovitch
linear colour mapping"; on network features this is a whitening and a colouring, Li et al. 2017, "Universal Style
Transfer via Feature Transforms"), then the curve of each main axis of the style, so that what has two colours gets two
colours and not a cloud around their mean. Statistics are of the whole picture and do not depend on where it begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .maps import Array

AXES = 8  # main axes of the style whose curves are matched; the others hold hardly anything
BINS = 1024  # of a histogram: counts are the same wherever the torus begins, sorted sums nearly
REACH = 6.0  # standard deviations that a histogram covers on both sides
KNOTS = 65  # points of a curve
LEAST = 1e-5  # variance, as a share of the largest, below which an axis is rounding

Floats = NDArray[np.float64]


def carry(content: Array, style: Array) -> Array:
    """Content features (h, w, C) with the statistics of the style's, an array whose last axis is C."""
    mean, covariance = _moments(content)
    goal, goal_covariance = _moments(style)
    variance, axes = np.linalg.eigh(goal_covariance)
    main = axes[:, ::-1][:, :AXES].astype(np.float32)
    moved: Array = (content - mean.astype(np.float32)) @ _linear(covariance, goal_covariance).astype(np.float32)
    along, wanted = moved @ main, (style - goal.astype(np.float32)).reshape(-1, len(goal)) @ main
    for axis, size in enumerate(np.sqrt(np.maximum(variance[::-1][:AXES], 0))):
        if size > 0:
            bent = _bent(along[..., axis], wanted[:, axis], REACH * float(size))
            moved += (bent - along[..., axis])[..., None] * main[:, axis]
    return moved + goal.astype(np.float32)


def _moments(features: Array) -> tuple[Floats, Floats]:
    """(mean (C,), covariance (C, C)), rounded past what depends on the order of the sums."""
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
    mean = np.round(rows.mean(0), 7)
    rows -= mean
    return mean, np.round(np.einsum("nc,nd->cd", rows, rows) / len(rows), 9)


def _linear(covariance: Floats, goal: Floats) -> Floats:
    """The symmetric matrix that turns one covariance into the other with the least movement."""
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    linear: Floats = inverse @ _power(root @ goal @ root, 0.5) @ inverse
    return linear


def _power(matrix: Floats, exponent: float) -> Floats:
    """A power of a covariance; directions in which nothing varies keep still instead of being blown up."""
    values, vectors = np.linalg.eigh(matrix)
    floor = max(LEAST * float(values[-1]), 1e-9)
    power: Floats = (vectors * np.maximum(values, floor) ** exponent) @ vectors.T
    return power


def _bent(values: Array, wanted: Array, reach: float) -> Array:
    """Values through the increasing curve that gives them the distribution of the wanted ones."""
    shares = np.linspace(0, 1, KNOTS)
    inwards, outwards = _quantiles(values, shares, reach), _quantiles(wanted, shares, reach)
    # Values that occur not once make flat steps; a small slope keeps the curve a function.
    bent: Array = np.interp(values, inwards + np.arange(KNOTS) * 1e-7, outwards).astype(np.float32)
    return bent


def _quantiles(values: Array, shares: Floats, reach: float) -> Floats:
    """The values below which each share of all lies, read from a histogram over -reach..reach."""
    counts, edges = np.histogram(np.clip(values, -reach, reach), BINS, (-reach, reach))
    cumulated = np.concatenate([[0], np.cumsum(counts)]) / counts.sum()
    first, last = int(np.argmax(counts > 0)), BINS - int(np.argmax(counts[::-1] > 0))
    quantiles: Floats = np.interp(shares, cumulated[first : last + 1], edges[first : last + 1])
    return quantiles
