"""Every metric that a rule, a policy or a panel names must be in what `/metrics` exports, with the labels and, where one is
asked for, the value of the label.

    exported.py FILE_WITH_THE_TEXT_OF_METRICS
"""

import json
import pathlib
import re
import sys

import yaml

MONITORING = pathlib.Path(__file__).resolve().parent.parent / "monitoring"
SELECTOR = re.compile(r"(karute_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
# Of these the values depend on what is asked, or on settings.
FREE = {("karute_answers_total", "mode"), ("karute_upstream_left_alone", "service")}


def queries():
    for group in yaml.safe_load((MONITORING / "prometheus-rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"rule {rule['alert']}", rule["expr"]
    for file in sorted((MONITORING / "alert-policies").glob("*.json")):
        for condition in json.loads(file.read_text())["conditions"]:
            yield file.name, condition["conditionPrometheusQueryLanguage"]["query"]
    for tile in json.loads((MONITORING / "dashboard.json").read_text())["mosaicLayout"]["tiles"]:
        for data in tile["widget"]["xyChart"]["dataSets"]:
            yield f"panel {tile['widget']['title']}", data["timeSeriesQuery"]["prometheusQuery"]


def main():
    exported = {}
    for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
        if match := re.match(r"(karute_\w+)(?:\{(.*)\})? \S+$", line):
            labels = exported.setdefault(match[1], {})
            for name, value in re.findall(r'(\w+)="([^"]*)"', match[2] or ""):
                labels.setdefault(name, set()).add(value)
    if not exported:
        sys.exit("exported: the text holds no metric")
    found, used = [], set()
    for where, query in queries():
        names = SELECTOR.findall(query)
        if not names:
            found.append(f"{where}: names no metric of karute")
        for name, matchers in names:
            used.add(name)
            if name not in exported:
                found.append(f"{where}: {name} is not exported")
                continue
            for label, how, value in MATCHER.findall(matchers):
                values = exported[name].get(label)
                if values is None:
                    found.append(f"{where}: {name} has no label {label}")
                elif how == "=" and value not in values and (name, label) not in FREE:
                    found.append(f"{where}: no {name} has {label}={value!r}")
                elif how == "=~" and value != "5.." and not any(re.fullmatch(value, one) for one in values):
                    found.append(f"{where}: no {name} has {label}=~{value!r}")
        known = {"le"} | {label for name, _ in names for label in exported.get(name, {})}
        for grouping in GROUPING.findall(query):
            for label in grouping.split(","):
                if label.strip() not in known:
                    found.append(f"{where}: groups by {label.strip()}, which no metric of it has")
    tests = yaml.safe_load((MONITORING / "prometheus-rules.test.yml").read_text())["tests"]
    fires = {test["alertname"] for case in tests for test in case["alert_rule_test"] if test.get("exp_alerts")}
    found += [f"{where}: no test shows that it fires" for where, _ in queries() if where[:5] == "rule " and where[5:] not in fires]
    if found:
        sys.exit("exported: " + "\nexported: ".join(found))
    print(f"exported: {len(used)} metrics are named, each is exported; {len(exported)} are there")


main()
