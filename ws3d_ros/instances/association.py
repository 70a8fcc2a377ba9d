"""Which segment is which object: by the voxels that they share, and by what they look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

BINS = 8
"""Of a colour's histogram, for each of red, green and blue."""
_THIN_M = 0.03  # spreads below this are the voxels' own
LEAST_SHARE = 0.25
"""Least share of the smaller one's voxels, times how alike both are, for a segment to be an object."""
LEAST_ALIKE = 0.65
"""How alike an object elsewhere must be to be the one that is missing."""
REACH_M = 10.0
"""Moving so far counts as much as being of another kind altogether."""
MARGIN = 0.05
"""What else could have moved must cost this much more: half a metre of way, or as much likeness."""


@dataclass(frozen=True)
class Kinds:
    """What G things look like.

    Attributes:
        voxels: (G,) int64 how many.
        centroid_m: (G, 3) float64 in the map frame.
        spread_m: (G, 3) float64 standard deviations along the principal axes, ascending.
        label: (G, L) float64 share of each label.
        color: (G, 3 * BINS) float64 histogram of each channel, summing to 1 in all; 0 where unknown.
        feature: (G, K) float64 mean; 0 where unknown.
    """

    voxels: np.ndarray
    centroid_m: np.ndarray
    spread_m: np.ndarray
    label: np.ndarray
    color: np.ndarray
    feature: np.ndarray

    def take(self, rows: np.ndarray) -> Kinds:
        """Those of these rows."""
        return Kinds(*(values[rows] for values in vars(self).values()))

    def join(self, other: Kinds) -> Kinds:
        """Both, these first; labels and features as wide as the wider of both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Kinds(*(np.concatenate(_as_wide(a, b)) for a, b in pairs))

    def put(self, rows: np.ndarray, other: Kinds) -> Kinds:
        """With these rows replaced."""
        both = self.join(other)
        source = np.arange(len(self.voxels))
        source[rows] = len(source) + np.arange(len(other.voxels))
        return both.take(source)


def kinds_of(
    group: np.ndarray,
    groups: int,
    points_m: np.ndarray,
    label: np.ndarray,
    color: np.ndarray,
    feature: np.ndarray,
) -> Kinds:
    """What groups of voxels look like.

    Args:
        group: (N,) integer, 0..groups - 1, or -1 for voxels that are of none.
        points_m: (N, 3). label: (N,) integer >= 0. color: (N, 3) in 0..255 or NaN. feature: (N, K).
    """
    rows = np.flatnonzero(group >= 0)
    at, points = group[rows], points_m[rows].astype(np.float64)
    count = np.bincount(at, minlength=groups)
    share = 1.0 / np.maximum(count, 1)
    centroid = _sums(at, groups, points) * share[:, None]
    off = points - centroid[at]
    products = (off[:, :, None] * off[:, None, :]).reshape(len(off), 9)
    variance = np.linalg.eigvalsh((_sums(at, groups, products) * share[:, None]).reshape(-1, 3, 3))
    labels = int(label.max(initial=0)) + 1
    names = np.bincount(at * labels + label[rows], minlength=groups * labels).reshape(groups, labels)
    return Kinds(
        count,
        centroid,
        np.sqrt(np.maximum(variance, 0.0)),
        names * share[:, None],
        _histogram(at, groups, color[rows]),
        _sums(at, groups, feature[rows]) * share[:, None],
    )


def alike(a: Kinds, b: Kinds, shape: bool = True) -> np.ndarray:
    """(P,) likeness in 0..1 of row by row: the mean of what is known of label, colour, feature and, if
    asked, shape."""
    label_a, label_b = _as_wide(a.label, b.label)
    feature_a, feature_b = _as_wide(a.feature, b.feature)
    cosine = (_unit(feature_a) * _unit(feature_b)).sum(1)
    values = [np.minimum(label_a, label_b).sum(1), np.minimum(a.color, b.color).sum(1), cosine.clip(0.0, 1.0)]
    known = [x.any(1) & y.any(1) for x, y in ((label_a, label_b), (a.color, b.color), (feature_a, feature_b))]
    if shape:
        log_a, log_b = np.log(a.spread_m + _THIN_M), np.log(b.spread_m + _THIN_M)
        values.append(np.exp(-np.abs(log_a - log_b).mean(1)))
        known.append(np.ones(len(log_a), bool))
    weight = np.stack(known).astype(np.float64)
    result: np.ndarray = (np.stack(values) * weight).sum(0) / np.maximum(weight.sum(0), 1.0)
    return result


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of groups that share voxels, and how many: three (P,) int64. (N,) each; -1 is no group."""
    both = (first >= 0) & (second >= 0)
    width = int(second.max(initial=0)) + 1
    code, votes = np.unique(first[both].astype(np.int64) * width + second[both], return_counts=True)
    return code // width, code % width, votes


