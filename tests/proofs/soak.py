"""Random clients against a running server: answers whole and streamed in every dialect, with two keys and wrong ones, cancels, bad input,
killed clients, clients that stop reading, more at once than the queue holds, adapters loaded and unloaded, keys read again.  soak.py URL PID SECONDS SEED KEY KEY: says
what happened, and fails when a request was neither answered nor cancelled, an answer was not as it should be, a slot stays taken, or
memory or descriptors of PID grow.  SIGTERM ends it early: what was seen until then is judged and its length said."""
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

URL, PID, SECONDS, SEED, KEYS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), sys.argv[5:]
HOST, PORT = URL.split("//")[1].split(":")
CLIENTS, PARTS = (8, 16, 32), 12                         # of one part after the other
WAIT = 900                                               # an instrumented server that shares its processor is slow
COUNTS, FAULTS, LOCK, ENDED = {}, [], threading.Lock(), threading.Event()
MODELS = ["m"]
WORDS = "What is 12 + 30? the weather in Paris tell me something long about a cat { } \" \\ \u00e9\u4e2d <|turn> <turn|> <|tool_call>".split(" ")
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def count(what):
    with LOCK:
        COUNTS[what] = COUNTS.get(what, 0) + 1


def fault(text):
    with LOCK:
        FAULTS.append(text)
    print("FAULT", text, flush=True)


def spoil(r, raw):
    spoiled = bytearray(raw)
    for _ in range(r.randrange(1, 6)):
        at = r.randrange(len(spoiled))
        if r.random() < 0.5:
            spoiled[at] = r.randrange(256)
        else:
            del spoiled[at:at + 9]
        spoiled = spoiled or bytearray(b"{")
    return bytes(spoiled)


def chat_extras(r, body):
    body["n"] = r.choice([1, 1, 1, 4])
    if r.random() < 0.3:
        body["tools"] = TOOLS
    if r.random() < 0.2:
        body["logprobs"], body["top_logprobs"] = True, 5
    if r.random() < 0.2:
        body["reasoning_effort"] = r.choice(["none", "low", "high"])
    if r.random() < 0.2:
        body["cache_salt"] = r.choice(["a", "b"])
    if r.random() < 0.2:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": {
            "type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}}, "required": ["a", "b"]}}}


PATHS = (["/v1/chat/completions"] * 4 + ["/v1/messages"] * 2 + ["/api/chat"] * 2 + ["/api/generate", "/v1/completions", "/v1/responses", "/tokenize", "/v1/messages/count_tokens",
          "/v1/embeddings", "/api/embed"])


def ask(r):
    """A path and a body, good or spoiled."""
    text = " ".join(r.choice(WORDS) for _ in range(r.choice([1, 5, 30, 200])))
    history = [{"role": "user", "content": " ".join(WORDS[:r.randrange(1, 9)])}, {"role": "assistant", "content": text[:40]}] * r.randrange(3)
    messages = history + [{"role": "user", "content": text}]
    limit, path = r.choice([1, 8, 30, 120]), r.choice(PATHS)
    body = {"model": r.choice(MODELS), "stream": r.random() < 0.6, "max_tokens": limit, "temperature": r.choice([0, 1, 1.5])}
    if path == "/v1/completions":
        body.update(prompt=text, n=r.choice([1, 3]), echo=r.random() < 0.3)
    elif path == "/tokenize":
        body = {"content": text, "with_pieces": True}
    elif path in ("/v1/embeddings", "/api/embed"):
        body = {"model": body["model"], "input": [text] * r.choice([1, 3])}
    elif path == "/v1/responses":
        del body["max_tokens"]
        body.update(input=text, max_output_tokens=max(16, limit), store=r.random() < 0.5)
    elif path == "/v1/messages/count_tokens":
        body = {"messages": messages}
    elif path.startswith("/api/"):
        body = {"model": body["model"], "stream": body["stream"], "options": {"num_predict": limit, "temperature": body["temperature"]}, "think": r.random() < 0.2}
        body.update({"messages": messages} if path == "/api/chat" else {"prompt": text})
        if path == "/api/chat" and r.random() < 0.3:
            body["tools"] = TOOLS
    else:
        body["messages"] = messages
        if path == "/v1/chat/completions":
            chat_extras(r, body)
        elif r.random() < 0.2:
            body["thinking"] = {"type": "enabled", "budget_tokens": 20}
            body["max_tokens"] += 1024
    raw = json.dumps(body).encode()
    bad = r.random() < 0.15
    return path, spoil(r, raw) if bad else raw, bad


