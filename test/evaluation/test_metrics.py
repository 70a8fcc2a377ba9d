"""Every figure against one worked out by hand or with a plain loop."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ws3d_ros.evaluation.metrics import base_and_novel, calibration_error, confusion_matrix, scores


def test_figures_by_hand() -> None:
    # Class 1: 4 voxels, 3 found, 1 called 2.  Class 2: 2 voxels, 1 found, 1 unknown.  Class 3: absent.
    truth = torch.tensor([1, 1, 1, 1, 2, 2])
    predicted = torch.tensor([1, 1, 1, 2, 2, 0])
    result = scores(confusion_matrix(truth, predicted, 3))
    assert result.iou[:2].tolist() == [3 / 4, 1 / 3]
    assert torch.isnan(result.iou[2])
    assert result.miou == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert result.macc == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result.fmiou == pytest.approx(4 / 6 * 3 / 4 + 2 / 6 * 1 / 3)
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.count.tolist() == [4, 2, 0]


def test_a_class_that_is_predicted_but_absent_costs_only_those_it_stole_from() -> None:
    result = scores(confusion_matrix(torch.tensor([1, 1]), torch.tensor([1, 2]), 2))
    assert result.miou == 0.5
    assert torch.isnan(result.iou[1])


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60).filter(
        lambda pairs: any(t > 0 for t, _ in pairs)
    )
)
def test_figures_agree_with_sets(pairs: list[tuple[int, int]]) -> None:
    result = scores(
        confusion_matrix(torch.tensor([t for t, _ in pairs]), torch.tensor([p for _, p in pairs]), 4)
    )
    counted = [(i, t, p) for i, (t, p) in enumerate(pairs) if t > 0]
    ious = []
    for c in range(1, 5):
        true = {i for i, t, _ in counted if t == c}
        said = {i for i, _, p in counted if p == c}
        if true:
            ious.append(len(true & said) / len(true | said))
    assert result.miou == pytest.approx(float(np.mean(ious)))
    assert result.accuracy == pytest.approx(sum(t == p for _, t, p in counted) / len(counted))


def test_harmonic_iou_by_hand() -> None:
    # IoU of the four classes: 1, 1/2, 1/4 and absent.
    confusion = torch.tensor([[0, 3, 0, 0, 0], [1, 0, 1, 0, 0], [3, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    result = base_and_novel(scores(confusion), novel=[3, 4])
    assert result.base_miou == pytest.approx(3 / 4)
    assert result.novel_miou == pytest.approx(1 / 4)
    assert result.hiou == pytest.approx(2 / (4 / 3 + 4))
    nothing = torch.tensor([[0, 3, 0], [1, 1, 0]])
    assert base_and_novel(scores(nothing), novel=[2]).hiou == 0.0


@pytest.mark.parametrize("novel", [[], [4], [1, 2, 3]])
def test_harmonic_iou_needs_both_kinds(novel: list[int]) -> None:
    present = scores(torch.cat([torch.zeros(4, 1), torch.diag(torch.tensor([1, 1, 1, 0]))], 1).long())
    with pytest.raises(ValueError, match="a base class and a novel class"):
        base_and_novel(present, novel)


def test_calibration_error_by_hand() -> None:
    # Bin of 0.95: three labels, two right -> gap 0.95 - 2/3; bin of 0.25: one label, wrong -> 0.25.
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.25])
    correct = torch.tensor([True, True, False, False])
    expected = 3 / 4 * (0.95 - 2 / 3) + 1 / 4 * 0.25
    assert calibration_error(confidence, correct) == pytest.approx(expected, abs=1e-6)  # float32 input


def test_perfectly_calibrated_labels_have_no_error() -> None:
    confidence = torch.full((10,), 0.7)
    assert calibration_error(confidence, torch.arange(10) < 7) == pytest.approx(0.0, abs=1e-6)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"0\.\.2"):
        confusion_matrix(torch.tensor([1]), torch.tensor([3]), 2)
    with pytest.raises(ValueError, match="labels"):
        confusion_matrix(torch.tensor([1, 2]), torch.tensor([1]), 2)
    with pytest.raises(ValueError, match="no voxel"):
        scores(confusion_matrix(torch.tensor([0]), torch.tensor([1]), 2))
