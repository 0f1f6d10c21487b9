"""The official CellMap Segmentation Challenge score, exact and in seconds, without torch.

``score_submission`` scores what the portal scores; ``score_crop``, ``score_instances`` and ``score_semantic`` score
parts of it; ``Rules`` say what holds where ways of scoring differ. Names are imported when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
