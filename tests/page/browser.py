"""Chromium without a window, driven through its DevTools pipe (file descriptors 3 and 4).  Standard library only."""
import base64
import json
import os
import select
import subprocess
import tempfile
import time

WAIT = 60          # seconds for anything that must happen


class Browser:
    def __init__(self, program="chromium"):
        self.folder = tempfile.mkdtemp()
        to_child, self.out = os.pipe()
        self.inp, from_child = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--mute-audio",
                 "--remote-debugging-pipe", f"--user-data-dir={self.folder}/profile", "about:blank"]
        self.log = open(f"{self.folder}/log", "wb")
        self.process = subprocess.Popen(["sh", "-c", f'exec "$@" 3<&{to_child} 4>&{from_child}', "sh", program, *flags], pass_fds=(to_child, from_child),
                                        stdout=self.log, stderr=self.log, env={**os.environ, "HOME": self.folder})
        os.close(to_child)
        os.close(from_child)
        self.rest, self.count, self.answers, self.handlers = b"", 0, {}, []

    def close(self):
        try:
            self.send("Browser.close")
            self.process.wait(20)
        except Exception:
            self.process.kill()
            self.process.wait()

    def post(self, method, params=None, session=None):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params or {}, **({"sessionId": session} if session else {})}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        return self.count

    def send(self, method, params=None, session=None):
        number = self.post(method, params, session)
        end = time.monotonic() + WAIT
        while number not in self.answers:
            self.pump(end)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def pump(self, end):
        """Reads what the browser says; calls handlers for events."""
        left = end - time.monotonic()
        if left <= 0 or not select.select([self.inp], [], [], left)[0]:
            raise TimeoutError("the browser said nothing")
        data = os.read(self.inp, 1 << 20)
        if not data:
            raise EOFError(open(f"{self.folder}/log").read()[-2000:])
        *messages, self.rest = (self.rest + data).split(b"\0")
        for m in map(json.loads, messages):
            if "id" in m:
                self.answers[m["id"]] = m
            else:
                for handle in self.handlers:
                    handle(m)


class Page:
    """A tab with storage of its own.  Remembers what went wrong in it: console, exceptions, broken policy, requests elsewhere."""

    def __init__(self, browser, url, width=1200, height=800, beside=None):
        """beside: a page whose storage it shares."""
        self.browser, self.url, self.beside = browser, url, beside
        self.context = beside.context if beside else browser.send("Target.createBrowserContext")["browserContextId"]
        self.target = target = browser.send("Target.createTarget", {"url": "about:blank", "browserContextId": self.context})["targetId"]
        self.session = browser.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.wrong, self.requests, self.bodies, self.intercept = [], [], [], None
        self.downloads = tempfile.mkdtemp(dir=browser.folder)
        browser.handlers.append(self.on_event)
        browser.send("Browser.setDownloadBehavior", {"behavior": "allow", "browserContextId": self.context, "downloadPath": self.downloads})
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.send(f"{domain}.enable")
        self.size(width, height)
        self.send("Page.addScriptToEvaluateOnNewDocument", {"source":
            "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective + ' ' + e.blockedURI), true);"})
        self.open(url)

    def close(self):
        self.browser.handlers.remove(self.on_event)
        if self.beside:
            self.browser.send("Target.closeTarget", {"targetId": self.target})
        else:
            self.browser.send("Target.disposeBrowserContext", {"browserContextId": self.context})

    def send(self, method, params=None):
        return self.browser.send(method, params, self.session)

    def on_event(self, m):
        if m.get("sessionId") != self.session:
            return
        method, p = m["method"], m["params"]
        if method == "Runtime.exceptionThrown":
            self.wrong.append("exception: " + json.dumps(p["exceptionDetails"])[:600])
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "assert", "warning"):
            self.wrong.append("console: " + json.dumps(p["args"])[:600])
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.wrong.append(f"log: {p['entry']['text']} {p['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
            if p["request"]["method"] == "POST":
                self.bodies.append(json.loads(p["request"].get("postData") or "{}"))
        elif method == "Fetch.requestPaused":
            self.browser.post(*self.intercept(p), self.session)

    def open(self, url):
        self.send("Page.navigate", {"url": url})
        self.until("document.readyState === 'complete' && document.getElementById('model')?.textContent !== undefined")

    def reload(self):
        self.run("window.old = true")
        self.send("Page.reload")
        self.until("!window.old && document.readyState === 'complete'")

    def size(self, width, height, scale=1, mobile=False):
        self.send("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile})

    def run(self, expression):
        r = self.send("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True, "userGesture": True})
        if "exceptionDetails" in r:
            raise RuntimeError(f"{expression[:300]}: {json.dumps(r['exceptionDetails'])[:500]}")
        return r["result"].get("value")

    def until(self, expression):
        """Waits until it is true; gives its value."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            try:
                value = self.run(expression)
            except RuntimeError as e:
                if "context" not in str(e):          # between two documents
                    raise
                value = None
            if value:
                return value
            time.sleep(0.02)
        raise TimeoutError(f"never true: {expression}\n{self.run('document.body.innerText')[:2000]}\n{self.wrong}")

    # ---- what a user does

    def point(self, selector):
        box = self.run(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'nearest'}}); "
                       "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")
        return {"x": box[0], "y": box[1]}

    def click(self, selector):
        self.until(f"(e => e && e.getClientRects().length > 0 && !e.disabled)(document.querySelector({json.dumps(selector)}))")
        at = self.point(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", {"type": kind, "button": "left", "clickCount": 1, **at})

    def type(self, text):
        self.send("Input.insertText", {"text": text})

    KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), " ": (32, " ")}

    def key(self, name, shift=False, control=False):
        code, text = self.KEYS.get(name, (ord(name.upper()) if len(name) == 1 else 0, "" if control else name))
        p = {"key": name, "code": name if len(name) > 1 else ("Space" if name == " " else "Key" + name.upper()), "windowsVirtualKeyCode": code,
             "modifiers": (8 if shift else 0) + (2 if control else 0)}
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **p, **({"text": text} if text else {})})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **p})

    def fill(self, selector, text):
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.type(text)

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.send("Page.captureScreenshot", {"format": "png"})["data"]))

    def downloaded(self, end):
        """The text of the newest download whose name ends so."""
        limit = time.monotonic() + WAIT
        while time.monotonic() < limit:
            names = [n for n in os.listdir(self.downloads) if n.endswith(end)]
            if names:
                path = os.path.join(self.downloads, names[0])
                time.sleep(0.1)
                with open(path) as f:
                    text = f.read()
                os.remove(path)
                return text
            self.run("1")
            time.sleep(0.05)
        raise TimeoutError(f"no download {end}")

    def upload(self, selector, path):
        node = self.send("Runtime.evaluate", {"expression": f"document.querySelector({json.dumps(selector)})"})["result"]["objectId"]
        self.send("DOM.setFileInputFiles", {"files": [path], "objectId": node})

    # ---- requests on their way

    def catch(self, pattern, act):
        """act(paused request) gives (method, params) of Fetch."""
        self.intercept = act
        self.send("Fetch.enable", {"patterns": [{"urlPattern": pattern}]})

    def let_go(self):
        self.send("Fetch.disable")
