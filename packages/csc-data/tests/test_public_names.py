import importlib
import subprocess
import sys

import pytest

import csc_data


@pytest.mark.parametrize("name", csc_data.__all__)
def test_every_public_name_is_there(name):
    assert getattr(csc_data, name) is not None
    assert name in dir(csc_data)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module("csc_data").no_such_name  # noqa: B018


def test_importing_the_package_waits_for_neither_numpy_nor_zarr():
    code = "import sys, csc_data; print(sorted({'numpy', 'zarr', 'scipy', 'fsspec'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