def connect():
    s = socket.create_connection((HOST, int(PORT)), timeout=WAIT)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def head(path, n, key):
    how = f"Authorization: Bearer {key}" if n % 2 else f"x-api-key: {key}"
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{how}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {n}\r\n\r\n".encode()


def read_all(s):
    parts = []
    while True:
        piece = s.recv(1 << 16)
        if not piece:
            return b"".join(parts)
        parts.append(piece)


def check(path, raw, bad, answer):
    """Whole, and of a status that fits."""
    top, _, body = answer.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 "):
        return fault(f"{path}: no answer to {raw[:200]!r}: {answer[:100]!r}")
    code, low = int(top[9:12]), top.lower()
    count(f"status {code}")
    if code == 429:
        time.sleep(random.choice([0.1, 0.5, 2]))
    if code not in ((200, 400, 404, 429) if bad else (200, 400, 429)) and not (code == 404 and b"no adapter" in body):
        return fault(f"{path}: {code} for {raw[:200]!r}: {body[:300]!r}")
    if code == 400 and not bad and b"context" not in body and b"too long" not in body:
        return fault(f"{path}: a good request is refused: {raw[:300]!r}: {body[:300]!r}")
    if b"transfer-encoding: chunked" in low:
        if not body.endswith(b"0\r\n\r\n"):
            fault(f"{path}: a stream without its end: {body[-200:]!r}")
    elif int(low.split(b"content-length: ")[1].split(b"\r\n")[0]) != len(body):
        fault(f"{path}: {len(body)} bytes are not what was announced")


