"""Trains the miniature: python train.py OUT [--minutes 90] [--workers 2]

OUT holds one checkpoint, a folder that transformers loads, renewed every few minutes; the same command goes on
from it. The learning rate follows the minutes spent, so the run ends on time on a machine of any speed.
"""
import argparse
import itertools
import os
import pathlib
import random
import shutil
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F

import data
import model as mini
import render
import vocab

HERE = pathlib.Path(__file__).parent
ROW, ROWS = 320, 3  # tokens of a packed row, rows of a worker's step


# ---- packing ---------------------------------------------------------------------------------------
def positions(ids, r):
    """0, 1, 2 ..., in some conversations with a jump before a later turn, so that the model meets the distances of
    conversations much longer than a row (positional skip-wise training, Zhu et al. 2023)."""
    turns = [i for i, t in enumerate(ids) if t == 105][1:-1]
    at = r.choice(turns) if turns and r.random() < 0.3 else len(ids)
    jump = int(2 ** r.uniform(0, 12.5))
    return [i + (jump if i >= at else 0) for i in range(len(ids))]


def training(tok, seed):
    r = random.Random(seed)
    for c in data.stream(seed):
        ids, learn = render.encode(tok, c)
        yield ids, learn, positions(ids, r), None


def pack(examples):
    """Rows of ROW tokens: lists of (ids, learn, positions, tag), each filled from a pool of waiting examples."""
    pool = []
    while True:
        while len(pool) < 48:
            e = next(examples, None)
            if e is None:
                break
            if len(e[0]) <= ROW:
                pool.append(e)
        if not pool:
            return
        row, left = [], ROW
        for e in pool[:1] + sorted(pool[1:], key=lambda e: -len(e[0])):
            if len(e[0]) <= left:
                row.append(e)
                left -= len(e[0])
        taken = set(map(id, row))
        pool = [e for e in pool if id(e) not in taken]
        yield row


def batch(rows, window):
    """Tensors of one step; an example sees only itself. label -1: nothing to learn; tag: the example's number."""
    b = len(rows)
    ids = torch.zeros(b, ROW, dtype=torch.long)
    pos = torch.zeros(b, ROW, dtype=torch.long)
    doc = torch.full((b, ROW), -1, dtype=torch.long)
    label = torch.full((b, ROW), -1, dtype=torch.long)
    for i, row in enumerate(rows):
        at = 0
        for k, (t, learn, at_pos, tag) in enumerate(row):
            n = len(t)
            ids[i, at:at + n] = torch.tensor(t)
            pos[i, at:at + n] = torch.tensor(at_pos)
            doc[i, at:at + n] = k if tag is None else tag
            for j in range(1, n):
                if learn[j]:
                    label[i, at + j - 1] = t[j]
            at += n
    same = doc[:, :, None] == doc[:, None, :]
    causal = torch.ones(ROW, ROW, dtype=torch.bool).tril()
    near = causal & (pos[:, :, None] - pos[:, None, :] < window)
    mask = {"full_attention": torch.where(same & causal, 0.0, -1e9)[:, None], "sliding_attention": torch.where(same & near, 0.0, -1e9)[:, None]}
    return ids, pos, mask, label, doc


def logits_at(net, ids, pos, mask, where):
    """Softcapped logits of the chosen positions only: the head is a good part of so small a model."""
    h = net.model(input_ids=ids, position_ids=pos, attention_mask=mask, use_cache=False).last_hidden_state
    z = net.lm_head(h[where]).float()
    cap = net.config.final_logit_softcapping
    return torch.tanh(z / cap) * cap


# ---- optimizer ---------------------------------------------------------------------------------------
def orthogonal(g):
    """The nearest orthogonal matrix to each g[i], roughly: five Newton-Schulz steps, as in Muon (Jordan et al. 2024)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Momentum whose step is orthogonalised, for the matrices inside the layers; workers share the matrices among them."""

    def __init__(self, params, rank, world):
        self.params, self.rank, self.world = params, rank, world
        self.m = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, lr, momentum=0.95, decay=0.02):
        flat = torch.zeros(sum(p.numel() for p in self.params))
        at = 0
        for i, (p, m) in enumerate(zip(self.params, self.m)):
            m.lerp_(p.grad, 1 - momentum)
            if i % self.world == self.rank:
                u = orthogonal(p.grad.lerp(m, momentum)) * max(1.0, p.shape[-2] / p.shape[-1]) ** 0.5
                flat[at:at + p.numel()] = u.reshape(-1)
            at += p.numel()
        if self.world > 1:
            dist.all_reduce(flat)
        at = 0
        for p in self.params:
            p.mul_(1 - lr * decay).add_(flat[at:at + p.numel()].view_as(p), alpha=-lr)
            at += p.numel()


