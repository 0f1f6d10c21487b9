import importlib.util
import urllib.error
import urllib.request

import pytest

if importlib.util.find_spec("neuroglancer") is None:  # what the extra csc-data[view] brings
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def view():
    """A viewer's server on the loopback."""
    from csc_data.view import View

    with View() as running:
        yield running


@pytest.fixture
def get(view):
    """Ask the server for something below its secret; returns status, headers and body."""

    def ask(path, method="GET", **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(view.url + path, method=method, headers=names)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    return ask
