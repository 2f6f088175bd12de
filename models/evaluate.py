"""Measures a GGUF of the miniature on held-out problems, with the reference implementation in float32.

python evaluate.py facet-mini.gguf [--n 100] [--json FILE] [--golden FILE] [--facet ./facet]

The weights are those of the file, Q8_0 expanded. An answer counts if greedy decoding gives it exactly, to the stop token.
--golden writes conversations whose answers are right by a margin; --facet asks the program the same and compares.
"""
import argparse
import json
import subprocess
import tempfile

import gguf
import numpy as np
import torch

import data
import model as mini
import render
import vocab
from export import file_name
from train import HERE, batch, logits_at, pack


def reference(path):
    """The reference model with the weights of a GGUF file."""
    values = {}
    for t in gguf.GGUFReader(str(path)).tensors:
        v = gguf.quants.dequantize(t.data, t.tensor_type)
        values[t.name] = torch.from_numpy(np.array(v, np.float32)).reshape([int(x) for x in t.shape][::-1])
    net = mini.build(vocab.SIZE)
    net.load_state_dict({k: values[file_name(k)] for k in net.state_dict() if k != "lm_head.weight"}, strict=False)
    return net.eval()


@torch.no_grad()
def judge(net, tok, convs):
    """For each conversation (right, margin): is every token of the answer the likeliest, and by how much at least."""
    examples = []
    for i, c in enumerate(convs):
        c.learn_history = False
        ids, learn = render.encode(tok, c)
        examples.append((ids, learn, range(len(ids)), i))
    right, margin = [True] * len(convs), [1e9] * len(convs)
    rows = list(pack(iter(examples)))
    for i in range(0, len(rows), 8):
        ids, pos, mask, label, doc = batch(rows[i:i + 8], net.config.sliding_window)
        where = label >= 0
        best = logits_at(net, ids, pos, mask, where).topk(2)
        for d, want, index, value in zip(doc[where].tolist(), label[where].tolist(), best.indices.tolist(), best.values.tolist()):
            right[d] &= index[0] == want
            margin[d] = min(margin[d], value[0] - value[1])
    return list(zip(right, margin))


def as_json(c):
    out = {"messages": c.messages}
    if c.tools:
        out["tools"] = c.tools
    if c.think:
        out["enable_thinking"] = True
    return {**out, "add_generation_prompt": True}


def ask_facet(program, path, c, n):
    """The tokens that the program adds to a conversation by greedy decoding."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f, tempfile.NamedTemporaryFile(suffix=".npy") as npy:
        json.dump(as_json(c), f)
        f.flush()
        run = subprocess.run([program, "logits", "-m", str(path), "--chat", f.name, "--greedy", str(n), "-o", npy.name],
                             capture_output=True, text=True, check=True)
    return json.loads(run.stdout.strip().splitlines()[-1])["tokens"]


def golden(net, tok, margin):
    """Held-out conversations that the model answers rightly and surely: of each skill the surest and the longest."""
    out = []
    for skill, convs in data.tests(24, seed=11).items():
        cased = skill.split()[-1] in ("capitals", "lower")
        kept = {}
        for c, (right, m) in zip(convs, judge(net, tok, convs)):
            if right and m >= margin and not (cased and not any(x.isalpha() for x in c.target)):
                kept.setdefault(render.prompt(c), (c, m))
        surest = sorted(kept.values(), key=lambda x: -x[1])[:1]
        longest = sorted((x for x in kept.values() if x not in surest), key=lambda x: (-len(x[0].target), -x[1]))[:1]
        for c, m in surest + longest:
            out.append({"skill": skill, "conversation": as_json(c), "prompt_tokens": tok.encode(render.prompt(c), add_special_tokens=False).ids,
                        "answer": c.target, "tokens": tok.encode(c.target + c.stop, add_special_tokens=False).ids, "margin": round(m, 2)})
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("gguf")
    a.add_argument("--n", type=int, default=100, help="problems of each skill; 0: none")
    a.add_argument("--json", help="write the shares to this file")
    a.add_argument("--golden", help="write sure answers to this file")
    a.add_argument("--facet", help="ask this program too")
    args = a.parse_args()
    tok = vocab.load(HERE / "tokenizer.json")
    net = reference(args.gguf)
    table, asked, equal = {}, 0, 0
    for skill, convs in data.tests(args.n).items() if args.n else ():
        verdict = judge(net, tok, convs)
        table[skill] = sum(ok for ok, _ in verdict) / len(verdict)
        print(f"| {skill} | {100 * table[skill]:.0f} % |", flush=True)
        if args.facet:
            for c, (ok, m) in list(zip(convs, verdict))[:10]:
                want = tok.encode(c.target + c.stop, add_special_tokens=False).ids
                asked += 1
                equal += (ask_facet(args.facet, args.gguf, c, len(want)) == want) == ok
    if table:
        print(f"| all | {100 * sum(table.values()) / len(table):.1f} % |")
    if args.facet:
        print(f"{args.facet} agrees with the reference on {equal} of {asked} answers")
    if args.json:
        json.dump(table, open(args.json, "w"), indent=1)
    if args.golden:
        with open(args.golden, "w") as f:
            f.write("[\n" + ",\n".join(json.dumps(g, ensure_ascii=False) for g in golden(net, tok, 0.5)) + "\n]\n")


if __name__ == "__main__":
    main()
