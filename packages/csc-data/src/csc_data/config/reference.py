"""What settings there are: a reference for people, and a JSON schema for editors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

_WORDS = {"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One row of a settings reference.

    Attributes
    ----------
    name : str
    type : str
        What it may be, in words: type, choices, limits.
    default : str
        As Python writes it.
    doc : str
        What it is for.
    """

    name: str
    type: str
    default: str
    doc: str


class _TomlSchema(GenerateJsonSchema):
    """A schema of what a TOML file may hold, which knows neither null nor anything to call."""

    def callable_schema(self, schema: Any) -> dict[str, Any]:
        return {}

    def any_schema(self, schema: Any) -> dict[str, Any]:
        return {}

    def tuple_schema(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = super().tuple_schema(schema)
        items = made.pop("prefixItems", None)
        # One schema for all items says the same, also to readers of older drafts.
        return {**made, "items": items[0]} if items else made

    def nullable_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


def settings_schema(cls: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of a class of settings, as TOML files hold them.

    Examples
    --------
    >>> from csc_data.config.settings import setting, settings
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    >>> settings_schema(Walk)["properties"]["steps"]["type"]
    'integer'
    """
    schema = TypeAdapter(cls).json_schema(ref_template="#/definitions/{model}", schema_generator=_TomlSchema)
    for entry in schema["properties"].values():
        if entry.get("default", 0) is None:
            del entry["default"]
        if any(entry.get("anyOf", ())):  # what only Python can give is not told of
            entry["anyOf"] = [allowed for allowed in entry["anyOf"] if allowed]
        if not {"type", "enum", "const", "$ref"} & set(entry) and not all(entry.get("anyOf", [{}])):
            for key in ("anyOf", "default"):
                entry.pop(key, None)
            entry |= {"not": {}, "description": f"{entry.get('description', '')} (Python files only)"}
    return schema


def accepted_types(cls: type[Any]) -> dict[str, Any]:
    """Return for each setting of a class the Python type of what may be given for it.

    Examples
    --------
    >>> from csc_data.config.settings import setting, settings
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    >>> accepted_types(Walk)
    {'steps': <class 'int'>}
    """
    return {name: type_ for base in reversed(cls.__mro__) for name, type_ in vars(base).get("_accepted", {}).items()}


def experiment_schema(stages: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return one JSON schema for the experiment files of several stages.

    Parameters
    ----------
    stages : mapping
        From the name of a stage to its class of settings.

    Returns
    -------
    dict
        Draft 7, which editors' TOML plug-ins read. No setting is required: each stage has its own required ones. What
        several stages have is described for each, with the type and default of the first.

    Examples
    --------
    >>> from csc_data.config.settings import setting, settings
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    >>> experiment_schema({"walk": Walk})["properties"]["steps"]["description"]
    'walk: How many steps.'
    """
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for stage, cls in stages.items():
        schema = settings_schema(cls)
        definitions |= schema.get("$defs", {})
        for name, entry in schema["properties"].items():
            entry.pop("title", None)
            told = f"{stage}: {entry.pop('description')}"
            before = properties.get(name, entry)
            properties[name] = before | {"description": "\n".join(filter(None, (before.get("description"), told)))}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An experiment of the CellMap Segmentation Challenge",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "definitions": definitions,
    }


def describe_settings(cls: type[Any]) -> tuple[SettingDescription, ...]:
    """Return a reference of the settings that a class declares, in its order.

    Examples
    --------
    >>> from csc_data.config.settings import setting, settings
    >>> @settings
    ... class Walk:
    ...     steps: int = setting("How many steps.", default=10)
    >>> describe_settings(Walk)[0]
    SettingDescription(name='steps', type='a whole number', default='10', doc='How many steps.')
    """
    schema = settings_schema(cls)
    rows = []
    for name, field in cls.__pydantic_fields__.items():
        default = field.default_factory() if field.default_factory else field.default
        shown = "(required)" if field.is_required() else repr(default)
        kind = _in_words(schema["properties"][name], schema.get("$defs", {}))
        rows.append(SettingDescription(name=name, type=kind, default=shown, doc=field.description or ""))
    return tuple(rows)


def _in_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say what a schema allows.

    >>> _in_words({"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 3}, {})
    'list of 3: a whole number (at least 1)'
    """
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_in_words(entry, definitions) for entry in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(repr, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    if "$ref" in schema:
        return f"a mapping with {', '.join(definitions[schema['$ref'].rpartition('/')[2]]['properties'])}"
    bounds = " and ".join(f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema)
    kind = schema.get("type", "")
    if kind == "array":
        count = f" of {schema['minItems']}" if "minItems" in schema else ""
        words = f"list{count}: {_in_words(schema['items'], definitions)}"
    elif kind == "object":
        inner = schema.get("additionalProperties")
        words = f"mapping: {_in_words(inner, definitions)}" if isinstance(inner, dict) else "mapping"
    else:
        words = (
            "a path"
            if schema.get("format") == "path"
            else _WORDS.get(kind, "an object of Python, in Python files only")
        )
    return f"{words} ({bounds})" if bounds else words
