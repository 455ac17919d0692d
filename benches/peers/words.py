#!/usr/bin/env python3
"""bm25s over the tokens that `benches/peers/tantivy` wrote with --tokens: the same questions, one thread, ten best.

    .venv/bin/pip install -r benches/peers/requirements.txt
    .venv/bin/python benches/peers/words.py FOLDER
"""
import json
import os
import statistics
import sys
import time

import bm25s

TOP = 10


def main(folder):
    def lines(name):
        with open(os.path.join(folder, name), encoding="ascii") as file:
            return [line.split() for line in file]

    passages, questions = lines("passages.txt"), lines("questions.txt")
    with open(os.path.join(folder, "relevant.json"), encoding="ascii") as file:
        relevant = json.load(file)
    began = time.perf_counter()
    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(passages, show_progress=False)
    print(f"{len(passages)} passages; bm25s {bm25s.__version__} indexed in {time.perf_counter() - began:.1f} s")
    best, reciprocal = float("inf"), 0.0
    for _ in range(3):
        times, reciprocal = [], 0.0
        for tokens, wanted in zip(questions, relevant):
            began = time.perf_counter()
            found = index.retrieve([tokens], k=TOP, show_progress=False, n_threads=1).documents[0]
            times.append(time.perf_counter() - began)
            place = next((at for at, row in enumerate(found, 1) if int(row) in wanted), None)
            reciprocal += 1 / place if place else 0.0
        best = min(best, statistics.median(times))
    print(f"     bm25s: {best * 1e6:7.1f} microseconds, MRR@10 {reciprocal / len(questions):.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
