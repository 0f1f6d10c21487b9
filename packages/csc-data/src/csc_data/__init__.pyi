from .blocks import BlockGrid as BlockGrid
from .blocks import Ledger as Ledger
from .blocks import run_blocks as run_blocks
from .challenge import get_class_relations as get_class_relations
from .challenge import get_test_crops as get_test_crops
from .challenge import get_tested_classes as get_tested_classes
from .config.experiment import read_experiment as read_experiment
from .config.user_config import Config as Config
from .config.user_config import load_config as load_config
from .errors import CscError as CscError
from .errors import Problem as Problem
from .errors import ProblemsError as ProblemsError
from .fetching import fetch_data as fetch_data
from .geometry import Grid as Grid
from .geometry import Roi as Roi
from .splits.official_names import get_dataset_counts as get_dataset_counts
from .splits.official_names import make_datasplit_csv as make_datasplit_csv
from .splits.official_names import make_s3_datasplit_csv as make_s3_datasplit_csv
from .splits.split_file import SplitRow as SplitRow
from .splits.split_file import read_datasplit as read_datasplit
from .splits.split_file import write_datasplit as write_datasplit
from .splits.splitting import SplitOptions as SplitOptions
from .splits.splitting import make_datasplit as make_datasplit
from .volumes import Volume as Volume
from .volumes import open_volume as open_volume
from .volumes import write_multiscale as write_multiscale

__version__: str
__all__ = [
    "BlockGrid",
    "Config",
    "CscError",
    "Grid",
    "Ledger",
    "Problem",
    "ProblemsError",
    "Roi",
    "SplitOptions",
    "SplitRow",
    "Volume",
    "fetch_data",
    "get_class_relations",
    "get_dataset_counts",
    "get_test_crops",
    "get_tested_classes",
    "load_config",
    "make_datasplit",
    "make_datasplit_csv",
    "make_s3_datasplit_csv",
    "open_volume",
    "read_datasplit",
    "read_experiment",
    "run_blocks",
    "write_datasplit",
    "write_multiscale",
]
