"""What the extra ``csc-data[torch]`` brings is looked for here, before any module of the loader imports it."""

import importlib.util

from csc_data.errors import MissingPackageError

missing = [name for name in ("numba", "torch") if importlib.util.find_spec(name) is None]
if missing:
    raise MissingPackageError(
        f"csc_data.loader needs {' and '.join(missing)}, which the extra csc-data[torch] brings: "
        'pip install "csc-data[torch]", or in a clone of the toolbox pip install "./packages/csc-data[torch]"',
        name=missing[0],
    )