def rate(done):
    """Part of the full learning rate when `done` of the run is over: short rise, plateau, straight down from 40 %."""
    return min(done / 0.01 + 0.02, 1.0) * (1.0 if done < 0.4 else max(0.0, (1 - done) / 0.6))


# ---- checkpoint ----------------------------------------------------------------------------------------
def save(out, net, muon, adam, state):
    new, old = out / "new", out / "old"
    shutil.rmtree(new, ignore_errors=True)
    net.save_pretrained(new)
    for name in ("tokenizer.json", "chat_template.jinja"):
        shutil.copy(HERE / name, new / name)
    torch.save({"muon": muon.m, "adam": adam.state_dict(), "state": state}, new / "optimizer.pt")
    shutil.rmtree(old, ignore_errors=True)
    if (out / "checkpoint").exists():
        (out / "checkpoint").rename(old)
    new.rename(out / "checkpoint")


def load(out, net, muon, adam):
    from safetensors.torch import load_file
    net.load_state_dict(load_file(out / "checkpoint" / "model.safetensors"), strict=False)
    kept = torch.load(out / "checkpoint" / "optimizer.pt")
    for m, k in zip(muon.m, kept["muon"]):
        m.copy_(k)
    adam.load_state_dict(kept["adam"])
    return kept["state"]


# ---- measuring -----------------------------------------------------------------------------------------
@torch.no_grad()
def accuracy(net, tok, n):
    """{skill: share of held-out answers that greedy decoding gets right to the last token}.

    One pass per answer is enough: greedy text equals the expected one exactly if every expected token is the likeliest.
    """
    tags, examples = [], []
    for skill, convs in data.tests(n).items():
        for c in convs:
            c.learn_history = False
            ids, learn = render.encode(tok, c)
            examples.append((ids, learn, range(len(ids)), len(tags)))
            tags.append(skill)
    right = [True] * len(tags)
    net.eval()
    rows = list(pack(iter(examples)))
    for i in range(0, len(rows), ROWS):
        part = rows[i:i + ROWS]
        ids, pos, mask, label, doc = batch(part + [[]] * (ROWS - len(part)), net.config.sliding_window)
        where = label >= 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            guess = logits_at(net, ids, pos, mask, where).argmax(-1)
        for d in doc[where][guess != label[where]].tolist():
            right[d] = False
    net.train()
    seen, good = {}, {}
    for t, ok in zip(tags, right):
        seen[t] = seen.get(t, 0) + 1
        good[t] = good.get(t, 0) + ok
    return {t: good[t] / seen[t] for t in seen}


def check_fast(net, ids, pos, mask, where):
    """The dense experts against the reference's own, in float32."""
    from transformers.models.gemma4.modeling_gemma4 import Gemma4TextExperts
    with torch.no_grad():
        want = logits_at(net, ids, pos, mask, where)
        plain = Gemma4TextExperts.forward
        mini.speed_up()
        assert Gemma4TextExperts.forward is not plain
        worst = (logits_at(net, ids, pos, mask, where) - want).abs().max().item()
    assert worst < 1e-3, worst
    return worst


