"""How much decoded maps differ from their originals: image, depth, normal and label metrics."""

from dsc._pipeline.metrics import (
    absrel,
    angles_deg,
    delta_125,
    identical,
    mean_angle_deg,
    measure,
    ms_ssim,
    psnr_db,
    rmse_m,
)

__all__ = [
    "absrel",
    "angles_deg",
    "delta_125",
    "identical",
    "mean_angle_deg",
    "measure",
    "ms_ssim",
    "psnr_db",
    "rmse_m",
]
