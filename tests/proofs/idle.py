"""1,000 connections that have asked once and stay: what they cost the process.  idle.py URL PID"""
import socket
import sys

HOST, PORT = sys.argv[1].split("//")[1].split(":")
MANY, LIMIT_KB = 1000, 50 * 1000


def rss():
    return next(int(line.split()[1]) for line in open(f"/proc/{sys.argv[2]}/status") if line.startswith("VmRSS"))


def ask(s):
    s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while b"}" not in answer:
        answer += s.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200")


first = socket.create_connection((HOST, int(PORT)))
ask(first)
before = rss()
others = [socket.create_connection((HOST, int(PORT))) for _ in range(MANY)]
for s in others:
    ask(s)
grown = rss() - before
ask(first)                                   # and it still answers
print(f"{MANY} idle connections: {grown} KB, {grown * 1024 // MANY} bytes each; {rss()} KB in all")
sys.exit(grown > LIMIT_KB)