def assign(segment: np.ndarray, thing: np.ndarray, score: np.ndarray, segments: int) -> np.ndarray:
    """(segments,) int64: the object of each segment, -1 for none; each object is taken once.

    Those who are each other's best find one another first. What is left is assigned so that the sum of
    scores is highest (Kuhn 1955, scipy's implementation).

    Args:
        segment, thing: (P,) pairs that may be the same. score: (P,) > 0.
    """
    match = np.full(segments, -1)
    order = np.lexsort((thing, segment, -score))  # best first; on a tie the lower numbers
    segment, thing, score = segment[order], thing[order], score[order]
    mutual = np.intersect1d(np.unique(segment, return_index=True)[1], np.unique(thing, return_index=True)[1])
    match[segment[mutual]] = thing[mutual]
    left = (match[segment] < 0) & ~np.isin(thing, thing[mutual])
    rows, row = np.unique(segment[left], return_inverse=True)
    columns, column = np.unique(thing[left], return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    table[row, column] = score[left]
    chosen, of = linear_sum_assignment(table, maximize=True)
    real = table[chosen, of] > 0
    match[rows[chosen[real]]] = columns[of[real]]
    return match


def moves(likeness: np.ndarray, way_m: np.ndarray, possible: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (missing, appeared) that are surely the same object, out of tables (A, B).

    The assignment is the one of least way and least difference in sum; a pair counts only where doing
    without it would cost clearly more: of twins, none is taken for the other.
    """
    cost = (1.0 - likeness) + way_m / REACH_M
    allowed = possible & (likeness >= LEAST_ALIKE) & (way_m <= REACH_M)
    gain = np.where(allowed, 2.0 - cost, 0.0)
    chosen = np.column_stack(linear_sum_assignment(gain, maximize=True))
    best = gain[tuple(chosen.T)].sum()
    sure = []
    for a, b in chosen.tolist():
        without = gain.copy()
        without[a, b] = 0.0
        if gain[a, b] > 0 and best - without[linear_sum_assignment(without, maximize=True)].sum() > MARGIN:
            sure.append((a, b))
    return sure


def _sums(group: np.ndarray, groups: int, values: np.ndarray) -> np.ndarray:
    """(groups, C) sums of (N, C) values."""
    count = len(group)
    member = csr_matrix((np.ones(count), (group, np.arange(count))), shape=(groups, count))
    sums: np.ndarray = member @ values.astype(np.float64)
    return sums


def _histogram(group: np.ndarray, groups: int, color: np.ndarray) -> np.ndarray:
    """(groups, 3 * BINS); a colour between the middles of two bins is shared by them."""
    known = ~np.isnan(color).any(1)
    at = np.clip(color[known].astype(np.float64) / 256.0 * BINS - 0.5, 0.0, BINS - 1.001)
    low = at.astype(np.int64)
    place = (group[known, None] * 3 + np.arange(3)) * BINS + low
    size = groups * 3 * BINS
    share = at - low
    table = np.bincount(place.reshape(-1), (1.0 - share).reshape(-1), minlength=size)
    table += np.bincount(place.reshape(-1) + 1, share.reshape(-1), minlength=size)[:size]
    table = table.reshape(groups, 3 * BINS)
    result: np.ndarray = table / np.maximum(table.sum(1, keepdims=True), 1e-12)
    return result


def _unit(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return result


def _as_wide(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with as many columns as the wider one, by zeros."""
    if a.ndim == 1:
        return a, b
    width = max(a.shape[1], b.shape[1])
    return (
        np.pad(a, ((0, 0), (0, width - a.shape[1]))),
        np.pad(b, ((0, 0), (0, width - b.shape[1]))),
    )
