"""facet serve and llama.cpp's server on the same file, in turn.  serve_speed.py MODEL LLAMA_SERVER LOCUST; prove_serve_speed.sh has the
settings.  Each measurement has a server of its own, so that nothing is in a cache; who goes first changes with each.  Prints tables, then
the goals; ends with 1 when one of Facet's requests failed."""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

MODEL, LLAMA, LOCUST = sys.argv[1:4]
HERE = os.path.dirname(os.path.abspath(__file__))
FACET = os.environ.get("FACET", "./facet")
NAMES = ["facet", "llama.cpp"]


def number(name, default):
    return type(default)(os.environ.get(name) or default)


CLIENTS = [int(n) for n in (os.environ.get("CLIENTS") or "1 4 8 16 64").split()]
SECONDS, PARALLEL, CTX = number("LOAD_SECONDS", 30), number("PARALLEL", 8), number("CTX", 8192)
WORDS, ANSWER, THINK, LEAVE = number("WORDS", 128), number("ANSWER", 64), number("THINK", 1.0), number("LEAVE", 0.1)
LONG, LIMIT, BUDGET = number("LONG", 4000), number("LIMIT", 600), number("BUDGET", 3600)
began = time.monotonic()
turn = 0
failed = 0          # of Facet's requests, and measurements that gave nothing


