"""The organelles that are placed one by one: how large they are, and how many.

A source stands beside each figure; MBoC is Alberts et al., Molecular Biology of the Cell. What nobody has published in
this form is called a guess. Numbers are of candidates: of two that would meet only one is there, so that tissue holds
fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Organelles of one kind.

    Attributes
    ----------
    name : str
    per_um3 : float
        Candidates per cubic micrometre of cytoplasm.
    radius_nm : (float, float)
        Of the ball, the tube or the bundle.
    length_nm : (float, float)
        Of what is long; its middle line is an arc.
    points : int
        That stand for the middle line.
    bend : float
        How far an arc leaves its chord, as a share of its length, at most.
    gap_nm : float
        Least distance from others.
    ids : int
        How many objects it may hold, those inside of it or around it included.
    at_pole : float
        How much rarer it is far from the centrosome: 0 for not at all, 1 for hardly any.
    tile_nm : float
        Edge of the cubes in which candidates are drawn.
    """

    name: str
    per_um3: float
    radius_nm: Range
    length_nm: Range = (0.0, 0.0)
    points: int = 1
    bend: float = 0.0
    gap_nm: float = 24.0
    ids: int = 1
    at_pole: float = 0.0
    tile_nm: float = 2900.0

    @property
    def reach_nm(self) -> float:
        """How far it reaches from its middle, at most."""
        return self.length_nm[1] / 2 * (1 + self.bend) + self.radius_nm[1] + 30.0


CENTRIOLE_NM = (112.0, 450.0)
"""Radius and length: 250 nm across, 500 nm long (MBoC), less what is lost in resin (a guess)."""

KINDS = (
    # Two per cell; they are placed by the cell. The radius includes the appendages.
    Kind(name="centriole", per_um3=0.0, radius_nm=(205.0, 205.0), length_nm=(450.0, 450.0), points=3),
    # Four to eight cisternae (MBoC), about 1 um wide; here the smaller ones. Numbers are a guess.
    Kind(name="golgi", per_um3=0.30, radius_nm=(330.0, 520.0), ids=48, at_pole=0.9),
    # 0.5 to 1 um wide and several um long (MBoC); pieces, as of a network that is cut.
    Kind(name="mito", per_um3=1.5, radius_nm=(130.0, 260.0), length_nm=(450.0, 1900.0), points=9, bend=0.16),
    # Tubes of 25 nm (MBoC); bundles and their numbers are a guess.
    Kind(
        name="mt",
        per_um3=0.5,
        radius_nm=(60.0, 100.0),
        length_nm=(700.0, 1700.0),
        points=13,
        bend=0.06,
        gap_nm=14.0,
        ids=8,
        at_pole=0.2,
    ),
    # 0.1 to 1.2 um wide (MBoC: 0.2 to 0.5 um); numbers are a guess.
    Kind(name="lyso", per_um3=0.34, radius_nm=(130.0, 330.0), at_pole=0.4),
    # Multivesicular bodies: 250 to 1000 nm (Huotari and Helenius 2011, EMBO J 30:3481); numbers are a guess.
    Kind(name="endo", per_um3=0.30, radius_nm=(125.0, 290.0)),
    # 0.1 um to several um (Walther and Farese 2012, Annu Rev Biochem 81:687); the smaller ones.
    Kind(name="ld", per_um3=0.30, radius_nm=(110.0, 360.0)),
    # 0.1 to 1 um (MBoC, Smith and Aitchison 2013, Nat Rev Mol Cell Biol 14:803).
    Kind(name="perox", per_um3=0.26, radius_nm=(85.0, 210.0)),
    # With their vesicles about 500 nm wide (Bannykh et al. 1996, J Cell Biol 135:19); numbers are a guess.
    Kind(name="eres", per_um3=0.45, radius_nm=(170.0, 240.0), ids=12, gap_nm=10.0, at_pole=0.3),
    # COPI and COPII vesicles are 50 to 100 nm wide (MBoC); numbers are a guess.
    Kind(name="ves", per_um3=34.0, radius_nm=(26.0, 48.0), gap_nm=16.0, tile_nm=1600.0),
)
"""In the order in which they take their places."""

FIRM = ("mito", "mt")
"""Kinds that are thinned before others look whether there is room; of the others, candidates count, as looking further
would take all tiles around."""
