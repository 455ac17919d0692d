"""Assembles the contents of an image of the Dockerfile in a directory, as its own lines say, and prints how to start it.

    image.py STAGE PROGRAM DIRECTORY    makes the directory; prints the environment, the user and the command, one a line

What the build stage makes comes from this machine: the program is the one given, certificates and busybox are Debian's own.
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


def stages():
    made, name = {}, None
    for word, rest in lines():
        if word == "FROM":
            base, _, name = rest.split()
            made[name] = {"base": base, "lines": []}
        else:
            made[name]["lines"].append((word, rest))
    return made


def chain(name, all_stages):
    stage = all_stages[name]
    before = chain(stage["base"], all_stages) if stage["base"] in all_stages else []
    if not before and stage["base"] != "scratch":
        sys.exit(f"image: {name} does not begin from scratch")
    return before + stage["lines"]


def main():
    stage, program, root = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    built = {"/karute": program}
    environment, user, entry, command = {}, "0", [], []
    for word, rest in chain(stage, stages()):
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
    print(f"image: {stage}: {size / 1e6:.1f} MB, the program {how}", file=sys.stderr)
    print(" ".join(f"{key}={value}" for key, value in environment.items()))
    print(user)
    print(" ".join(entry + command))


main()
