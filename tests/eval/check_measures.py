"""Holds the measures of `karute eval --json` against those of trec_eval on the same run:

    python check_measures.py RUN RUN.qrels EVAL.json
"""

import json
import sys

import pytrec_eval

NAMES = {
    "ndcg_5": "ndcg_cut_5", "ndcg_10": "ndcg_cut_10", "recall_5": "recall_5", "recall_10": "recall_10",
    "recall_20": "recall_20", "hit_1": "success_1",
}


def main(run_file, qrels_file, eval_file):
    with open(run_file) as lines:
        run = pytrec_eval.parse_run(lines)
    with open(qrels_file) as lines:
        qrels = pytrec_eval.parse_qrel(lines)
    with open(eval_file) as text:
        own = json.load(text)["arms"]["ranked"]
    judge = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut", "recall", "success", "recip_rank"})
    found = judge.evaluate(run)
    if len(found) != len(qrels) or not found:
        sys.exit(f"{len(found)} questions in the run, {len(qrels)} in the judgments")
    mean = lambda name: sum(measures[name] for measures in found.values()) / len(found)
    # trec_eval's reciprocal rank has no depth; beyond ten, ours is 0.
    theirs = {own_name: mean(name) for own_name, name in NAMES.items()}
    theirs["mrr_10"] = sum(m["recip_rank"] if m["recip_rank"] >= 0.1 else 0 for m in found.values()) / len(found)
    wrong = {name: (own[name], value) for name, value in theirs.items() if abs(own[name] - value) > 1e-6}
    if wrong:
        sys.exit(f"measures differ (own, trec_eval): {wrong}")
    print(f"{len(theirs)} measures of {len(found)} questions are those of trec_eval")


main(*sys.argv[1:])