# ---- the run -------------------------------------------------------------------------------------------
def work(rank, world, args):
    torch.set_num_threads(1)
    if world > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
        dist.init_process_group("gloo", rank=rank, world_size=world)
    out = pathlib.Path(args.out)
    tok = vocab.load(HERE / "tokenizer.json")
    net = mini.build(vocab.SIZE)
    net.train()
    inner = [p for n, p in net.named_parameters() if p.dim() >= 2 and "layers." in n and "router" not in n]
    rest = [p for n, p in net.named_parameters() if not (p.dim() >= 2 and "layers." in n and "router" not in n)]
    muon = Muon(inner, rank, world)
    adam = torch.optim.AdamW(rest, lr=0, betas=(0.9, 0.98), weight_decay=0.0)
    every = list(net.parameters())
    state = {"step": 0, "spent": 0.0, "tokens": 0, "resumed": 0}
    if (out / "checkpoint").exists():
        state = load(out, net, muon, adam)
        state["resumed"] += 1
    seed = f"train {rank} {state['resumed']} {state['step']}"
    rows = pack(training(tok, seed))
    window = net.config.sliding_window
    ids, pos, mask, label, _ = batch(list(itertools.islice(rows, ROWS)), window)
    worst = check_fast(net, ids, pos, mask, label >= 0)
    if rank == 0:
        print(f"{sum(p.numel() for p in every) / 1e6:.2f} M parameters, dense experts differ by {worst:.1e}", flush=True)
    if not args.no_compile:
        for layer in net.model.layers:
            layer.compile()
    last, saved, tested, recent = time.time(), time.time(), time.time(), []
    while True:
        clock = torch.tensor([state["spent"]], dtype=torch.float64)
        if world > 1:
            dist.broadcast(clock, 0)
        done = clock.item() / (60 * args.minutes)
        if done >= 1:
            break
        ids, pos, mask, label, _ = batch(list(itertools.islice(rows, ROWS)), window)
        where = label >= 0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z = logits_at(net, ids, pos, mask, where)
            loss = F.cross_entropy(z, label[where])
            total = loss + 0.01 * mini.balance(net)
        total.backward()
        if world > 1:
            flat = torch.cat([p.grad.reshape(-1) for p in every])
            dist.all_reduce(flat)
            at = 0
            for p in every:
                p.grad.copy_(flat[at:at + p.numel()].view_as(p) / world)
                at += p.numel()
        norm = torch.nn.utils.clip_grad_norm_(rest, 1.0)
        f = rate(done)
        muon.step(args.muon * f)
        for g in adam.param_groups:
            g["lr"] = args.adam * f
        adam.step()
        for p in every:
            p.grad = None
        state["step"] += 1
        state["tokens"] += world * ROWS * ROW
        now = time.time()
        state["spent"] += min(now - last, 20.0) if state["step"] > 2 else 0.0  # compiling is not learning
        last = now
        recent.append(loss.item())
        if rank == 0 and (state["step"] % 20 == 0 or state["step"] < 4):
            print(f"step {state['step']} {state['spent'] / 60:.1f} min, {state['tokens'] / 1e6:.2f} M tokens, loss "
                  f"{sum(recent) / len(recent):.4f}, balance {(total - loss).item() / 0.01:.2f}, norm {norm:.2f}, rate {f:.2f}", flush=True)
            recent = []
        if rank == 0 and now - saved > 60 * args.save_minutes:
            save(out, net, muon, adam, state)
            saved = last = time.time()
        if rank == 0 and now - tested > 60 * args.test_minutes:
            acc = accuracy(net, tok, 16)
            print("held out %.3f: " % (sum(acc.values()) / len(acc)) + ", ".join(f"{k} {v:.2f}" for k, v in acc.items()), flush=True)
            tested = last = time.time()
    if rank == 0:
        save(out, net, muon, adam, state)
        print("done", flush=True)
    if world > 1:
        dist.barrier()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("out")
    a.add_argument("--minutes", type=float, default=90)
    a.add_argument("--workers", type=int, default=2)
    a.add_argument("--muon", type=float, default=0.02)
    a.add_argument("--adam", type=float, default=0.004)
    a.add_argument("--save-minutes", type=float, default=3)
    a.add_argument("--test-minutes", type=float, default=10)
    a.add_argument("--port", type=int, default=29517)
    a.add_argument("--no-compile", action="store_true")
    args = a.parse_args()
    pathlib.Path(args.out).mkdir(parents=True, exist_ok=True)
    if not (HERE / "tokenizer.json").exists():
        sample = itertools.islice(data.stream("vocabulary"), 8000)
        vocab.save(HERE / "tokenizer.json", *vocab.make([render.prompt(c) + c.target + c.stop for c in sample]))
    if args.workers == 1:
        work(0, 1, args)
    else:
        mp.spawn(work, (args.workers, args), args.workers)


if __name__ == "__main__":
    main()
