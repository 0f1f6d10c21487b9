"""Synthetic challenge data: tissue that looks and behaves like FIB-SEM volumes, with every class and instance known."""

from csc_data.synthetic.baseline import AnnotatedImage, Band, choose_bands, predict_bands
from csc_data.synthetic.imaging import Imaging, Stain
from csc_data.synthetic.plan import TESTED_CLASSES, ChallengePlan, SyntheticCrop, SyntheticDataset, default_plan
from csc_data.synthetic.tissue.anatomy import Anatomy
from csc_data.synthetic.tissue.growing import Tissue, generate_tissue
from csc_data.synthetic.writing import SyntheticChallenge, number_objects, write_challenge

__all__ = [
    "TESTED_CLASSES",
    "Anatomy",
    "AnnotatedImage",
    "Band",
    "ChallengePlan",
    "Imaging",
    "Stain",
    "SyntheticChallenge",
    "SyntheticCrop",
    "SyntheticDataset",
    "Tissue",
    "choose_bands",
    "default_plan",
    "generate_tissue",
    "number_objects",
    "predict_bands",
    "write_challenge",
]
