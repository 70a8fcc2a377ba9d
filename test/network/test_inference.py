"""Reading: rows as they came in, the same bits again, and never NaN."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, pad
from trained import corner, trained_student

from ws3d_ros.network import inference
from ws3d_ros.network.backends.torch_backend import TorchBackend
from ws3d_ros.network.inference import NotFiniteError, Reader, choose_precision, prepare
from ws3d_ros.network.inputs import input_features
from ws3d_ros.network.sparse_tensor import sparse_tensor
from ws3d_ros.network.student import Student

CPU = torch.device("cpu")
EVERYTHING = {"classes": ("a", "b", "c"), "boundary": True, "offset": True}


def reader(student: Student, precision: str = "float32") -> Reader:
    return Reader(student, TorchBackend(), CPU, precision)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_a_reading_is_the_students_in_the_order_of_the_input() -> None:
    student = trained_student(**EVERYTHING)
    cells, color, normal = corner()
    x, cell = sparse_tensor(
        pad(cells, (1, 0)), input_features(student.spec.inputs, color, normal), TorchBackend()
    )
    with torch.no_grad():
        expected = student(x)
    found = reader(student).read(cells, color, normal)
    for name, value in vars(expected).items():
        # Folding and other orders of summation; float32.
        assert relative_error(getattr(found, name), value[cell]) < 1e-4, name
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(1))
    shuffled = reader(student).read(cells[order], color[order], normal[order])
    assert torch.equal(shuffled.embedding, found.embedding[order])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_same_cloud_gives_the_same_bits(precision: str) -> None:
    cloud = corner()
    first = reader(trained_student(**EVERYTHING), precision)
    again = reader(trained_student(**EVERYTHING), precision)
    one, two, other = first.read(*cloud), first.read(*cloud), again.read(*cloud)
    for name, value in vars(one).items():
        assert torch.equal(value, getattr(two, name)), name
        assert torch.equal(value, getattr(other, name)), name
        assert value.dtype == torch.float32


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_says_nearly_the_same(precision: str) -> None:
    student, cloud = trained_student(dim=32), corner()
    exact = reader(student).read(*cloud).embedding
    rough = reader(student, precision).read(*cloud).embedding
    # bfloat16 keeps 8 bits, float16 11: 0.9 and 0.12 % were measured on this cloud.
    assert relative_error(rough, exact) < {"bfloat16": 0.03, "float16": 0.004}[precision]
    assert cosine_similarity(rough, exact).min() > 0.998


def test_points_of_one_cell_get_its_answer() -> None:
    student = trained_student()
    cells, color, normal = corner()
    color = color.nan_to_num(90.0)
    twice = [torch.cat([values, values]) for values in (cells, color, normal)]
    twice[1] = torch.cat([color - 20.0, color + 20.0])
    found = reader(student).read(*twice).embedding
    assert torch.equal(found[: len(cells)], found[len(cells) :])
    assert relative_error(found[: len(cells)], reader(student).read(cells, color, normal).embedding) < 1e-4


def test_a_student_without_the_other_heads() -> None:
    reading = reader(trained_student()).read(*corner())
    assert reading.embedding.shape == (len(corner()[0]), 4)
    assert reading.classes is reading.boundary is reading.offset_m is None


def test_a_student_that_reads_shape_alone_does_not_care_for_colour() -> None:
    shape_only = reader(trained_student(inputs=("one", "normal")))
    cells, color, normal = corner()
    unknown = torch.full_like(color, torch.nan)
    expected = shape_only.read(cells, color, normal).embedding
    assert torch.equal(shape_only.read(cells, unknown, normal).embedding, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_voxels_and_one(precision: str) -> None:
    ready = reader(trained_student(**EVERYTHING), precision)
    for count in (0, 1):
        reading = ready.read(*(values[:count] for values in corner()))
        assert reading.embedding.shape == (count, 4)
        assert reading.offset_m is not None
        assert reading.offset_m.shape == (count, 3)


def test_not_finite_is_an_error_that_says_what_to_do() -> None:
    student = trained_student()
    with torch.no_grad():
        student.heads.projector.weight *= 1e6  # more than float16 holds
    assert reader(student).read(*corner()).embedding.isfinite().all()
    with pytest.raises(NotFiniteError, match=r"embedding of .* voxels in float16; set .* to float32"):
        reader(student, "float16").read(*corner())
    with pytest.raises(NotFiniteError, match="float16"):
        reader(student, "float16").warm_up()
    with torch.no_grad():
        student.unet.bn0.bn.running_var[0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"in float32$"):
        reader(student).read(*corner())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_normal_that_is_not_finite_is_refused(value: float) -> None:
    cells, color, normal = corner()
    normal[3, 1] = value
    with pytest.raises(ValueError, match=f"1 of {len(cells)} voxels"):
        reader(trained_student()).read(cells, color, normal)


def test_other_shapes_are_refused() -> None:
    cells, color, normal = corner()
    with pytest.raises(ValueError, match=r"coords must be \(N, 4\)"):
        reader(trained_student()).read(cells[:-1], color, normal)
    with pytest.raises(ValueError, match="within"):
        reader(trained_student()).read(cells + (1 << 20), color, normal)


def test_it_reads_from_any_thread_without_gradients() -> None:
    ready = reader(trained_student())
    expected = ready.read(*corner()).embedding
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: ready.read(*corner()).embedding, range(6)))
    assert all(torch.equal(embedding, expected) for embedding in found)
    assert not any(embedding.requires_grad for embedding in found)


def test_the_student_is_copied() -> None:
    student = trained_student()
    ready = reader(student, "bfloat16")
    expected = ready.read(*corner()).embedding
    with torch.no_grad():
        for parameter in student.parameters():
            assert parameter.dtype == torch.float32
            parameter.zero_()
    assert torch.equal(ready.read(*corner()).embedding, expected)


@pytest.mark.parametrize(("precision", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_prepare_casts_everything(precision: str, dtype: torch.dtype) -> None:
    prepared = prepare(trained_student(**EVERYTHING), CPU, precision)
    assert {tensor.dtype for tensor in prepared.state_dict().values()} == {dtype}
    assert not prepared.training


def test_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda", 0)
    assert choose_precision(cuda) == "float16"
    assert choose_precision(cuda, "float32") == "float32"
    monkeypatch.setattr(inference, "bf16_pays", lambda: True)
    assert choose_precision(CPU) == "bfloat16"
    monkeypatch.setattr(inference, "bf16_pays", lambda: False)
    assert choose_precision(CPU) == reader(trained_student(), "auto").precision == "float32"
    with pytest.raises(ValueError, match="unknown precision 'float8'; known are auto, float32"):
        choose_precision(CPU, "float8")


def test_warm_up_works_for_every_input() -> None:
    for inputs in (("one",), ("normal",), ("color", "normal")):
        reader(trained_student(inputs=inputs)).warm_up()


def test_what_a_reader_tells_of_itself() -> None:
    student = trained_student()
    ready = reader(student, "float16")
    assert ready.spec is student.spec
    assert (ready.precision, ready.device) == ("float16", CPU)
