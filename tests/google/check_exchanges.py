"""Holds recorded exchanges with Google's APIs against Google's own discovery documents.

    python check_exchanges.py exchanges.jsonl

The file has one exchange a line, as the emulator of the tests writes it: method, url (Google's host), request, status,
response, malformed. What is checked: that the method exists at that path, that each parameter is one of its parameters
with a legal value, that every field of a body is a field of its schema with the right type. Error answers have no schema
and only their shape is looked at. The documents come with the package google-api-python-client.
"""

import collections
import json
import pathlib
import re
import sys
import urllib.parse

import googleapiclient

DOCUMENTS = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
APIS = [
    (re.compile(r"sheets\.googleapis\.com$"), "sheets.v4"),
    (re.compile(r"www\.googleapis\.com$"), "drive.v3"),
    (re.compile(r"monitoring\.googleapis\.com$"), "monitoring.v3"),
    (re.compile(r"discoveryengine\.googleapis\.com$"), "discoveryengine.v1"),
    (re.compile(r"([a-z0-9-]+-)?aiplatform\.googleapis\.com$"), "aiplatform.v1"),
]
# Tokens have no discovery document.
UNDESCRIBED = re.compile(r"oauth2\.googleapis\.com$")
TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict}


class Api:
    def __init__(self, name):
        self.document = json.loads((DOCUMENTS / f"{name}.json").read_text())
        self.methods = []
        self.collect(self.document)

    def collect(self, resource):
        for method in resource.get("methods", {}).values():
            template = method.get("flatPath", method["path"]).lstrip("/")
            pattern = re.sub(r"\\\{[^}]*\\\}", "([^/]+)", re.escape(template))
            base = self.document.get("servicePath", "").strip("/")
            full = f"{re.escape(base)}/{pattern}" if base else pattern
            self.methods.append((method, re.compile(full + r"\Z")))
        for child in resource.get("resources", {}).values():
            self.collect(child)

    def find(self, verb, path):
        # The method with the longest fixed path is the one that is meant.
        fitting = [(method, pattern) for method, pattern in self.methods if method["httpMethod"] == verb and pattern.match(path)]
        return max(fitting, key=lambda pair: len(pair[1].pattern.replace("([^/]+)", "")))[0] if fitting else None

    def faults(self, value, schema, where):
        while "$ref" in schema:
            schema = self.document["schemas"][schema["$ref"]]
        kind = schema.get("type", "any")
        if value is None or kind == "any":
            return
        expected = TYPES[kind]
        # 64-bit numbers are texts in JSON; a truth is no number although Python says so.
        if not isinstance(value, expected) or (isinstance(value, bool) and kind in ("integer", "number")):
            yield f"{where} is {type(value).__name__}, not {kind}"
        elif kind == "array":
            for at, item in enumerate(value):
                yield from self.faults(item, schema["items"], f"{where}[{at}]")
        elif kind == "object":
            fields, rest = schema.get("properties", {}), schema.get("additionalProperties")
            for name, item in value.items():
                if name in fields:
                    yield from self.faults(item, fields[name], f"{where}.{name}")
                elif rest is not None:
                    yield from self.faults(item, rest, f"{where}.{name}")
                elif fields:
                    yield f"{where} has the unknown field {name}"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{where} is {value!r}, not one of {schema['enum'][:6]}"


def check(exchange, apis):
    url = urllib.parse.urlsplit(exchange["url"])
    if UNDESCRIBED.match(url.netloc):
        return None, []
    name = next((name for host, name in APIS if host.match(url.netloc)), None)
    if name is None:
        return None, [f"no API is known at {url.netloc}"]
    api = apis.setdefault(name, None) or apis.__setitem__(name, Api(name)) or apis[name]
    path = url.path.strip("/")
    method = api.find(exchange["method"], path)
    if method is None:
        # A call that Google refuses too need not exist.
        return None, [] if exchange["status"] in (400, 404) and exchange["method"] != "GET" else [f"no method {exchange['method']} {path}"]
    known = {**api.document.get("parameters", {}), **method.get("parameters", {})}
    faults = []
    for parameter, value in urllib.parse.parse_qsl(url.query, keep_blank_values=True):
        described = known.get(parameter)
        if described is None:
            faults.append(f"the query has the unknown parameter {parameter}")
        elif (parameter, value) == ("alt", "sse") and method["id"].endswith(".streamGenerateContent"):
            # How Google's own clients ask for a stream; the document does not say so.
            continue
        elif "enum" in described and value not in described["enum"]:
            faults.append(f"{parameter}={value} is not one of {described['enum']}")
    if exchange["request"] is not None:
        if "request" in method:
            faults.extend(api.faults(exchange["request"], method["request"], "request"))
        else:
            faults.append("a body where none belongs")
    if 200 <= exchange["status"] < 300 and "response" in method:
        faults.extend(api.faults(exchange["response"], method["response"], "response"))
    elif exchange["status"] >= 400:
        error = (exchange["response"] or {}).get("error", {})
        if error.get("code") != exchange["status"] or not error.get("message"):
            faults.append("an error without Google's form")
    return method["id"], faults


def main(files):
    apis, seen, found, passed_over = {}, collections.Counter(), collections.Counter(), 0
    for file in files:
        for number, line in enumerate(open(file, encoding="utf-8"), 1):
            exchange = json.loads(line)
            if exchange.get("malformed"):
                passed_over += 1
                continue
            method, faults = check(exchange, apis)
            seen[method or "(tokens)"] += 1
            for fault in faults:
                found[f"{exchange['method']} {method or urllib.parse.urlsplit(exchange['url']).path}: {fault}"] += 1
    for method, count in sorted(seen.items()):
        print(f"{count:>8} {method}")
    print(f"{passed_over:>8} malformed on purpose")
    for fault, count in found.most_common(40):
        print(f"FAULT ({count} times) {fault}")
    if not sum(count for method, count in seen.items() if method != "(tokens)"):
        print("nothing was checked")
        return 2
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
