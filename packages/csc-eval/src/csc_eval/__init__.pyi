from .comparing.comparison import Comparison as Comparison
from .comparing.comparison import compare_results as compare_results
from .instances.components import connected_components as connected_components
from .instances.distances import hausdorff_distances as hausdorff_distances
from .placing.align import match_crop_space as match_crop_space
from .rules import DEFINITION as DEFINITION
from .rules import LEADERBOARD as LEADERBOARD
from .rules import PANOPTIC as PANOPTIC
from .rules import RULE_SETS as RULE_SETS
from .rules import Rules as Rules
from .rules import get_rules as get_rules
from .running.result_files import read_result as read_result
from .running.submission import score_crop as score_crop
from .running.submission import score_submission as score_submission
from .running.submission import write_results as write_results
from .scoring.aggregate import combine_scores as combine_scores
from .scoring.array_scores import Matching as Matching
from .scoring.array_scores import match_instances as match_instances
from .scoring.array_scores import score_instances as score_instances
from .scoring.array_scores import score_semantic as score_semantic
from .scoring.metrics import METRICS as METRICS
from .scoring.results import ClassScore as ClassScore
from .scoring.results import CombinedScores as CombinedScores
from .scoring.results import Difference as Difference
from .scoring.results import LabelScore as LabelScore
from .scoring.results import SubmissionScore as SubmissionScore
from .validating.findings import Finding as Finding
from .validating.findings import Validation as Validation
from .validating.submission import validate_submission as validate_submission

__all__ = [
    "DEFINITION",
    "LEADERBOARD",
    "METRICS",
    "PANOPTIC",
    "RULE_SETS",
    "ClassScore",
    "CombinedScores",
    "Comparison",
    "Difference",
    "Finding",
    "LabelScore",
    "Matching",
    "Rules",
    "SubmissionScore",
    "Validation",
    "combine_scores",
    "compare_results",
    "connected_components",
    "get_rules",
    "hausdorff_distances",
    "match_crop_space",
    "match_instances",
    "read_result",
    "score_crop",
    "score_instances",
    "score_semantic",
    "score_submission",
    "validate_submission",
    "write_results",
]
