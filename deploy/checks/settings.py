"""Every setting that a file under deploy/ names must be one of the program.

    settings.py FILE_WITH_THE_OUTPUT_OF_karute_config
"""

import pathlib
import re
import sys

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
# Secrets of Google Cloud, and settings of the scripts.
OTHERS = {"KARUTE_COLLECTOR", "KARUTE_METRICS_TOKEN"}
ALWAYS = {"ENVIRONMENT", "HOST", "PORT", "DATABASE_URL", "ADMIN_API_KEY", "ALLOWED_ORIGINS"}


def main():
    known = set(re.findall(r"(?m)^([A-Z][A-Z0-9_]*)=", pathlib.Path(sys.argv[1]).read_text()))
    if not known >= ALWAYS:
        sys.exit("settings: this is not what `karute config` prints")
    named = re.compile(r"\b(?:KARUTE|VERTEX_AI|GCP|CACHE|FIREBASE|VECTOR_DB|ENABLE|REQUIRE|LOG|CORS|ADMIN|ALLOWED|REQUEST|STREAM)_[A-Z0-9_]*[A-Z0-9]\b")
    found, count = [], 0
    for file in sorted(DEPLOY.rglob("*")):
        if file.is_dir() or {"checks", "apps-script", ".terraform"} & set(file.relative_to(DEPLOY).parts):
            continue
        for name in sorted(set(named.findall(file.read_text()))):
            count += 1
            if name not in known | OTHERS:
                found.append(f"{file.relative_to(DEPLOY)}: {name} is no setting")
    if found:
        sys.exit("settings: " + "\nsettings: ".join(found))
    print(f"settings: {count} mentions, all of them settings of this program")


main()
