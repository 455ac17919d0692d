"""Google's discovery documents (inside google-api-python-client), and whether a value has the shape of a schema."""

import json
import pathlib

import googleapiclient

DOCUMENTS = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
PLAIN = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "any": object}


class Document:
    def __init__(self, name):
        self.text = (DOCUMENTS / f"{name}.json").read_text()
        self.schemas = json.loads(self.text)["schemas"]
        self.name = name

    def faults(self, value, schema, where):
        """Every place where `value` is not what `schema` (a name, or a schema) says."""
        if isinstance(schema, str):
            schema = {"$ref": schema}
        if "$ref" in schema:
            return self.members(value, self.schemas[schema["$ref"]], where)
        kind = schema.get("type", "object")
        if kind == "array":
            if not isinstance(value, list):
                return [f"{where}: not a list"]
            return [f for i, item in enumerate(value) for f in self.faults(item, schema["items"], f"{where}[{i}]")]
        if kind == "object":
            return self.members(value, schema, where)
        wrong = not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind in ("integer", "number"))
        if wrong:
            return [f"{where}: {value!r} is not of type {kind}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{where}: {value!r} is none of {', '.join(schema['enum'])}"]
        if schema.get("format") == "int64" and kind == "string" and not value.lstrip("-").isdigit():
            return [f"{where}: {value!r} is no number"]
        return []

    def members(self, value, schema, where):
        if not isinstance(value, dict):
            return [f"{where}: not an object"]
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        found = []
        for key, item in value.items():
            inner = known.get(key, rest)
            if inner is None:
                found.append(f"{where}.{key}: {self.name} knows no such field")
            else:
                found += self.faults(item, inner, f"{where}.{key}")
        return found
