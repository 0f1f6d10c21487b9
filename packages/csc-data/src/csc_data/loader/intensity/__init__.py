"""Changes of raw intensities for training: what differs between microscopes, settings and days.

`IntensityTransforms` understands experiment files and draws what happens to a patch; every transform is a class by
itself with a probability. All take and give float32 from 0 to 1; widths are in nm.
"""

from csc_data.loader.intensity.filters import Blur, LowResolution
from csc_data.loader.intensity.noise import GaussianNoise, PoissonNoise
from csc_data.loader.intensity.pointwise import Brightness, Contrast, Curve, Gamma
from csc_data.loader.intensity.sections import MissingSections, ShiftedSections
from csc_data.loader.intensity.transform import IntensityTransform
from csc_data.loader.intensity.transforms import DrawnIntensity, IntensityTransforms

__all__ = [
    "Blur",
    "Brightness",
    "Contrast",
    "Curve",
    "DrawnIntensity",
    "Gamma",
    "GaussianNoise",
    "IntensityTransform",
    "IntensityTransforms",
    "LowResolution",
    "MissingSections",
    "PoissonNoise",
    "ShiftedSections",
]
