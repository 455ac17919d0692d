"""The alert policies of Cloud Monitoring, made from the rules for Prometheus, so that no alert stands in two places.

    policies.py           fails where a policy is not what its rule makes
    policies.py --write   writes them
"""

import json
import pathlib
import re
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent.parent / "monitoring"
SEVERITY = {"critical": "CRITICAL", "warning": "WARNING", "info": "WARNING"}


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)([smhd])", duration).groups()
    return f"{int(number) * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[unit]}s"


def policy(rule, group):
    text = rule["annotations"]
    return {
        "displayName": rule["alert"],
        "combiner": "OR",
        "severity": SEVERITY[rule["labels"]["severity"]],
        "documentation": {"mimeType": "text/markdown", "content": f"{text['summary']}. {text['description']}"},
        "conditions": [
            {
                "displayName": text["summary"],
                "conditionPrometheusQueryLanguage": {
                    "query": rule["expr"],
                    "duration": seconds(rule.get("for", "0s")),
                    "evaluationInterval": seconds(group["interval"]),
                    # A policy made before the first instance reports would be refused otherwise.
                    "disableMetricValidation": True,
                },
            }
        ],
    }


def main():
    groups = yaml.safe_load((HERE / "prometheus-rules.yml").read_text())["groups"]
    wanted = {}
    for group in groups:
        for rule in group["rules"]:
            name = re.sub(r"(?<!^)(?=[A-Z])", "-", rule["alert"].removeprefix("Karute")).lower()
            wanted[f"{name}.json"] = json.dumps(policy(rule, group), indent=2, ensure_ascii=False) + "\n"
    folder = HERE / "alert-policies"
    if "--write" in sys.argv:
        for file in folder.glob("*.json"):
            file.unlink()
        for name, text in wanted.items():
            (folder / name).write_text(text)
        return
    found = {file.name: file.read_text() for file in folder.glob("*.json")}
    different = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if different:
        sys.exit(f"policies: {', '.join(different)}: not what the rules make; run deploy/checks/policies.py --write")
    print(f"policies: {len(wanted)} are what the rules make")


main()
