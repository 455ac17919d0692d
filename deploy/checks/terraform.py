"""The Terraform files without the provider: parsed, every name that is used declared, and the attributes of resources that
mirror an API held against its discovery document. Service and job must also say what the manifests of `gcloud` say."""

import json
import pathlib
import re
import sys

import hcl2
import yaml

from discovery import Document

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
FOLDER = DEPLOY / "terraform"
# Resource: its document and schema, and what the provider adds to, or names otherwise than, the API.
MIRRORED = {
    "google_cloud_run_v2_service": ("run.v2", "GoogleCloudRunV2Service", {"location", "deletion_protection"}),
    "google_cloud_run_v2_job": ("run.v2", "GoogleCloudRunV2Job", {"location", "deletion_protection"}),
    "google_cloud_scheduler_job": ("cloudscheduler.v1", "Job", {"region"}),
    "google_monitoring_alert_policy": ("monitoring.v3", "AlertPolicy", set()),
    "google_secret_manager_secret": ("secretmanager.v1", "Secret", {"secret_id"}),
    "google_service_account": ("iam.v1", "ServiceAccount", {"account_id"}),
    "google_artifact_registry_repository": ("artifactregistry.v1", "Repository", {"location", "repository_id"}),
}
META = {"depends_on", "count", "for_each", "lifecycle", "provider"}


def plain(value):
    """What the parser gives, without its marks: quotes, `__is_block__`, and `dynamic` blocks as the blocks they make."""
    if isinstance(value, str):
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, item in value.items():
        if key in ("__is_block__", "__comments__", "__inline_comments__"):
            continue
        key = key.strip('"')
        if key == "dynamic":
            for block in item:
                for name, body in block.items():
                    if name != "__is_block__":
                        made.setdefault(name.strip('"'), []).extend(plain(body["content"]))
        else:
            made[key] = plain(item)
    return made


def camel(name):
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def shaped(value, schema, document, where, found):
    """The value with the names of the API, or faults. A block stands for one object or for an item of a list."""
    if "$ref" in schema:
        schema = document.schemas[schema["$ref"]]
    if isinstance(value, str) and "${" in value:
        return None
    if isinstance(value, str) and re.match(r"(var|local|each|google_\w+)\b\.", value):
        return None
    kind = schema.get("type", "object")
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        return [shaped(item, schema["items"], document, f"{where}[{i}]", found) for i, item in enumerate(items)]
    if kind == "object":
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            found.append(f"{where}: expected one block")
            return None
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        made = {}
        for key, item in value.items():
            name = camel(key) if rest is None else key
            inner = known.get(name, rest)
            if inner is None:
                found.append(f"{where}.{key}: {document.name} knows no {name}")
            else:
                made[name] = shaped(item, inner, document, f"{where}.{key}", found)
        return made
    found += document.faults(value, schema, where)
    return value


def load():
    parts = {"resource": [], "variable": [], "locals": [], "output": []}
    for file in sorted(FOLDER.glob("*.tf")):
        with file.open() as text:
            parsed = hcl2.load(text)
        for kind, list_ in parts.items():
            list_ += plain(parsed.get(kind, []))
    return parts


def references(parts, found):
    """Every `var.`, `local.` and resource that an expression names is declared somewhere."""
    variables = {name for block in parts["variable"] for name in block}
    local = {name for block in parts["locals"] for name in block}
    resources = {(kind, name) for block in parts["resource"] for kind, named in block.items() for name in named}
    for file in sorted(FOLDER.glob("*.tf")):
        text = re.sub(r"(?m)#.*$", "", file.read_text())
        for name in re.findall(r"\bvar\.(\w+)", text):
            if name not in variables:
                found.append(f"{file.name}: var.{name} is not declared")
        for name in re.findall(r"\blocal\.(\w+)", text):
            if name not in local:
                found.append(f"{file.name}: local.{name} is not declared")
        for kind, name in re.findall(r"\b(google_\w+)\.(\w+)", text):
            if (kind, name) not in resources:
                found.append(f"{file.name}: {kind}.{name} is not declared")
    everything = "".join(file.read_text() for file in FOLDER.glob("*.tf"))
    for name in variables:
        if not re.search(rf"\bvar\.{name}\b", everything):
            found.append(f"variables.tf: {name} is used nowhere")


def essence(container):
    """What a container says, in either form."""
    keep = ("command", "args", "startupProbe", "livenessProbe")
    made = {key: container[key] for key in keep if key in container}
    made["limits"] = container["resources"]["limits"]
    made["mounts"] = sorted((mount["name"], mount["mountPath"]) for mount in container.get("volumeMounts", []))
    return made


def same(shapes, found):
    service = yaml.safe_load((DEPLOY / "cloud-run/service.yaml").read_text())["spec"]["template"]["spec"]
    job = yaml.safe_load((DEPLOY / "cloud-run/job.yaml").read_text())["spec"]["template"]["spec"]["template"]["spec"]
    mine = shapes["google_cloud_run_v2_service", "karute"]["template"]
    theirs = shapes["google_cloud_run_v2_job", "sync"]["template"]["template"]
    for there, here, where in ((service, mine, "service.yaml"), (job, theirs, "job.yaml")):
        one = {container["name"]: essence(container) for container in there["containers"]}
        two = {container["name"]: essence(container) for container in here["containers"]}
        for name in one.keys() | two.keys():
            if one.get(name) != two.get(name):
                found.append(f"{where} and terraform differ in {name}: {json.dumps(one.get(name))} / {json.dumps(two.get(name))}")
    text = "".join(file.read_text() for file in sorted(FOLDER.glob("*.tf")))
    for manifest, where in ((service, "service.yaml"), (job, "job.yaml")):
        for name in [setting["name"] for container in manifest["containers"] for setting in container.get("env", [])]:
            if not re.search(rf"\b{name}\b", text):
                found.append(f"{where} sets {name}, and terraform does not")
    limits = (mine["maxInstanceRequestConcurrency"], mine["timeout"])
    if limits != (service["containerConcurrency"], f"{service['timeoutSeconds']}s"):
        found.append("service.yaml and terraform differ in concurrency or timeout")
    scaling = mine["scaling"]
    if (scaling["minInstanceCount"], scaling["maxInstanceCount"]) != (1, 10):
        found.append("terraform: not 1 to 10 instances")


def main():
    parts, found, shapes, other = load(), [], {}, set()
    references(parts, found)
    for block in parts["resource"]:
        for kind, named in block.items():
            for name, body in named.items():
                if kind not in MIRRORED:
                    other.add(kind)
                    continue
                document, schema, extra = MIRRORED[kind]
                document = Document(document)
                body = {key: item for key, item in body.items() if key not in META | extra}
                shapes[kind, name] = shaped(body, {"$ref": schema}, document, f"{kind}.{name}", found)
    if not found:
        same(shapes, found)
    if found:
        sys.exit("terraform: " + "\nterraform: ".join(found))
    print(f"terraform: {len(shapes)} resources have the attributes of their API and say what the manifests say")
    print(f"terraform: parsed, but not held against a document: {', '.join(sorted(other))}")


main()
