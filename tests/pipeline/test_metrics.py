"""Metrics are the field's: textbook values, and those of scikit-image for PSNR and MS-SSIM."""

import math
from typing import Any

import imagecodecs
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean

from dsc._pipeline.metrics import (
    HIGHER_IS_BETTER,
    MeanMetrics,
    absrel,
    delta_125,
    identical,
    mean_angle_deg,
    measure,
    ms_ssim,
    psnr_db,
    rmse_m,
)
from dsc._schemas import Task
from dsc._schemas.task import METRICS, TaskKind

DEPTH = Task(name="depth", kind=TaskKind.DEPTH, dtype="uint16", unit_m=0.001, invalid=(65535,))
NORMAL = Task(name="normal", kind=TaskKind.NORMAL, dtype="uint8", channels=3, invalid=(127,))
RGB = Task(name="rgb", kind=TaskKind.IMAGE, dtype="uint8", channels=3)
EDGE = Task(name="edge", kind=TaskKind.IMAGE, dtype="uint16")
LABEL = Task(name="label", kind=TaskKind.LABEL, dtype="uint8")


def texture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    waves = rng.uniform(0.01, 0.3, (channels, 4, 2))
    rows, columns = np.mgrid[:height, :width]
    planes = [
        sum(np.sin(a * rows + b * columns) for a, b in channel) * 25 + 128 for channel in waves
    ]
    noise = rng.normal(0, 6, (height, width, channels))
    return np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8)


def test_psnr_is_the_textbook_value() -> None:
    original = np.zeros((4, 4, 3), np.uint8)
    assert psnr_db(original, original + 5) == pytest.approx(20 * math.log10(255 / 5))
    assert psnr_db(original, original) == math.inf


