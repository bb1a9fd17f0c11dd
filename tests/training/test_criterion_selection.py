from __future__ import annotations

import pytest

from tilefix_training.evaluation.selection import BEST, LAST, selections, table


def test_what_each_rule_takes_and_what_it_costs() -> None:
    criteria = [None, {"a": 1.0, "b": 5.0}, {"a": 2.0, "b": 5.0}, {"a": 3.0, "b": 1.0}, {"a": 3.0, "b": 0.0}]
    found = selections(criteria, [0.9, 0.1, 0.2, 0.4, 0.3])
    assert list(found) == [LAST, "a", "b", BEST]
    assert (found[LAST].epoch, found[LAST].short) == (4, pytest.approx(0.6))
    assert (found["a"].epoch, found["a"].score) == (4, 0.3)  # the later of two equals
    assert (found["b"].epoch, found["b"].score, found["b"].short) == (2, 0.2, pytest.approx(0.7))
    assert (found[BEST].epoch, found[BEST].short) == (0, 0.0)
    # Ranks of a: 1, 2, 3.5, 3.5, of the score: 1, 2, 4, 3.
    assert found["a"].rank_correlation == pytest.approx(4.5 / (4.5 * 5.0) ** 0.5)
    assert found["b"].rank_correlation is not None
    assert found["b"].rank_correlation < 0.0
    assert found[LAST].rank_correlation is None


def test_a_criterion_that_never_changes_tells_nothing() -> None:
    assert selections([{"a": 1.0}, {"a": 1.0}], [0.1, 0.2])["a"].rank_correlation == 0.0


def test_runs_are_summed_up_with_their_worst() -> None:
    runs = [selections([{"a": 1.0}, {"a": 0.0}], [0.5, 0.4]), selections([{"a": 0.0}, {"a": 1.0}], [0.7, 0.1])]
    lines = table(runs).splitlines()
    assert lines[1].split() == ["last", "2", "25.0", "35.0", "60.0", "-"]
    assert lines[2].split() == ["a", "2", "30.0", "30.0", "60.0", "0.00"]


def test_an_epoch_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match="2 epochs with criteria and 1"):
        selections([None, None], [0.1])
