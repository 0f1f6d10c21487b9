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
    er_sheet_radius_nm, golgi_radius_nm : (float, float)
        Radius of flat cisternae.
    microtubule_radius_nm : float
        Outer radius.
    mitos, droplets, lysosomes, endosomes, peroxisomes, golgis, er_branches, er_sheets, microtubules, vesicles,
    glycogen : float
        Numbers per cubic micrometre of cytoplasm that are aimed at; crowding may leave fewer.
    pores : float
        Nuclear pores per square micrometre of envelope.
    """

    cell_diameter_nm: float = 1450.0
    cell_gap_nm: Range = (30.0, 110.0)
    nucleus_share: Range = (0.60, 0.70)
    membrane_nm: float = 13.0
    gap_nm: float = 14.0
    mito_radius_nm: Range = (62.0, 92.0)
    mito_length_nm: Range = (200.0, 520.0)
    crista_spacing_nm: float = 42.0
    droplet_radius_nm: Range = (42.0, 85.0)
    lysosome_radius_nm: Range = (55.0, 95.0)
    endosome_radius_nm: Range = (55.0, 92.0)
    peroxisome_radius_nm: Range = (45.0, 65.0)
    vesicle_radius_nm: Range = (34.0, 47.0)
    glycogen_radius_nm: Range = (20.0, 36.0)
    er_radius_nm: float = 27.0
    er_sheet_radius_nm: Range = (110.0, 200.0)
    golgi_radius_nm: Range = (110.0, 170.0)
    microtubule_radius_nm: float = 12.5
    mitos: float = 40.0
    droplets: float = 24.0
    lysosomes: float = 4.0
    endosomes: float = 4.0
    peroxisomes: float = 4.0
    golgis: float = 3.0
    er_branches: float = 420.0
    er_sheets: float = 6.0
    microtubules: float = 10.0
    vesicles: float = 170.0
    glycogen: float = 380.0
    pores: float = 8.0
