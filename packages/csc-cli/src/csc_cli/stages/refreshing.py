"""The organisers' lists of crops, read again."""

from __future__ import annotations

from csc_cli.console import say
from csc_data.wording import plural

_MOST_IDS = 20


def refresh_lists() -> None:
    """Read the organisers' manifests again and tell what changed."""
    from csc_data.challenge import get_test_crops, get_training_crops
    from csc_data.challenge.annotated_crops import read_crop_places
    from csc_data.challenge.refreshing import refresh_manifests
    from csc_data.challenge.test_crops import read_test_crops

    manifests = {manifest.name: manifest for manifest in refresh_manifests()}
    for name, noun in (("crops", "annotated crop"), ("test_crops", "test crop"), ("zips", "archive")):
        manifest = manifests[name]
        say(f"  {plural(manifest.entries, noun)} listed by {manifest.url}")
    known = {number for ids in get_training_crops().values() for number in ids} | set(get_test_crops())
    listed = set(read_crop_places(manifests["crops"].path)) | set(read_test_crops(manifests["test_crops"].path))
    for words, ids in (("new since this package", listed - known), ("no longer listed", known - listed)):
        if ids:
            shown = [str(number) for number in sorted(ids)]
            more = f" and {len(shown) - _MOST_IDS} more" if len(shown) > _MOST_IDS else ""
            say(f"  {words}: {', '.join(shown[:_MOST_IDS])}{more}")
    say(f"lists are now in {manifests['crops'].path.parent}; delete that folder to go back to those of this package")