def one(r):
    path, raw, bad = ask(r)
    how, key = r.random(), r.choice(KEYS)
    if how < 0.05:                                       # noise instead of HTTP
        with connect() as s:
            s.sendall(bytes(r.randrange(256) for _ in range(r.randrange(1, 400))))
            s.shutdown(socket.SHUT_WR)
            read_all(s)
        return count("noise")
    if how < 0.10:                                       # leaves before it has said all
        with connect() as s:
            s.sendall(head(path, len(raw) + 100, key) + raw)
        return count("cut request")
    if how < 0.25:                                       # leaves in the middle of the answer, or before it
        with connect() as s:
            s.sendall(head(path, len(raw), key) + raw)
            time.sleep(r.choice([0, 0.01, 0.1, 0.5]))
            if r.random() < 0.5:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")       # with a reset
        return count("left")
    if how < 0.27:                                       # a program that is killed
        p = subprocess.Popen(["curl", "-s", "-N", "-H", "Content-Type: application/json", "-H", "x-api-key: " + key, "--data-binary", "@-", URL + path],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        p.stdin.write(raw)
        p.stdin.close()
        time.sleep(r.random() * 0.3)
        p.kill()
        p.wait()
        return count("killed")
    if how < 0.29:                                       # a wrong key
        with connect() as s:
            s.sendall(head(path, len(raw), key + "x") + raw)
            if not read_all(s).startswith(b"HTTP/1.1 401 "):
                fault(f"{path}: a wrong key is let in")
        return count("wrong key")
    if how < 0.31:
        return look(r, key) if r.random() < 0.7 else change_adapters(r, key)
    with connect() as s:
        s.sendall(head(path, len(raw), key) + raw)
        if how < 0.34:
            time.sleep(3)                                # reads late
        answer = read_all(s)
    check(path, raw, bad, answer)
    if path == "/v1/responses" and b'"id":"resp_' in answer and r.random() < 0.7:
        own = answer.split(b'"id":"resp_')[1][:24].decode()
        fetch(r.choice(["GET", "DELETE"]), f"/v1/responses/resp_{own}", key, (200, 404))


def fetch(method, path, key, welcome=(200,)):
    with connect() as s:
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\nConnection: close\r\n\r\n".encode())
        answer = read_all(s).decode()
    code = int(answer[9:12] or 0)
    count(f"status {code}")
    if code not in welcome:
        fault(f"{method} {path}: {answer[:300]!r}")
    return answer


def change_adapters(r, key):
    if r.random() < 0.5:
        return fetch("DELETE", "/adapters/turn", key, (200, 404, 409, 503))
    raw = json.dumps({"name": "turn", "file": r.choice(["one", "two"]), "scale": r.choice([1, 0.5])}).encode()
    with connect() as s:
        s.sendall(head("/adapters", len(raw), key) + raw)
        answer = read_all(s)
    if int(answer[9:12] or 0) not in (200, 409, 503):
        fault(f"/adapters: {answer[:300]!r}")
    count("adapter")


def look(r, key):
    fetch("GET", r.choice(["/status", "/metrics", "/health", "/v1/models", "/api/tags", "/api/ps", "/openapi.json", "/", "/page/app.js"]), key, (200, 404))


def work(number, until):
    r = random.Random(SEED * 10000 + number)
    while time.time() < until and not ENDED.is_set():
        try:
            one(r)
        except (ConnectionResetError, BrokenPipeError):
            count("reset")
        except Exception as e:
            fault(f"{type(e).__name__}: {e}")


def metrics():
    return {line.split("{")[0][6:]: float(line.split()[-1]) for line in fetch("GET", "/metrics", KEYS[0]).splitlines() if line.startswith("facet:num_") or line.startswith("facet:conn")}


def size():
    rss = next(int(line.split()[1]) for line in open(f"/proc/{PID}/status") if line.startswith("VmRSS"))
    return rss, len(os.listdir(f"/proc/{PID}/fd"))


def phase(seconds, part):
    clients, until = CLIENTS[part % len(CLIENTS)], time.time() + seconds
    threads = [threading.Thread(target=work, args=(100 * part + i, until)) for i in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for _ in range(3000):                                # all is answered or cancelled
        m = metrics()
        if m["num_requests_running"] == 0 and m["num_requests_waiting"] == 0 and m["connections"] == 1:
            return size()
        time.sleep(0.1)
    fault(f"something stays: {m}")
    return size()


def main():
    begun, sizes = time.time(), []
    signal.signal(signal.SIGTERM, lambda *_: ENDED.set())
    listed = json.loads(fetch("GET", "/v1/models", KEYS[0]).partition("\r\n\r\n")[2])["data"]
    MODELS.extend([one["id"] for one in listed] + ["turn"])
    while len(sizes) < PARTS and not ENDED.is_set():
        sizes.append(phase(SECONDS / PARTS, len(sizes)))
        os.kill(PID, signal.SIGHUP)                      # the keys are read again
        print(f"{time.time() - begun:.0f} s: {sum(COUNTS.values())} requests, {sizes[-1][0] // 1024} MiB, {sizes[-1][1]} descriptors", flush=True)
    for what in sorted(COUNTS):
        print(f"  {what}: {COUNTS[what]}")
    if sizes[-1][1] > sizes[0][1]:
        fault(f"descriptors grew from {sizes[0][1]} to {sizes[-1][1]}")
    # The first third fills caches and the allocator's pools; after that it must stay.
    third = len(sizes) // 3
    before, after = max(sizes[third:-third] or sizes), max(sizes[-third:])
    if after[0] > before[0] * 1.05 + 8192:
        fault(f"memory grew from {before[0]} to {after[0]} KiB")
    if "12 + 30 = 42" not in ask_once():
        fault("it does not answer as before")
    print(f"{'FAILED' if FAULTS else 'passed'}: {sum(COUNTS.values())} requests in {time.time() - begun:.0f} s of {SECONDS:.0f}, {len(FAULTS)} faults")
    return bool(FAULTS)


def ask_once():
    raw = json.dumps({"messages": [{"role": "user", "content": "What is 12 + 30?"}], "temperature": 0}).encode()
    with connect() as s:
        s.sendall(head("/v1/chat/completions", len(raw), KEYS[0]) + raw)
        return read_all(s).decode()


sys.exit(main())
