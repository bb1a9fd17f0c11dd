"""Labels carried across views: against the procedure written out, every assignment tried, and planted places."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilefix_training.method.cluster import OUTLIER
from tilefix_training.method.enhancement import _best_assignment, by_assignment, by_cluster_vote, by_image_vote


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Planted:
    """Drone images and satellites of places that overlap in part, and drone clusters with faults.

    150 places with 12 drone images each; 15 % of them have no satellite image, and 45 satellite images show places
    never flown over. Of the clusters 10 % are halves of a place, 7 % two places in one, 10 % of the images are in a
    wrong cluster and 5 % in none. The views are apart by an offset, and some images lie near a direction all share.
    """

    def __init__(self, seed: int, noise: float = 0.7) -> None:
        rng = np.random.default_rng(seed)
        basis = rng.normal(size=(24, 128))
        look = unit(rng.normal(size=(195, 24)) @ basis)
        offsets = unit(rng.normal(size=(3, 128)))
        images = np.repeat(np.arange(150), 12)

        def seen(places: np.ndarray, offset: np.ndarray) -> np.ndarray:
            nuisance = unit(rng.normal(size=(len(places), 24)) @ basis) * rng.uniform(0.5, 1.5, (len(places), 1))
            hub = np.abs(rng.normal(size=(len(places), 1))) * offsets[2]
            return unit(look[places] + noise * nuisance + 1.5 * offset + 0.5 * hub)

        self.satellite_place = rng.permutation(
            np.concatenate([np.flatnonzero(rng.random(150) > 0.15), np.arange(150, 195)])
        )
        self.drone, self.satellite = seen(images, offsets[0]), seen(self.satellite_place, offsets[1])

        labels = images.copy()
        self.places = {place: {place} for place in range(150)}
        for number, place in enumerate(rng.choice(150, 15, replace=False)):
            labels[np.flatnonzero(images == place)[:6]] = 150 + number
            self.places[150 + number] = {place}
        for a, b in rng.choice(150, (5, 2), replace=False):
            labels[labels == b] = a
            self.places[a] = self.places[a] | self.places.pop(b)
        wrong = rng.random(len(labels)) < 0.1
        labels[wrong] = rng.choice(list(self.places), wrong.sum())
        labels[rng.random(len(labels)) < 0.05] = OUTLIER
        names, numbers = np.unique(labels[labels >= 0], return_inverse=True)
        labels[labels >= 0] = numbers
        self.labels = labels
        self.sets = [self.places[int(name)] for name in names]

    def score(self, given_labels: np.ndarray) -> tuple[float, float]:
        """Share of the satellites of flown places with a right label, and share of the labels that are right."""
        right = [
            label >= 0 and p in self.sets[label] for p, label in zip(self.satellite_place, given_labels, strict=True)
        ]
        return sum(right) / int((self.satellite_place < 150).sum()), sum(right) / max(1, int((given_labels >= 0).sum()))


@pytest.mark.parametrize(("way", "matched", "precision"), [(by_assignment, 0.8, 0.85), (by_cluster_vote, 0.7, 0.85)])
def test_planted_places_are_found_where_the_sets_overlap_in_part(way, matched: float, precision: float) -> None:  # type: ignore[no-untyped-def]
    for seed in (1, 2):
        planted = Planted(seed)
        labels, confidence = way(planted.drone, planted.labels, planted.satellite)
        found = planted.score(labels)
        assert found[0] > matched
        assert found[1] > precision
        assert len(set(labels[labels >= 0])) == (labels >= 0).sum()  # one satellite a cluster
        assert ((confidence > 0) == (labels >= 0)).all()
        assert confidence.max() <= 1.0
        sure = np.where(confidence > np.median(confidence[labels >= 0]), labels, OUTLIER)
        assert planted.score(sure)[1] >= found[1]


def test_clusters_decide_better_than_noisy_images() -> None:
    planted = Planted(3)
    of_images = planted.score(by_image_vote(planted.drone, planted.labels, planted.satellite, np.random.default_rng(0)))
    for way in (by_assignment, by_cluster_vote):
        of_clusters = planted.score(way(planted.drone, planted.labels, planted.satellite)[0])
        assert of_clusters[0] > of_images[0] + 0.2
        assert of_clusters[1] > of_images[1] + 0.2


def test_views_without_a_common_place_get_few_labels() -> None:
    one, other = Planted(4), Planted(5)
    labels, _ = by_assignment(one.drone, one.labels, other.satellite, least=2.0)
    assert (labels >= 0).mean() < 0.2


def image_vote_by_hand(drone, labels, satellite, rng, neighbours, noise, smooth) -> list[int]:  # type: ignore[no-untyped-def]
    a, b = unit(satellite), unit(drone)
    noisy_a = a + rng.normal(0.0, noise, a.shape).astype(np.float32)
    noisy_b = b + rng.normal(0.0, noise, b.shape).astype(np.float32)
    votes = []
    for clean, noisy in zip(a @ b.T, noisy_a @ noisy_b.T, strict=True):
        clean_labels = [int(labels[j]) for j in np.argsort(-clean)[:neighbours]]
        counts = Counter(int(labels[j]) for j in np.argsort(-noisy)[:neighbours])
        votes.append(max(clean_labels, key=lambda label: counts[label]))
    similarity = a @ a.T + noisy_a @ noisy_a.T
    np.fill_diagonal(similarity, np.inf)
    given_labels = []
    for vote, row in zip(votes, similarity, strict=True):
        counts = Counter(votes[j] for j in np.argsort(-row)[:smooth])
        most = max(counts.values())
        given_labels.append(OUTLIER if vote == OUTLIER else min(label for label in counts if counts[label] == most))
    return given_labels


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), neighbours=st.integers(1, 12), smooth=st.integers(1, 6), noise=st.floats(0.0, 0.3))
def test_image_vote_equals_the_procedure(seed: int, neighbours: int, smooth: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    drone, satellite = rng.normal(size=(40, 6)).astype(np.float32), rng.normal(size=(15, 6)).astype(np.float32)
    labels = rng.integers(-1, 5, 40)
    found = by_image_vote(
        drone, labels, satellite, np.random.default_rng(seed), neighbours=neighbours, noise=noise, smooth=smooth
    )
    expected = image_vote_by_hand(drone, labels, satellite, np.random.default_rng(seed), neighbours, noise, smooth)
    assert found.tolist() == expected


def test_image_vote_on_copies_averages_the_votes_of_a_picture() -> None:
    planted = Planted(6, noise=0.3)
    once = planted.score(by_image_vote(planted.drone, planted.labels, planted.satellite, np.random.default_rng(0)))
    copied = by_image_vote(
        planted.drone, planted.labels, np.repeat(planted.satellite, 8, axis=0), np.random.default_rng(0)
    )
    assert planted.score(copied[::8])[0] > once[0]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 5), columns=st.integers(1, 5), kept=st.floats(0.2, 1.0))
def test_the_assignment_has_the_greatest_gain_of_all(seed: int, rows: int, columns: int, kept: float) -> None:
    rng = np.random.default_rng(seed)
    gain = np.where(rng.random((rows, columns)) < kept, rng.normal(size=(rows, columns)), np.nan)
    row, column = np.nonzero(~np.isnan(gain))
    chosen = _best_assignment(row, column, gain[row, column].astype(np.float32), rows, columns)
    assert len(set(row[chosen])) == len(chosen) == len(set(column[chosen]))
    padded = np.zeros((rows, columns + rows))  # a column without gain for every row: it may stay alone
    padded[:, :columns] = np.nan_to_num(gain, nan=-1.0)
    best = max(padded[np.arange(rows), list(order)].sum() for order in permutations(range(columns + rows), rows))
    assert gain[row[chosen], column[chosen]].sum() == pytest.approx(best, abs=1e-5)


def test_two_clusters_of_one_place_leave_one_without_satellite() -> None:
    rng = np.random.default_rng(7)
    places = rng.normal(size=(20, 64))
    images = np.repeat(np.arange(20), 8)
    drone = places[images] + 0.4 * rng.normal(size=(160, 64))
    labels = images.copy()
    labels[np.flatnonzero(images == 3)[:4]] = 20
    for way in (by_assignment, by_cluster_vote):
        found, _ = way(drone.astype(np.float32), labels, places.astype(np.float32))
        assert found[3] in {3, 20}
        np.testing.assert_array_equal(np.delete(found, 3), np.delete(np.arange(20), 3))


def test_neither_an_offset_of_a_view_nor_lengths_change_the_assignment() -> None:
    planted = Planted(8)
    labels, _ = by_assignment(planted.drone, planted.labels, planted.satellite)
    longer, _ = by_assignment(7.0 * planted.drone, planted.labels, 0.1 * planted.satellite)
    np.testing.assert_array_equal(labels, longer)


@pytest.mark.parametrize("way", [by_assignment, by_cluster_vote])
def test_without_clusters_there_are_no_labels(way) -> None:  # type: ignore[no-untyped-def]
    rows = unit(np.random.default_rng(0).normal(size=(6, 4)))
    labels, confidence = way(rows, np.full(6, OUTLIER), rows[:4])
    assert labels.tolist() == [OUTLIER] * 4
    assert confidence.tolist() == [0.0] * 4
    assert by_image_vote(rows, np.full(6, OUTLIER), rows[:4], np.random.default_rng(0)).tolist() == [OUTLIER] * 4


@pytest.mark.parametrize("way", [by_assignment, by_cluster_vote])
def test_one_cluster_and_one_satellite_are_no_error(way) -> None:  # type: ignore[no-untyped-def]
    rows = unit(np.random.default_rng(0).normal(size=(3, 4)))
    labels, confidence = way(rows, np.zeros(3, np.int64), rows[:1])
    assert labels.shape == confidence.shape == (1,)


@pytest.mark.parametrize("way", [by_assignment, by_cluster_vote])
def test_copies_of_a_picture_share_its_label(way) -> None:  # type: ignore[no-untyped-def]
    planted = Planted(9)
    labels, confidence = way(planted.drone, planted.labels, planted.satellite)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(labels)), 12))
    of_copies, confidence_of_copies = way(planted.drone, planted.labels, planted.satellite[order])
    assert (of_copies == labels[order]).mean() > 0.99  # the mean of the view is rounded otherwise
    np.testing.assert_allclose(confidence_of_copies.mean(), confidence.mean(), atol=0.01)
