"""When the first and the last words of a streamed answer arrive.

    stream.py URL NAME [--held]    fails if the words come all at once; with --held, if they do not
"""

import json
import ssl
import sys
import time
import urllib.request

url, name = sys.argv[1], sys.argv[2]
held = "--held" in sys.argv
request = urllib.request.Request(
    f"{url}/chat/stream",
    json.dumps({"message": "江口さんの酸素流量は何Lですか"}).encode(),
    {"Content-Type": "application/json", "Accept-Encoding": "gzip"},
)
begun, words, kinds = time.monotonic(), [], []
with urllib.request.urlopen(request, timeout=30, context=ssl._create_unverified_context()) as answer:
    for line in answer:
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            kinds.append(event["type"])
            if event["type"] == "text":
                words.append(time.monotonic() - begun)
if not words or kinds[-1] != "done":
    sys.exit(f"stream: {name}: no whole answer came: {kinds}")
spread = words[-1] - words[0]
print(f"stream: {name}: first words after {words[0]:.2f} s, last after {words[-1]:.2f} s, in {len(words)} pieces")
# The model takes 1.75 s from its first word to its last.
if (spread < 0.8) != held:
    sys.exit(f"stream: {name}: the words were {'not held back, so this check can see nothing' if held else 'held back'}")