class Server:
    """One of the two, running; .url and .memory()."""

    def __init__(self, name):
        self.log = tempfile.TemporaryFile()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.peak = 0
        threads = str(os.cpu_count())
        if name == "facet":
            command = [FACET, "serve", "-q", "-m", MODEL, "-p", str(port), "--ctx", str(CTX), "--parallel", str(PARALLEL), "--queue", "512", "--threads", threads]
        else:
            command = [LLAMA, "-m", MODEL, "--host", "127.0.0.1", "--port", str(port), "-c", str(CTX * PARALLEL), "-np", str(PARALLEL), "-t", threads,
                       "--jinja", "--chat-template-kwargs", '{"enable_thinking":false}']
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def __enter__(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                opener.open(self.url + "/health", timeout=5).read()
                return self
            except OSError:
                if self.process.poll() is not None:
                    self.log.seek(0)
                    sys.exit(f"the server ended: {self.log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.2)

    def memory(self):
        """MB of its own at most, what is mapped from the file left out."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1)) // 1024

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def each(measure, what):
    """The measurement with both servers, in changing order; {name: result}, None where there is none."""
    global turn, failed
    results = {}
    turn += 1
    for name in NAMES if turn % 2 else NAMES[::-1]:
        if time.monotonic() - began > BUDGET:
            print(f"serve-speed: {what} of {name} is left out: {BUDGET} seconds are over", file=sys.stderr)
            results[name] = None
            continue
        print(f"{time.monotonic() - began:6.0f} s  {what}: {name}", file=sys.stderr, flush=True)
        with Server(name) as server:
            try:
                results[name] = measure(server)
            except (subprocess.SubprocessError, OSError, ValueError) as error:
                print(f"serve-speed: {what} of {name}: {error}", file=sys.stderr)
                results[name] = None
            if results[name]:
                results[name]["memory"] = server.memory()
    if not results["facet"] or results["facet"].get("failed"):
        failed += 1
    return results


def run(command, env=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, env=env)
    if done.returncode:
        raise ValueError(f"{command[0]}: {done.stderr[-500:].decode(errors='replace')}")
    return done.stdout.decode()


def bench(clients, words, answer, think, leave, rounds, turns=2):
    def measure(server):
        text = run([FACET, "bench", "serve", "-q", "--json", "--url", server.url, "--clients", str(clients), "--words", str(words), "--answer", str(answer),
                    "--think", str(think), "--leave", str(leave), "--rounds", str(rounds), "--turns", str(turns)] + (["--seconds", str(SECONDS)] if rounds > 1 else []))
        return json.loads(text)["results"][0]
    return measure


def locust(clients):
    def measure(server):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "result")
            env = dict(os.environ, WORDS=str(WORDS), ANSWER=str(ANSWER), THINK=str(THINK), LEAVE=str(max(LEAVE, 0.2)), RESULT=path, NO_PROXY="127.0.0.1",
                       PYTHONDONTWRITEBYTECODE="1")
            # (its exit status says that requests failed; the result says how many)
            subprocess.run([LOCUST, "-f", os.path.join(HERE, "locust_chat.py"), "--headless", "--host", server.url, "-u", str(clients), "-r", str(clients),
                            "-t", f"{SECONDS}s", "--stop-timeout", str(SECONDS), "--only-summary", "--loglevel", "ERROR"],
                           env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT)
            with open(path) as f:
                return json.load(f)
    return measure


def wrk(path):
    def measure(server):
        text = run(["wrk", "-t", "1", "-c", "64", "-d", "5s", "--latency", server.url + path])
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), "p99": re.search(r"99%\s+(\S+)", text).group(1),
                "failed": int(bad.group(1)) if bad else 0}
    return measure


def cell(value, width, digits=1):
    return f"{'-':>{width}}" if value is None else f"{value:>{width}}" if isinstance(value, (int, str)) else f"{value:>{width}.{digits}f}"


def row(*cells):
    print(" ".join(cells), flush=True)


def bench_row(clients, name, r):
    ms = lambda t, p: None if not r else 1e3 * r[t][p]
    g = lambda k: None if not r else r[k]
    row(cell(clients, 7), f"{name:10}", cell(g("done"), 5), cell(g("left"), 5), cell(g("failed"), 6), *(cell(ms(t, p), 10) for t in ("first_token_cold", "first_token_warm")
        for p in ("p50_s", "p99_s")), *(cell(ms("per_token", p), 9, 2) for p in ("p50_s", "p99_s")), cell(g("tok_s"), 9), cell(g("goodput_s"), 8, 2),
        cell(100 * r["cached_tokens"] // max(r["prompt_tokens"], 1) if r else None, 8), cell(g("memory"), 8))


BENCH_HEAD = (f"{'clients':>7} {'server':10} {'done':>5} {'left':>5} {'failed':>6} {'cold ms':>10} {'p99':>10} {'warm ms':>10} {'p99':>10} "
              f"{'ms/token':>9} {'p99':>9} {'tok/s':>9} {'good/s':>8} {'cached %':>8} {'own MB':>8}")


def bench_table(levels):
    print(BENCH_HEAD)
    results = {}
    for clients, measure, what in levels:
        results[clients] = each(measure, what)
        for name in NAMES:
            bench_row(clients, name, results[clients][name])
    print()
    return results


def locust_table():
    print(f"Locust: as above, {max(LEAVE, 0.2):.0%} of the users leave before or in the middle of an answer; pieces are counted as tokens")
    print(f"{'clients':>7} {'server':10} {'done':>5} {'left':>5} {'failed':>6} {'first ms':>10} {'p99':>10} {'ms/token':>9} {'p99':>9} {'tok/s':>9}")
    for clients in CLIENTS:
        results = each(locust(clients), f"locust, {clients} users")
        for name in NAMES:
            r = results[name] or {}
            first, token = r.get("first", [None] * 2), r.get("token", [None] * 2)
            row(cell(clients, 7), f"{name:10}", *(cell(r.get(k), w) for k, w in (("done", 5), ("left", 5), ("failed", 6))), *(cell(x, 10) for x in first),
                *(cell(x, 9, 2) for x in token), cell(r.get("tok_s"), 9))
    print()


def wrk_table():
    print("wrk: plain paths, 64 connections that stay, 5 s")
    print(f"{'path':12} {'server':10} {'requests/s':>10} {'p99':>10} {'failed':>6}")
    for path in ("/health", "/v1/models"):
        results = each(wrk(path), "wrk " + path)
        for name in NAMES:
            r = results[name] or {}
            row(f"{path:12}", f"{name:10}", cell(r.get("rate"), 10, 0), cell(r.get("p99"), 10), cell(r.get("failed"), 6))
    print()


def engine_rate():
    """Tokens per second of a batch of 8 without a server, or None."""
    try:
        text = run([FACET, "bench", "-q", "-m", MODEL, "--prefill", "0", "--decode", "64", "--batch", "8", "--depth", "32", "--rounds", "3", "--skip-machine", "--json"])
    except (ValueError, subprocess.SubprocessError) as error:
        print(f"serve-speed: facet bench: {error}", file=sys.stderr)
        return None
    return next(t["tok_s"] for t in json.loads(text)["results"] if t["test"] == "decode")


def goal(what, value, want, at_most=False):
    if value is None:
        print(f"{what:66} {'-':>8}")
        return
    met = value <= want if at_most else value >= want
    print(f"{what:66} {value:8.3g}   goal: {'at most' if at_most else 'at least'} {want:g}, {'met' if met else 'MISSED'}")


def goals(steady, long, rate):
    rates = {name: steady[name] and steady[name]["tok_s"] for name in NAMES}
    amx = "amx_int8" in open("/proc/cpuinfo").read()
    goal("tokens/s of 8 clients, as a share of facet bench --batch 8", rates["facet"] / rate if rates["facet"] and rate else None, 0.8)
    goal("tokens/s of 8 clients, facet / llama.cpp", rates["facet"] / rates["llama.cpp"] if all(rates.values()) else None, 2 if amx else 3)
    for name in NAMES:
        r = long[name]
        share = r["first_token_warm"]["p50_s"] / r["first_token_cold"]["p50_s"] if r and r["first_token_cold"]["p50_s"] else None
        what = f"first token of a second turn / of the first, {r['prompt_tokens'] // 2 if r else 0} tokens, {name}"
        if name == "facet":
            goal(what, share, 0.1, at_most=True)
        elif share:
            print(f"{what:66} {share:8.3g}")
    goal("measurements of facet with a request that failed", failed, 0, at_most=True)


print(f"Conversations of two turns (facet bench serve): {WORDS} words, answers of {ANSWER} tokens, {THINK:g} s to think, {LEAVE:.0%} leave; {SECONDS} s")
bench_table([(n, bench(n, WORDS, ANSWER, THINK, LEAVE, 1000), f"{n} clients") for n in CLIENTS])
locust_table()
print("8 clients at once that only listen: one turn of 8 words, answers of 128 tokens")
steady = bench_table([(8, bench(8, 8, 128, 0, 0, 1, turns=1), "8 clients that listen")])[8]
rate = engine_rate()
print(f"facet bench --batch 8, without a server: {cell(rate, 0)} tok/s\n")
print(f"A long first turn: {LONG} words")
long = bench_table([(1, bench(1, LONG, 16, 0, 0, 1), "a long turn")])[1]
wrk_table()
goals(steady, long, rate)
sys.exit(failed > 0)
