"""Manifests, alert policies and the dashboard against Google's discovery documents."""

import json
import pathlib
import sys

import yaml

from discovery import Document

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
# What probes may take, and what the guide promises.
PROMISED = {"minScale": "1", "maxScale": "10"}


def annotations(document, metadata, where):
    """Annotations are a plain map there, but each that is understood stands in the text of the document."""
    return [
        f"{where}: {document.name} does not speak of the annotation {name}"
        for name in metadata.get("annotations", {})
        if name not in document.text
    ]


def probes(containers, where):
    found = []
    for container in containers:
        for kind in ("startupProbe", "livenessProbe"):
            probe = container.get(kind)
            if not probe:
                continue
            if probe["periodSeconds"] * probe["failureThreshold"] > 240 or probe["timeoutSeconds"] > probe["periodSeconds"]:
                found.append(f"{where}.{container['name']}.{kind}: longer than Cloud Run allows")
    return found


def mounts(spec, where):
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    used = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", [])}
    return [f"{where}: volume {name} is mounted but not there, or there but not mounted" for name in volumes ^ used]


def service(document):
    value = yaml.safe_load((DEPLOY / "cloud-run/service.yaml").read_text())
    found = document.faults(value, "Service", "service.yaml")
    template = value["spec"]["template"]
    found += annotations(document, value["metadata"], "service.yaml")
    found += annotations(document, template["metadata"], "service.yaml")
    names = {container["name"] for container in template["spec"]["containers"]}
    waits = json.loads(template["metadata"]["annotations"]["run.googleapis.com/container-dependencies"])
    named = set(waits) | {name for needed in waits.values() for name in needed}
    found += [f"service.yaml: container-dependencies names {name}, which is no container" for name in named - names]
    for key, wanted in PROMISED.items():
        if template["metadata"]["annotations"].get(f"autoscaling.knative.dev/{key}") != wanted:
            found.append(f"service.yaml: {key} is not {wanted}")
    if sum("ports" in container for container in template["spec"]["containers"]) != 1:
        found.append("service.yaml: exactly one container takes requests")
    return found + probes(template["spec"]["containers"], "service.yaml") + mounts(template["spec"], "service.yaml")


def job(document):
    value = yaml.safe_load((DEPLOY / "cloud-run/job.yaml").read_text())
    found = document.faults(value, "Job", "job.yaml")
    found += annotations(document, value["spec"]["template"]["metadata"], "job.yaml")
    return found + mounts(value["spec"]["template"]["spec"]["template"]["spec"], "job.yaml")


def build():
    value = yaml.safe_load((DEPLOY / "cloud-run/cloudbuild.yaml").read_text())
    return Document("cloudbuild.v1").faults(value, "Build", "cloudbuild.yaml")


def monitoring():
    v3, v1 = Document("monitoring.v3"), Document("monitoring.v1")
    files = sorted((DEPLOY / "monitoring/alert-policies").glob("*.json"))
    found = [] if files else ["alert-policies: there is none"]
    for file in files:
        found += v3.faults(json.loads(file.read_text()), "AlertPolicy", file.name)
    dashboard = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())
    found += v1.faults(dashboard, "Dashboard", "dashboard.json")
    columns = dashboard["mosaicLayout"]["columns"]
    for tile in dashboard["mosaicLayout"]["tiles"]:
        if tile["xPos"] + tile["width"] > columns:
            found.append(f"dashboard.json: {tile['widget']['title']} is wider than the board")
    return found, len(files), len(dashboard["mosaicLayout"]["tiles"])


def main():
    run = Document("run.v1")
    found, policies, tiles = monitoring()
    found += service(run) + job(run) + build()
    if found:
        sys.exit("manifests: " + "\nmanifests: ".join(found))
    print(f"manifests: service and job are run.v1, the build cloudbuild.v1, {policies} policies monitoring.v3, {tiles} panels monitoring.v1")


main()
