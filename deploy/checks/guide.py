"""The guide: files that it names are there, links within it lead somewhere, verbs of karute that it names exist, shell blocks
are sound, and its order is that of the guide before.

    guide.py PROGRAM
"""

import pathlib
import re
import subprocess
import sys
import tempfile

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
ORDER = [
    "概要", "事前準備", "デプロイ手順", "本番環境の設定", "デプロイ後の確認", "トラブルシューティング", "性能の調整",
    "セキュリティ", "監視", "スケーリング", "バックアップと復旧", "最終チェックリスト", "参考リンク",
]


def filled(text):
    """What the guide's `sed` makes of the manifests: the names of settings as they were, and nothing left to fill in."""
    line = re.search(r'sed "[^"]+your-project[^"]+"', text)
    if not line:
        return ["no sed fills in the manifests"]
    found, names = [], re.compile(r"\bname: ([A-Z][A-Z0-9_]+)")
    for file in sorted((DEPLOY / "cloud-run").glob("[js]*.yaml")):
        given = {"PATH": "/usr/bin:/bin", "PROJECT_ID": "one-project", "SPREADSHEET_ID": "1sheet"}
        made = subprocess.run(["bash", "-c", f"{line[0]} {file}"], capture_output=True, text=True, env=given).stdout
        if "your-" in made or "one-project" not in made or names.findall(made) != names.findall(file.read_text()):
            found.append(f"{file.name} is not filled in by {line[0]}")
    return found


def main():
    program, found = sys.argv[1], []
    text = (DEPLOY / "GUIDE.ja.md").read_text()
    headings = re.findall(r"(?m)^## \d+\. (.+)$", text)
    if headings != ORDER:
        found.append(f"the chapters are {headings}")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("https://") and not (DEPLOY / target).exists():
            found.append(f"{target} is not there")
    for path in set(re.findall(r"\bdeploy/[\w./-]*\w", text)):
        if not (DEPLOY.parent / path).exists():
            found.append(f"{path} is not there")
    # What is shown is what the program says.
    source = "".join(file.read_text() for room in ("server", "sync", "engine") for file in (DEPLOY.parent / room / "src").rglob("*.rs"))
    source = re.sub(r"\\\n\s*", "", source)
    messages = re.findall(r"(?m)^### `([^`]+)`$", text)
    found += [f"the program never says {message!r}" for message in messages if message not in source]
    if len(messages) < 8:
        found.append("hardly a message is explained")
    blocks = re.findall(r"(?ms)^ *```(\w*)\n(.*?)^ *```", text)
    code = "\n".join(body for _, body in blocks) + "\n" + "\n".join(re.findall(r"`([^`\n]+)`", re.sub(r"(?m)^#.*$", "", text)))
    verbs = sorted(set(re.findall(r"(?<![/\w-])karute(?:-run)? ([a-z][a-z-]+(?: [a-z]+\b)?(?: --[a-z-]+)*)", code)))
    for verb in verbs:
        words = verb.split()
        # Of other verbs a second word is an argument.
        two = len(words) > 1 and words[0] in ("snapshot", "token", "audit", "sync") and not words[1].startswith("--")
        help_ = subprocess.run([program, *words[: 1 + two], "--help"], capture_output=True, text=True)
        if help_.returncode:
            found.append(f"karute {verb}: {help_.stderr.strip()}")
            continue
        for flag in words:
            if flag.startswith("--") and not re.search(rf"{flag}(?![a-z-])", help_.stdout):
                found.append(f"karute {verb}: it knows no {flag}")
    if len(verbs) < 5:
        found.append("hardly a command of karute is named")
    shells = 0
    with tempfile.TemporaryDirectory() as home:
        for kind, body in blocks:
            if kind != "bash":
                continue
            shells += 1
            file = pathlib.Path(home) / f"{shells}.sh"
            # Names that a reader sets himself are no fault, nor is a block that begins in a directory.
            file.write_text("#!/usr/bin/env bash\n# shellcheck disable=SC2154,SC2164,SC2034\n" + body)
            checked = subprocess.run(["shellcheck", str(file)], capture_output=True, text=True)
            if checked.returncode:
                found.append(checked.stdout)
    found += filled(text)
    if found:
        sys.exit("guide: " + "\nguide: ".join(found))
    print(f"guide: {len(verbs)} commands of karute, {shells} shell blocks, {len(headings)} chapters, {len(messages)} messages of the program")


main()
