"""The JSON Schema of the configuration file, for editors and for checks without this program.

Here:  the model's own schema, made to accept what the loader accepts: `${NAME}` wherever text can stand.
Never: rules between keys; `check` knows those.
"""

from typing import Any

from corsproxy.config.model import Config

__all__ = ["json_schema"]

_REQUIRED = {"Config": ["routes"], "Route": ["upstream", "cors"], "Upstream": ["endpoints"]}
_REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}
_BARE_OFF = {"const": False}


def json_schema() -> dict[str, Any]:  # Any: JSON Schema is open by nature
    """The schema, draft 2020-12."""
    generated = Config.model_json_schema()
    blocks: dict[str, Any] = {name: _block(name, block) for name, block in generated.pop("$defs").items()}
    root = _block("Config", generated)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "corsproxy.yaml",
        "description": "Configuration of corsproxy, a CORS-injecting reverse proxy.",
    }
    return head | {key: root[key] for key in root if key not in head} | {"$defs": blocks}


def _block(name: str, block: dict[str, Any]) -> dict[str, Any]:
    """One block: its required keys named, its keys opened to references."""
    properties = {key: _key(schema) for key, schema in block["properties"].items()}
    if name == "Route":
        for key in ("cors", "websocket"):
            properties[key]["anyOf"] = [*properties[key]["anyOf"], _BARE_OFF]
    required = {"required": _REQUIRED[name]} if name in _REQUIRED else {}
    return (
        {key: block[key] for key in block if key not in {"properties", "title"}}
        | required
        | {"properties": properties}
    )


def _key(schema: dict[str, Any]) -> dict[str, Any]:
    """One key without pydantic's title, and with one list of alternatives."""
    about = {
        key: schema[key]
        for key in ("description", "default")
        if key in schema and schema[key] not in ("", None)
    }
    kind = {key: schema[key] for key in schema if key not in {"title", "description", "default", "oneOf"}}
    options = schema.get("oneOf")
    if options is not None:
        return about | {"anyOf": options}
    if "enum" in kind:
        return about | {"anyOf": [kind, _REFERENCE]}
    if kind.get("anyOf") and any("enum" in option for option in kind["anyOf"]):
        return about | {"anyOf": [*kind["anyOf"], _REFERENCE]}
    return about | kind
