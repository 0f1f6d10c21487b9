import subprocess
import sys

import pytest

SCRIPT = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # as if it were not installed
from csc_data.loader import get_dataloader
"""


@pytest.mark.parametrize("absent", [["numba"], ["torch"], ["numba", "torch"]])
def test_a_missing_extra_is_one_error_that_says_what_to_install(absent):
    named = " and ".join(absent)
    found = subprocess.run([sys.executable, "-c", SCRIPT, *absent], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr.count("Traceback") == 1
    assert found.stderr.splitlines()[-1].startswith(
        f"csc_data.errors.MissingPackageError: csc_data.loader needs {named}, which the extra csc-data[torch] brings: "
        'pip install "csc-data[torch]"'
    )


def test_it_is_an_import_error_that_names_the_package():
    script = SCRIPT.replace("from csc_data", "try:\n    from csc_data") + (
        "except ImportError as error:\n    print(error.name, type(error).__mro__[1].__name__)"
    )
    found = subprocess.run([sys.executable, "-c", script, "numba"], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["numba", "CscError"]
