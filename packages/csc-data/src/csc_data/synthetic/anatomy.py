"""How large and how frequent the organelles of synthetic tissue are.

Sizes are those of small cells: organelles have about their real calibre, but cells and nuclei are a few times smaller
than most, so that volumes of one or two micrometres hold all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Sizes in nm and numbers per cubic micrometre of cytoplasm.

    Attributes
    ----------
    cell_diameter_nm : float
        Distance between the centres of neighbouring cells.
    cell_gap_nm : (float, float)
        Width of the extracellular cleft where it is narrow and where it is wide.
    nucleus_share : (float, float)
        Radius of a nucleus as a share of the distance from the cell's centre to its nearest side.
    membrane_nm : float
        Thickness of a membrane, staining included; the same for all organelles, so that it tells none of them apart.
    gap_nm : float
        Least distance between the membranes of two organelles.
    mito_radius_nm, mito_length_nm : (float, float)
        Mitochondria: tubes with cristae, ``crista_spacing_nm`` apart.
    droplet_radius_nm, lysosome_radius_nm, endosome_radius_nm, peroxisome_radius_nm, vesicle_radius_nm : (float, float)
        Round organelles, membrane included.
    glycogen_radius_nm : (float, float)
        Dark grains without a lumen, about as large as vesicles.
    er_radius_nm : float
        Radius of the tubes of the endoplasmic reticulum, and half the thickness of its sheets.
    microtubule_radius_nm : float
        Outer radius.
    mitos, droplets, lysosomes, endosomes, peroxisomes, golgis, er_branches, er_sheets, microtubules, vesicles,
    glycogen : float
        Numbers per cubic micrometre of cytoplasm that are aimed at; crowding may leave fewer.
    pores : float
        Nuclear pores per square micrometre of envelope.
    """

    cell_diameter_nm: float = 1900.0
    cell_gap_nm: Range = (32.0, 130.0)
    nucleus_share: Range = (0.60, 0.70)
    membrane_nm: float = 15.0
    gap_nm: float = 16.0
    mito_radius_nm: Range = (80.0, 125.0)
    mito_length_nm: Range = (240.0, 700.0)
    crista_spacing_nm: float = 52.0
    droplet_radius_nm: Range = (55.0, 120.0)
    lysosome_radius_nm: Range = (75.0, 130.0)
    endosome_radius_nm: Range = (75.0, 125.0)
    peroxisome_radius_nm: Range = (60.0, 90.0)
    vesicle_radius_nm: Range = (42.0, 60.0)
    glycogen_radius_nm: Range = (24.0, 46.0)
    er_radius_nm: float = 33.0
    microtubule_radius_nm: float = 12.5
    mitos: float = 20.0
    droplets: float = 8.0
    lysosomes: float = 2.0
    endosomes: float = 2.0
    peroxisomes: float = 2.0
    golgis: float = 1.5
    er_branches: float = 160.0
    er_sheets: float = 3.0
    microtubules: float = 6.0
    vesicles: float = 80.0
    glycogen: float = 260.0
    pores: float = 8.0
