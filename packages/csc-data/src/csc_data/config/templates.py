"""Path templates: text with placeholders like ``{dataset}``, filled in, anchored, and found again in paths.

Slashes of either kind do, on every system; a template may be absolute, also with a drive letter, or a URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from csc_data.storage.paths import is_remote

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_ABSOLUTE = re.compile(r"[A-Za-z]:/|/")


def placeholder_names(template: str) -> set[str]:
    """Return the names of the placeholders of a template.

    >>> sorted(placeholder_names("{dataset}/{dataset}.zarr/{crop}"))
    ['crop', 'dataset']
    """
    return set(_PLACEHOLDER.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    r"""Put values in the place of the placeholders that they name; others stay. Slashes become forward ones.

    >>> fill(r"{dataset}\{dataset}.zarr\{crop}", {"dataset": "jrc_a"})
    'jrc_a/jrc_a.zarr/{crop}'
    """
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template.replace("\\", "/"))


def anchor(root: str, template: str) -> str:
    r"""Return a template below a folder; one that is absolute stays what it is.

    >>> anchor(r"C:\data", "{dataset}/em"), anchor(r"C:\data", r"D:\{dataset}")
    ('C:/data/{dataset}/em', 'D:/{dataset}')
    """
    text = template.replace("\\", "/")
    if is_remote(text) or _ABSOLUTE.match(text):
        return text
    return f"{root.replace(chr(92), '/').rstrip('/')}/{text}"


def match(template: str, text: str) -> dict[str, str] | None:
    r"""Find the placeholders of a template again; none of them holds a slash.

    Returns
    -------
    dict or None
        None if the text does not follow the template.

    Examples
    --------
    >>> match("{dataset}/{dataset}.zarr/{crop}", r"jrc_a\jrc_a.zarr\crop1")
    {'dataset': 'jrc_a', 'crop': 'crop1'}
    >>> match("{dataset}/{dataset}.zarr/{crop}", "jrc_a/jrc_b.zarr/crop1")
    """
    expression, seen = "", set()
    for position, part in enumerate(_PLACEHOLDER.split(template.replace("\\", "/"))):
        if position % 2 == 0:
            expression += re.escape(part)
        elif part in seen:
            expression += f"(?P={part})"
        else:
            seen.add(part)
            expression += f"(?P<{part}>[^/]+)"
    found = re.fullmatch(expression, text.replace("\\", "/"))
    return found.groupdict() if found else None
