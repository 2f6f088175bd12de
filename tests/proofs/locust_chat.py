"""Users for locust: conversations over OpenAI's chat completions, streamed, with time to think; some leave before or in the middle of
an answer.  WORDS, ANSWER, THINK, LEAVE are the environment's; the summary goes to RESULT as JSON."""
import json
import os
import random
import time

from locust import HttpUser, between, events, task

WORDS, ANSWER = int(os.environ["WORDS"]), int(os.environ["ANSWER"])
THINK, LEAVE = float(os.environ["THINK"]), float(os.environ["LEAVE"])
VOCABULARY = "river seven often blue house walks under light again paper north small winter reads about stone every music early green".split()
tokens = left = 0


class Client(HttpUser):
    wait_time = between(0.5 * THINK, 1.5 * THINK)

    def on_start(self):
        self.messages = []

    def measure(self, name, seconds, error=None):
        """One of the times of a request, under a name of its own."""
        events.request.fire(request_type="chat", name=name, response_time=1e3 * seconds, response_length=0, exception=error, context={})

    def read(self, answer, began, leave_after):
        """The answer's text, None when the user has left; counts pieces as tokens."""
        global tokens, left
        said, pieces, first, ended = "", 0, None, False
        if leave_after == 0:
            left += 1
            return None
        for line in answer.iter_lines(chunk_size=1):
            if not line.startswith(b"data: "):
                continue
            if line == b"data: [DONE]":
                ended = True
                break
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(event["error"])
            piece = event["choices"][0]["delta"].get("content") if event["choices"] else None
            if not piece:
                continue
            said, pieces, tokens = said + piece, pieces + 1, tokens + 1
            if first is None:
                first = time.perf_counter()
                self.measure("first token", first - began)
            if pieces == leave_after:
                left += 1
                return None
        if not ended or first is None:
            raise RuntimeError("the answer has no end")
        if pieces > 1:
            self.measure("token", (time.perf_counter() - first) / (pieces - 1))
        return said

    @task
    def ask(self):
        words = WORDS if not self.messages else 8
        self.messages.append({"role": "user", "content": " ".join(random.choices(VOCABULARY, k=words))})
        body = {"model": "m", "stream": True, "max_tokens": ANSWER, "ignore_eos": True, "temperature": 1,
                "logit_bias": {"1": -100, "106": -100, "50": -100}, "messages": self.messages}
        leave_after = random.randrange(0, ANSWER // 2 + 1) if random.random() < LEAVE else -1
        began = time.perf_counter()
        said = None
        try:
            with self.client.post("/v1/chat/completions", json=body, stream=True, catch_response=True, name="headers") as answer:
                if answer.status_code != 200:
                    raise RuntimeError(f"status {answer.status_code}: {answer.text[:200]}")
                said = self.read(answer, began, leave_after)
                answer.success()
            if said is not None:
                self.measure("answer", time.perf_counter() - began)
        except Exception as error:                       # whatever it was: the request has failed
            self.measure("answer", time.perf_counter() - began, error)
        # two turns, then another conversation; who has left begins anew
        if said is None or len(self.messages) >= 3:
            self.messages = []
        else:
            self.messages.append({"role": "assistant", "content": said})


@events.quitting.add_listener
def write(environment, **_):
    def of(name):
        return environment.stats.get(name, "chat")
    done, seconds = of("answer"), environment.stats.total.last_request_timestamp - environment.stats.total.start_time
    first, token = of("first token"), of("token")
    with open(os.environ["RESULT"], "w") as f:
        json.dump({"done": done.num_requests - done.num_failures, "left": left, "failed": done.num_failures,
                   "why": next((e.error for e in environment.stats.errors.values()), ""),
                   "first": [first.get_response_time_percentile(p) for p in (0.5, 0.99)],
                   "token": [token.get_response_time_percentile(p) for p in (0.5, 0.99)],
                   "tok_s": tokens / max(seconds, 1e-3)}, f, default=str)
