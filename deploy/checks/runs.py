"""Commands of the documents that are marked as runnable do what the mark says. A block behind

    <!-- runs: TEXT -->           ends well, and TEXT is in what it prints
    <!-- runs until: TEXT -->     goes on until it prints TEXT, and is ended then

Names of places that are a reader's own are put in for those of this machine.

    runs.py PROGRAM URL TOKEN
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENTS = ["README.md", "README.ja.md", "deploy/GUIDE.ja.md"]
BLOCK = re.compile(r"(?m)^<!-- runs( until)?: ?(.*?) ?-->\n+```\w*\n((?:.*\n)*?)```")
# A first build of the emulator is among them.
PATIENCE = 900


def run(script, until, text, home, program):
    tools = home / "bin"
    tools.mkdir()
    (tools / "karute").symlink_to(program)
    given = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": os.environ["HOME"], "KARUTE_DATA_DIR": str(home / "data"), "PORT": "0"}
    given |= {name: os.environ[name] for name in ("CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME") if name in os.environ}
    printed = home / "printed"
    with printed.open("wb") as out:
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=TOP, env=given, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    end, ended = time.monotonic() + PATIENCE, None
    try:
        while time.monotonic() < end and ended is None:
            ended = process.poll()
            if until and text in printed.read_text(errors="replace"):
                return None
            time.sleep(0.1)
    finally:
        # With what it left in the background.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
    told = printed.read_text(errors="replace")
    if not until and ended == 0 and text in told:
        return None
    return f"exit code {ended}, without {text!r}:\n{told[-2000:]}"


def main():
    program, url, token = sys.argv[1:]
    found, count = [], 0
    for name in DOCUMENTS:
        for until, text, body in BLOCK.findall((TOP / name).read_text()):
            home = pathlib.Path(tempfile.mkdtemp())
            for own in ("bucket", "data"):
                (home / own).mkdir()
            places = {
                "https://karute.example.jp": url, "metricsのトークン": token, "gs://my-bucket/karute": f"file://{home}/bucket",
                "/var/lib/private/karute/": f"{home}/data/", "/var/lib/karute/": f"{home}/data/", "/root/": f"{home}/",
                "sudo ": "", "karute-run ": "karute ",
            }
            for place, own in places.items():
                body = body.replace(place, own)
            fault = run(body, bool(until), text, home, pathlib.Path(program).resolve())
            shutil.rmtree(home)
            count += 1
            if fault:
                found.append(f"{name}: a block that is marked as runnable does not run\n{body}{fault}")
    if count < 7:
        found.append(f"only {count} blocks are marked as runnable")
    if found:
        sys.exit("\n".join(found))
    print(f"documents: {count} blocks run")


main()
