"""What every network of the catalogue promises, as tests for networks of other packages; needs the extra ``[testing]``.

A package that brings networks has a test file with this, and pytest runs the tests::

    from csc_models.testing import ModelContract

    class TestOurs(ModelContract):
        cases = {"small": ("theirs", {"width": 4}), "deep": ("theirs", {"width": 2, "depth": 5})}
"""

from csc_models.optional import import_extra

# Before the import: pytest then shows the values of an assertion that fails, as in files of tests.
import_extra("pytest", extra="testing", purpose="csc_models.testing").register_assert_rewrite(
    "csc_models.testing.contract"
)

from csc_models.testing.contract import ModelContract  # noqa: E402

__all__ = ["ModelContract"]