def library_ms_ssim(original: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Return MS-SSIM put together from scikit-image's SSIM, scale by scale.

    A K1 beyond all measure makes SSIM's luminance term 1, which leaves the contrast term.
    """
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    options = {"data_range": 255, "gaussian_weights": True, "use_sample_covariance": False}
    channels = []
    for first, second in zip(
        np.moveaxis(original, -1, 0), np.moveaxis(decoded, -1, 0), strict=True
    ):
        a, b, product = first.astype(np.float64), second.astype(np.float64), 1.0
        for scale, weight in enumerate(weights):
            if scale:
                odd = [(0, side % 2) for side in a.shape]
                a, b = (
                    downscale_local_mean(np.pad(plane, odd, mode="edge"), (2, 2))
                    for plane in (a, b)
                )
            is_last = scale == len(weights) - 1
            product *= structural_similarity(a, b, K1=0.01 if is_last else 1e9, **options) ** weight
        channels.append(product)
    return float(np.mean(channels))


def damaged(original: NDArray[Any], kind: str) -> NDArray[Any]:
    if kind == "noise":
        noise = np.random.default_rng(1).normal(0, 12, original.shape)
        return np.clip(original + noise, 0, 255).astype(np.uint8)
    data = imagecodecs.jpeg_encode(np.ascontiguousarray(original), level=20)
    return np.asarray(imagecodecs.jpeg_decode(data)).reshape(original.shape)


@pytest.mark.parametrize("kind", ["noise", "jpeg"])
@pytest.mark.parametrize("name", ["texture", "odd texture", "astronaut", "coffee", "chelsea"])
def test_psnr_and_ms_ssim_are_those_of_scikit_image(name: str, kind: str) -> None:
    if name == "texture":
        original = texture(176, 192)
    elif name == "odd texture":
        original = texture(181, 203)
    else:
        original = getattr(skimage.data, name)()
    decoded = damaged(original, kind)
    wanted = library_ms_ssim(original, decoded)
    assert wanted < 0.995
    assert ms_ssim(original, decoded) == pytest.approx(wanted, abs=1e-10)
    wanted_db = peak_signal_noise_ratio(original, decoded, data_range=255)
    assert psnr_db(original, decoded) == pytest.approx(wanted_db, abs=1e-10)


def test_ms_ssim_of_one_scale_is_ssim() -> None:
    original = texture(20, 21, 1)[..., 0]
    decoded = np.clip(original + np.random.default_rng(1).normal(0, 12, (20, 21)), 0, 255)
    wanted = structural_similarity(
        original.astype(np.float64), decoded, data_range=255, gaussian_weights=True,
        use_sample_covariance=False,
    )  # fmt: skip
    assert ms_ssim(original, decoded) == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("shape", [(5, 7), (11, 11), (23, 45), (175, 177), (63, 300)])
def test_ms_ssim_takes_any_size_and_orders_by_damage(shape: tuple[int, int]) -> None:
    original = texture(*shape)
    rng = np.random.default_rng(3)
    values = []
    for sigma in (0, 5, 40):
        noisy = original + rng.normal(0, sigma, original.shape)
        values.append(ms_ssim(original, np.clip(noisy, 0, 255)))
    assert values[0] == pytest.approx(1.0)
    assert 0 <= values[2] < values[1] < 1


def test_depth_metrics_are_the_textbook_values() -> None:
    truth = np.array([1.0, 2.0, 4.0, np.nan, 0.0])
    found = np.array([1.1, 2.0, 6.0, 3.0, 1.0])
    assert absrel(truth, found) == pytest.approx((0.1 + 0 + 0.5) / 3)
    assert delta_125(truth, found) == pytest.approx(2 / 3)
    assert delta_125(np.array([1.0]), np.array([1.25])) == 0
    assert rmse_m(truth, found) == pytest.approx(math.sqrt((0.01 + 4 + 1) / 4))


def test_depth_is_measured_in_metres_and_without_invalid_pixels() -> None:
    original = np.array([[1000, 2000], [65535, 4000]], np.uint16)
    decoded = np.array([[1100, 2000], [65535, 4000]], np.uint16)
    values = measure(DEPTH, original, decoded)
    assert values["absrel"] == pytest.approx(0.1 / 3)
    assert values["rmse_m"] == pytest.approx(math.sqrt(0.01 / 3))
    assert values["delta_1.25"] == 1
    assert values["invalid_exact"] == 1
    decoded[1, 0] = 5
    assert measure(DEPTH, original, decoded)["invalid_exact"] == 0


def test_depth_without_a_valid_pixel_is_nan_and_leaves_means_alone() -> None:
    empty = np.full((2, 2), 65535, np.uint16)
    full = np.full((2, 2), 1000, np.uint16)
    means = MeanMetrics()
    for array in (empty, full):
        means.add(measure(DEPTH, array, array))
    assert math.isnan(measure(DEPTH, empty, empty)["absrel"])
    assert means.means() == {"absrel": 0, "rmse_m": 0, "delta_1.25": 1, "invalid_exact": 1}
    assert means.samples == 2


def test_normals_are_measured_in_degrees() -> None:
    angle = np.radians(10)
    truth = np.array([[[0, 0, 1.0], [1.0, 0, 0], [np.nan] * 3]])
    found = np.array([[[0, np.sin(angle), np.cos(angle)], [1.0, 0, 0], [1.0, 0, 0]]])
    assert mean_angle_deg(truth, found) == pytest.approx(5)
    found[0, 1] = np.nan
    assert mean_angle_deg(truth, found) == pytest.approx(50)


def test_small_angles_keep_their_digits() -> None:
    truth = np.array([[[0, 0, 1.0]]])
    tilt = np.radians(1e-6)
    found = np.array([[[np.sin(tilt), 0, np.cos(tilt)]]])
    assert mean_angle_deg(truth, found) == pytest.approx(1e-6, rel=1e-6)


def test_identical_sees_values_dtype_and_nan() -> None:
    labels = np.array([[1, 2]], np.uint8)
    assert identical(labels, labels.copy()) == 1
    assert identical(labels, labels.astype(np.int64)) == 0
    assert identical(labels, labels + 1) == 0
    vector = np.array([np.nan, 1], np.float32)
    assert identical(vector, vector.copy()) == 1


@pytest.mark.parametrize("task", [RGB, EDGE, DEPTH, NORMAL, LABEL])
def test_every_kind_gives_the_metrics_that_its_task_names(task: Task) -> None:
    shape = (16, 16, 3) if task.channels == 3 else (16, 16)
    array = np.random.default_rng(0).integers(1, 200, shape).astype(task.dtype)
    values = measure(task, array, array)
    assert set(METRICS[task.kind]) <= set(values) <= set(HIGHER_IS_BETTER)


def test_peak_is_that_of_the_dtype() -> None:
    black = np.zeros((16, 16), np.uint16)
    assert measure(EDGE, black, black + 65535)["psnr_db"] == pytest.approx(0)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="label"):
        measure(LABEL, np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
