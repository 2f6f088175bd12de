#!/bin/sh
# nginx as examples/serve/nginx.conf has it, with a certificate of its own: nginx.sh ADDRESS, of a facet serve with the key "key-of-anna".
set -eu
tmp=$(mktemp -d)
trap '[ ! -s "$tmp/pid" ] || kill "$(cat "$tmp/pid")"; rm -rf "$tmp"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=gemma.example.org -addext subjectAltName=DNS:gemma.example.org \
    -keyout "$tmp/gemma.key" -out "$tmp/gemma.pem" 2>/dev/null
{
    echo "daemon on; pid $tmp/pid; error_log $tmp/error.log; events { } http { access_log off; client_body_temp_path $tmp; proxy_temp_path $tmp; fastcgi_temp_path $tmp; scgi_temp_path $tmp; uwsgi_temp_path $tmp;"
    sed "s,listen 443,listen 127.0.0.1:$port,; s,/etc/ssl/,$tmp/,; s,http://127.0.0.1:8080,$1," examples/serve/nginx.conf
    echo "}"
} >"$tmp/nginx.conf"
[ "$(id -u)" != 0 ] || sed -i '1s/^/user root; /' "$tmp/nginx.conf"
nginx -c "$tmp/nginx.conf" 2>"$tmp/said" || { cat "$tmp/said" "$tmp/error.log"; exit 1; }
ask() {
    path=$1
    shift
    curl -sS --noproxy '*' --max-time 120 --cacert "$tmp/gemma.pem" --resolve "gemma.example.org:$port:127.0.0.1" "https://gemma.example.org:$port$path" "$@"
}
[ "$(ask /v1/models -o /dev/null -w '%{http_code}')" = 401 ]
[ "$(ask /metrics -o /dev/null -w '%{http_code}')" = 401 ]
key='Authorization: Bearer key-of-anna'
ask /v1/models -H "$key" | grep -q '"facet-mini"'
ask /v1/chat/completions -H "$key" -d '{"messages":[{"role":"user","content":"What is 12 + 30?"}],"temperature":0}' | grep -q '12 + 30 = 42'
# A stream comes through as it is said: most of its events before its last one is made.
ask /v1/chat/completions -H "$key" -N -d '{"stream":true,"max_tokens":4000,"logit_bias":{"1":-100,"106":-100,"50":-100},"messages":[{"role":"user","content":"Hi"}]}' |
    python3 -c '
import sys, time
times = [time.time() for line in sys.stdin if line.startswith("data: ")]
assert len(times) > 100 and times[-1] - times[0] > 0.05, (len(times), times[-1] - times[0])
print(f"nginx: {len(times)} events of a stream over {times[-1] - times[0]:.2f} s")'
# 20 MB go in, and an answer comes out.
head -c 20000000 /dev/zero | tr '\0' ' ' >"$tmp/large"
[ "$(ask /v1/chat/completions -H "$key" --data-binary "@$tmp/large" -o "$tmp/answer" -w '%{http_code}')" = 400 ]
grep -q 'JSON' "$tmp/answer"
echo "nginx: keys, answers, streams and large bodies pass"
