"""Synthetic challenge data: tissue that looks and behaves like FIB-SEM volumes, with every class and instance known."""

from csc_data.synthetic.baseline import AnnotatedImage, Band, choose_bands, predict_bands
from csc_data.synthetic.imaging import Imaging, Stain
from csc_data.synthetic.plan import TESTED_CLASSES, CropPlan, DatasetPlan, default_plans
from csc_data.synthetic.tissue.anatomy import Anatomy
from csc_data.synthetic.tissue.growing import Tissue, generate_tissue
from csc_data.synthetic.writing import SyntheticChallenge, number_objects, write_challenge

__all__ = [
    "TESTED_CLASSES",
    "Anatomy",
    "AnnotatedImage",
    "Band",
    "CropPlan",
    "DatasetPlan",
    "Imaging",
    "Stain",
    "SyntheticChallenge",
    "Tissue",
    "choose_bands",
    "default_plans",
    "generate_tissue",
    "number_objects",
    "predict_bands",
    "write_challenge",
]
