#!/usr/bin/env python3
"""karute beside other vector indexes, on one folder of vectors, in one run.

    python3 -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    cargo build --release -p karute-benches --bin ann
    .venv/bin/python benches/peers/compare.py FOLDER [--rows 20000 --dimensions 384]

FOLDER holds base.npy, query.npy (float32, unit rows) and gt.npy (int32: the exact neighbours by inner product). With
--rows and --dimensions such a folder is made first, from seeded clusters. One thread searches, --threads build; every
engine has M = 16 or degree 32 and ef_construction = 200, but karute, which has its own defaults. Peers run in a process
of their own; a peer that fails is named with its reason. Only figures of one run compare.
"""
import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy

TOP = 10
EF_SEARCH = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384]
LEVELS = [0.90, 0.95, 0.99]
ANN = os.path.join(os.path.dirname(__file__), "..", "..", "target", "release", "ann")


def make(folder, rows, dimensions, queries=1000):
    """Clustered unit vectors, questions near them, and the truth."""
    random = numpy.random.default_rng(1)
    unit = lambda x: (x / numpy.linalg.norm(x, axis=1, keepdims=True)).astype(numpy.float32)
    # Directions of few degrees of freedom, as embeddings have.
    freedom = random.normal(size=(48, dimensions))
    centres = random.normal(size=(rows // 50 + 1, 48))
    near = lambda count: (centres[random.integers(len(centres), size=count)] + 0.7 * random.normal(size=(count, 48))) @ freedom
    base, asked = unit(near(rows)), unit(near(queries))
    truth = numpy.argsort(-(asked @ base.T), axis=1, kind="stable")[:, :100].astype(numpy.int32)
    os.makedirs(folder, exist_ok=True)
    for name, values in (("base", base), ("query", asked), ("gt", truth)):
        numpy.save(os.path.join(folder, name + ".npy"), values)


def hnswlib(base, threads):
    import hnswlib as library
    index = library.Index("ip", base.shape[1])
    index.init_index(len(base), M=16, ef_construction=200)
    index.set_num_threads(threads)
    index.add_items(base, num_threads=threads)
    index.set_num_threads(1)

    def search(asked, ef):
        index.set_ef(ef)
        return index.knn_query(asked, TOP, num_threads=1)[0]
    return search


def usearch(base, threads):
    from usearch.index import Index
    index = Index(ndim=base.shape[1], metric="ip", dtype="bf16", connectivity=16, expansion_add=200)
    index.add(numpy.arange(len(base)), base, threads=threads)

    def search(asked, ef):
        index.expansion_search = ef
        return index.search(asked, TOP, threads=1).keys
    return search


def faiss(base, threads):
    import faiss as library
    library.omp_set_num_threads(threads)
    index = library.IndexHNSWSQ(
        base.shape[1], library.ScalarQuantizer.QT_8bit, 16, library.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    index.train(base)
    index.add(base)
    library.omp_set_num_threads(1)

    def search(asked, ef):
        index.hnsw.efSearch = ef
        return index.search(asked, TOP)[1]
    return search


def vsag(base, threads):
    import pyvsag
    index = pyvsag.Index("hgraph", json.dumps({
        "dtype": "float32", "metric_type": "ip", "dim": base.shape[1], "index_param": {
            "base_quantization_type": "sq8_uniform", "precise_quantization_type": "fp32", "use_reorder": True,
            "max_degree": 32, "ef_construction": 200, "build_thread_count": threads}}))
    index.build(vectors=base, ids=numpy.arange(len(base)), num_elements=len(base), dim=base.shape[1])

    def search(asked, ef):
        parameters = json.dumps({"hgraph": {"ef_search": ef}})
        return [index.knn_search(vector=one, k=TOP, parameters=parameters)[0] for one in asked]
    return search


PEERS = {"hnswlib": (hnswlib, "hnswlib"), "usearch": (usearch, "usearch"), "faiss": (faiss, "faiss-cpu"),
         "vsag": (vsag, "pyvsag")}


def faiss_flat(base):
    import faiss as library
    library.omp_set_num_threads(1)
    index = library.IndexFlatIP(base.shape[1])
    index.add(base)
    return lambda asked: index.search(asked, TOP)[1]


def usearch_exact(base):
    from usearch.index import MetricKind, search
    return lambda asked: search(base, asked, TOP, MetricKind.IP, exact=True, threads=1).keys


# Exact search, on one thread.
EXACT = {"faiss flat": (faiss_flat, "faiss-cpu"), "usearch exact": (usearch_exact, "usearch")}
BATCH = 64


def load(folder):
    return [numpy.load(os.path.join(folder, name + ".npy")) for name in ("base", "query", "gt")]


def measure_exact(name, folder):
    base, asked, _ = load(folder)
    build, package = EXACT[name]
    search = build(base)
    figures = {"version": importlib.metadata.version(package)}
    for key, size in (("exact_qps", 1), ("exact_batch_qps", BATCH)):
        best = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            for first in range(0, len(asked), size):
                search(asked[first:first + size])
            best = min(best, time.perf_counter() - began)
        figures[key] = len(asked) / best
    return figures


def measure(name, folder, threads):
    if name in EXACT:
        return measure_exact(name, folder)
    base, asked, truth = load(folder)
    build, package = PEERS[name]
    began = time.perf_counter()
    search = build(base, threads)
    seconds = time.perf_counter() - began
    points = []
    for ef in EF_SEARCH:
        best, found = float("inf"), None
        for _ in range(3):
            began = time.perf_counter()
            found = search(asked, ef)
            best = min(best, time.perf_counter() - began)
        met = sum(len(set(map(int, a)) & set(map(int, b))) for a, b in zip(found, truth[:, :TOP]))
        points.append({"param": ef, "recall": met / (TOP * len(asked)), "qps": len(asked) / best})
    return {"version": importlib.metadata.version(package), "build_s": seconds, "points": points}


def at(points, level):
    """Queries a second at a recall: on the line (of logarithms) between the two points around it."""
    points = sorted(points, key=lambda point: point["recall"])
    reached = [point["qps"] for point in points if point["recall"] >= level]
    for low, high in zip(points, points[1:]):
        if low["recall"] < level <= high["recall"]:
            share = (level - low["recall"]) / (high["recall"] - low["recall"])
            reached.append(low["qps"] ** (1 - share) * high["qps"] ** share)
    return max(reached, default=None)


def show(name, figures):
    qps = [at(figures["points"], level) for level in LEVELS]
    text = "  ".join(f"@{level:.2f} {value:>8,.0f}" if value else f"@{level:.2f}        -"
                     for level, value in zip(LEVELS, qps))
    most = max(point["recall"] for point in figures["points"])
    print(f"{name:10} {figures['version']:10} build {figures['build_s']:7.2f} s  {text}  most {most:.4f}", flush=True)
    return qps


def show_exact(name, figures):
    single, batches = (figures[key] for key in ("exact_qps", "exact_batch_qps"))
    print(f"{name:14} {figures['version']:10} exact, one thread: {single:>8,.0f} queries/s, in batches of {BATCH} {batches:>8,.0f}", flush=True)
    return single, batches


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        print(json.dumps(measure(arguments.peer, arguments.folder, arguments.threads)))
        return
    if arguments.rows:
        make(arguments.folder, arguments.rows, arguments.dimensions)
    base = [arguments.folder, "--threads", str(arguments.threads)]
    best, best_exact = [None] * len(LEVELS), [0, 0]
    for name in [*PEERS, *EXACT]:
        run = subprocess.run([sys.executable, __file__, *base, "--peer", name], capture_output=True, text=True)
        if run.returncode:
            print(f"{name:10} failed: {(run.stderr.strip().splitlines() or ['?'])[-1]}")
            continue
        figures = json.loads(run.stdout.strip().splitlines()[-1])
        if name in EXACT:
            best_exact = [max(pair) for pair in zip(best_exact, show_exact(name, figures))]
            continue
        qps = show(name, figures)
        best = [max(filter(None, pair), default=None) for pair in zip(best, qps)]
    with tempfile.TemporaryDirectory() as scratch:
        file = os.path.join(scratch, "ann.json")
        subprocess.run([ANN, *base, "--json", file], check=True, capture_output=True)
        with open(file, encoding="utf-8") as figures:
            figures = json.load(figures)["karute"]
        ours, exact = show("karute", figures), show_exact("karute", figures)
    for level, own, other in zip(LEVELS, ours, best):
        if own and other:
            print(f"recall {level:.2f}: karute is {own / other:.2f} times as fast as the best peer")
    for what, own, other in zip(("singly", "in batches"), exact, best_exact):
        if other:
            print(f"exact, {what}: karute is {own / other:.2f} times as fast as the best peer")


if __name__ == "__main__":
    main()
