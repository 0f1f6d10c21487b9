"""Directives that draw tables from the packages: settings of an experiment file, and networks of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from csc_data.config.experiment import announced_settings
from csc_data.config.reference import describe_settings
from csc_models import ModelCard, list_models, model_card
from csc_models.errors import MissingExtraError
from csc_submit.steps.declared import STEPS
from csc_train.plan.networks import Network, network_cost

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class SettingsOf(SphinxDirective):
    """A definition list of settings: of a stage, ``{settings-of} train``, or a step, ``{settings-of} step:opening``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Describe each setting: name, default, meaning, type."""
        stage, _, step = self.arguments[0].partition(":")
        cls = STEPS[step] if step else announced_settings()[stage]
        listed = nodes.definition_list()
        for row in describe_settings(cls):
            term = nodes.term("", "", nodes.literal("", row.name))
            if not step:
                label = f"{stage}-{row.name.replace('_', '-')}"
                term["ids"].append(label)
            term += nodes.inline("", " = " if row.default != "(required)" else " ")
            term += nodes.literal("", row.default) if row.default != "(required)" else nodes.emphasis("", "required")
            kind = nodes.emphasis("", f" ({row.type})")
            meaning = nodes.paragraph("", "", *self.parse_inline(row.doc)[0], kind)
            listed += nodes.definition_list_item("", term, nodes.definition("", meaning))
        return [listed]


class NetworkTable(SphinxDirective):
    """A table of the catalogue, with facts of each network as it is by default."""

    def run(self) -> list[nodes.Node]:
        """Ask each network's card."""
        rows = []
        for name in list_models():
            try:
                card = model_card(name)
            except MissingExtraError as error:
                rows.append((name, "", "", "", "", str(error)))
                continue
            field = "all of the patch" if card.receptive_field is None else str(card.receptive_field)
            facts = (f"{card.parameters / 1e6:,.1f} M", field, str(card.sizes), memory(card), card.summary)
            rows.append((name, *facts))
        head = ("name", "parameters", "sees", "takes", "memory", "what it is")
        return [table(head, rows, widths=(18, 10, 8, 26, 14, 34))]


def memory(card: ModelCard) -> str:
    """Say what `csc plan` reckons with for training on one patch; it plans volumes only."""
    if card.ndim == 2:
        return ""
    edge = card.sizes.fit(64)
    cost = network_cost(Network(name=card.name, learning_rate=1.0, least_crops=0), 2)
    return f"{cost.memory_bytes(edge**3) / 1e9:.1f} GB for {edge}\N{SUPERSCRIPT THREE}"


class NetworkSources(SphinxDirective):
    """A definition list of the publications that networks are from."""

    def run(self) -> list[nodes.Node]:
        """Gather the names of each source."""
        by_source: dict[str, list[str]] = {}
        for name in list_models():
            try:
                by_source.setdefault(model_card(name).source, []).append(name)
            except MissingExtraError:
                continue
        items = nodes.bullet_list()
        for source, names in sorted(by_source.items()):
            words, _, url = source.rpartition(", ")
            paragraph = nodes.paragraph("", f"{', '.join(names)}: {words} ")
            paragraph += nodes.reference("", url, refuri=url) if url.startswith("http") else nodes.Text(source)
            items += nodes.list_item("", paragraph)
        return [items]


def table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> nodes.table:
    """Make a table of text; the first column is code."""
    body = nodes.tbody()
    for row in rows:
        cells = [nodes.paragraph("", "", nodes.literal("", row[0])), *(nodes.paragraph("", text) for text in row[1:])]
        body += nodes.row("", *(nodes.entry("", cell) for cell in cells))
    top = nodes.thead("", nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in head)))
    columns = [nodes.colspec(colwidth=width) for width in widths]
    return nodes.table("", nodes.tgroup("", *columns, top, body, cols=len(head)), classes=["colwidths-given"])


def escape_stars(app: Sphinx, context: object, lines: list[str]) -> None:
    """Keep *.zarr and 23* in the help of a command from being read as the begin of emphasis."""
    lines[:] = [re.sub(r"(?<!\*)\*(?!\*)", r"\*", line) for line in lines]


def without_type_docs(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep what Python says of its tuples from being said of ours."""
    if what == "data" and type(obj).__module__ == "builtins":
        lines.clear()


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known."""
    app.add_directive("settings-of", SettingsOf)
    app.add_directive("network-table", NetworkTable)
    app.add_directive("network-sources", NetworkSources)
    app.connect("autodoc-process-docstring", without_type_docs)
    for part in ("description", "arguments", "options"):
        app.connect(f"sphinx-click-process-{part}", escape_stars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
