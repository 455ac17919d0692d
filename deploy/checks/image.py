"""Assembles the contents of the Dockerfile's image in a directory, as its own lines say, and prints how to start it.

    image.py PROGRAM DIRECTORY    makes the directory; prints the environment, the user and the command, one a line

What the build stage makes comes from this machine: the program is the one given, certificates are Debian's own.
A program that is not static gets its libraries beside it.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
TOP = DEPLOY.parent


def lines():
    text = re.sub(r"\\\n", "", (DEPLOY / "Dockerfile").read_text())
    return [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def image():
    """The lines of the last stage, which begins from nothing."""
    all_lines = lines()
    first = max(number for number, (word, _) in enumerate(all_lines) if word == "FROM")
    if all_lines[first][1].split()[0] != "scratch":
        sys.exit("image: it does not begin from scratch")
    return all_lines[first + 1 :]


def main():
    program, root = sys.argv[1], pathlib.Path(sys.argv[2])
    built = {"/karute": program}
    environment, user, entry, command = {}, "0", [], []
    for word, rest in image():
        if word == "COPY":
            words = shlex.split(rest)
            flags = dict(flag[2:].split("=") for flag in words if flag.startswith("--"))
            *sources, target = [word for word in words if not word.startswith("--")]
            owner = [int(number) for number in flags.get("chown", "0:0").split(":")]
            for source in sources:
                from_build = flags.get("from") == "build"
                origin = pathlib.Path(built.get(source, source)) if from_build else TOP / source
                place = root / target.lstrip("/")
                if target.endswith("/"):
                    place = place / pathlib.Path(source).name
                place.parent.mkdir(parents=True, exist_ok=True)
                if source == "/empty":
                    place.mkdir()
                elif not origin.is_file():
                    sys.exit(f"image: COPY {source}: {origin} is not there")
                else:
                    shutil.copy(origin, place)
                os.chown(place, *owner)
        elif word == "ENV":
            environment.update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "USER":
            user = rest
        elif word == "ENTRYPOINT":
            entry = json.loads(rest)
        elif word == "CMD":
            command = json.loads(rest)
        elif word not in ("EXPOSE", "WORKDIR"):
            sys.exit(f"image: {word} cannot be done from scratch")
    libraries = re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", program], capture_output=True, text=True).stdout)
    for library in libraries:
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(library), place)
    (root / "proc").mkdir()
    size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    how = f"with {len(libraries)} libraries, since it is not static" if libraries else "static, alone"
    print(f"image: {size / 1e6:.1f} MB, the program {how}", file=sys.stderr)
    print(" ".join(f"{key}={value}" for key, value in environment.items()))
    print(user)
    print(" ".join(entry + command))


main()
