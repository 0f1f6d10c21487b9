"""``csc data-preview``: what a network will see."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from csc_cli.console import answer, say
from csc_cli.options import config_option, json_option
from csc_cli.stages.experiments import config_words, next_command
from csc_data.wording import listed, plural, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.loader import TrainingPatches, ValidationPatches
    from csc_data.loader.preview.drawing import PreviewSample

HEADERS = ("sample", "crop", "z (nm)", "y", "x", "for", "present", "unknown")

_MOST_CLASSES = 6


@click.command()
@click.argument("experiment", metavar="CONFIG", type=click.Path())
@click.option("-o", "--output", metavar="FILE", default="preview.png", show_default=True, help="The PNG to write.")
@click.option("-n", "--count", type=click.IntRange(min=1), default=16, show_default=True, help="Samples to draw.")
@click.option(
    "--seed",
    "random_seed",
    type=click.IntRange(min=0),
    help="Draw other samples [default: the file's random_seed, as training does].",
)
@click.option("--validation", is_flag=True, help="Draw tiles of the validation crops instead.")
@json_option
@config_option
def data_preview(experiment: str, output: str, count: int, validation: bool, config: Config, **overrides: Any) -> None:
    """Draw samples of the experiment file CONFIG (.py or .toml), as training gets them.

    A PNG shows raw, turned and changed as CONFIG says, with the outlines of its classes; a table tells where each
    sample lies in nm. Data of a bucket or a web server comes with a link that opens the place in Neuroglancer.
    """
    from csc_data.errors import MissingDataError
    from csc_data.loader.preview.drawing import draw_preview
    from csc_train.settings import read_train_settings
    from csc_train.training.loaders import make_loaders

    # Tiles in a random order, which the seed fixes: the first few then come from all crops.
    settings = read_train_settings(experiment, config, random_validation=validation or None, num_workers=0, **overrides)
    loaders = make_loaders(settings, config)
    loader = loaders.validation if validation else loaders.train
    if loader is None:
        raise MissingDataError("the datasplit has no validation crop with any of the classes; leave --validation out")
    samples = draw_preview(loader.patches, output, count=count)
    say(table(HEADERS, [_row(sample) for sample in samples]))
    links = [_link(sample, loader.patches, config) for sample in samples]
    for sample, link in zip(samples, links, strict=True):
        if link:
            say(f"sample {sample.number}: {link}")
    if None in links:
        say("links to a viewer need data that a browser can reach, of a bucket or a web server; this is on disk")
    crops = len({sample.crop_index for sample in samples})
    say(f"wrote {output}: {plural(len(samples), 'sample')} of {plural(crops, 'crop')}")
    say(f"next: look at it, then {next_command('train', *config_words())}")
    answer({"written": output, "samples": samples, "links": links})


def _row(sample: PreviewSample) -> tuple[object, ...]:
    z, y, x = (f"{p:.0f}" for p in sample.shown_nm)
    return sample.number, sample.crop, z, y, x, sample.class_name or "-", _present(sample), _unknown(sample)


def _present(sample: PreviewSample) -> str:
    """Say how much of each class is there, the most first."""
    found = sorted(((share, name) for name, share in sample.present.items() if share > 0), reverse=True)
    return listed([f"{name} {share:.1%}" for share, name in found], _MOST_CLASSES) or "nothing"


def _unknown(sample: PreviewSample) -> str:
    """Say how much of each class is unknown; the most common share once, as "others"."""
    shares = {name: f"{1 - share:.1%}" for name, share in sample.known.items()}
    (common, _), *others = Counter(shares.values()).most_common()
    words = [f"{', '.join(n for n, s in shares.items() if s == share)} {share}" for share, _ in others]
    return "; ".join([*words, f"others {common}" if words else common])


def _link(sample: PreviewSample, patches: TrainingPatches | ValidationPatches, config: Config) -> str | None:
    from csc_cli.commands.data_preview.viewer_links import viewer_link

    crop = patches.reader.crops[sample.crop_index]
    labels = {}
    for name in patches.reader.classes:
        volumes = crop.labels.get(name, ())
        for volume in volumes:
            part = volume.path.rstrip("/").rpartition("/")[2]
            labels[name if len(volumes) == 1 else f"{name}: {part}"] = volume.path
    extent = patches.reader.patch.input.extent
    return viewer_link(crop.raw.path, labels, sample.shown_nm, extent, endpoint=config.endpoint)
