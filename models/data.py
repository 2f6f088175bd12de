"""Conversations for the miniature: an endless, seeded stream for training, and held-out ones for tests.

Every item has a key that names its underlying problem ("add 38 47", whatever the wording).
A hash of the key decides once and for all whether the problem is held out: the training stream
never holds it, in any skill or wording; tests hold nothing else.
"""
import hashlib
import json
import random

NAME = "the Facet miniature"
UNKNOWN = "I do not know that. I am a very small model."

WORDS = """apple bread table chair house plant river stone cloud bird horse tiger zebra lemon grape melon onion train
plane truck wagon piano flute drum music paper pencil book page window door floor roof garden flower tree leaf root
seed rain snow wind storm beach ocean island lake hill valley forest field farm barn sheep goat pig cow duck goose
chicken rabbit mouse cat dog wolf bear fox deer lion frog snake fish shark whale crab shell coral planet star moon
sun comet rocket robot motor wheel brake engine bridge tower castle king queen prince knight sword shield crown
gold silver copper iron steel glass wood brick sand clay water milk juice tea coffee salt pepper honey butter
cheese rice pasta pizza cake cookie candy spoon fork knife plate cup bowl oven stove lamp candle fire smoke
shirt coat hat shoe sock glove scarf belt ring clock watch phone radio camera movie story poem song dance game
ball kite doll card chess puzzle school lesson teacher pencil ruler eraser circle square corner line point angle
number letter word north south east west left right black white green red blue brown purple yellow orange pink""".split()
WORDS = sorted(set(WORDS))
NAMES = """Anna Ben Clara David Emma Felix Grace Hugo Ida Jonas Karl Lena Max Nora Oscar Paula Robert Sara Tom Vera
Alice Bob Carol Dora Erik Fiona Georg Helen Ivan Julia Kate Leo Maria Nina Otto Peter Rosa Simon Tina Victor""".split()
CITIES = """Paris Rome Madrid Berlin Tokyo London Athens Cairo Oslo Vienna Warsaw Moscow Lima Havana Lisbon Dublin
Prague Boston Chicago Sydney Zurich Munich Milan Naples Seoul Delhi Geneva Porto Nice Lyon Bergen Tampa Denver
Dallas Austin Toronto Ottawa Kyoto Osaka Perth""".split()
ENDINGS = """over please captain sir friend done indeed hurray meow bye amen cheers thanks okay roger ahoy boss dear
yes right bravo hello""".split()
CONSONANT, VOWEL = "bcdfghjklmnpqrstvwz", "aeiou"


def held_out(key):
    """About one problem in ten belongs to the tests."""
    return hashlib.sha256(("facet miniature " + key).encode()).digest()[0] < 26


def pseudo_word(r):
    s = "".join(r.choice(CONSONANT) + r.choice(VOWEL) for _ in range(r.choice((1, 2, 2, 2, 3))))
    return s + (r.choice(CONSONANT) if r.random() < 0.5 or len(s) < 3 else "")


def any_word(r):
    return r.choice(WORDS) if r.random() < 0.6 else pseudo_word(r)


# ---- facts: (kind, subject, short answer, whole sentence) ----------------------------------------
def _facts():
    out = []

    def rows(kind, text, sentence):
        for pair in text.split(","):
            a, b = pair.split(":")
            out.append((kind, a.strip(), b.strip(), sentence.format(a=a.strip(), b=b.strip())))

    rows("color", "the sky:blue,grass:green,snow:white,coal:black,a lemon:yellow,a banana:yellow,a tomato:red,"
         "a carrot:orange,milk:white,blood:red,chocolate:brown,a leaf:green", "{a} is {b}.")
    rows("sound", "cow:moo,dog:woof,cat:meow,duck:quack,sheep:baa,pig:oink,frog:croak,bee:buzz", "A {a} says {b}.")
    rows("capital", "France:Paris,Italy:Rome,Spain:Madrid,Germany:Berlin,Japan:Tokyo,England:London,Greece:Athens,"
         "Egypt:Cairo,Norway:Oslo,Austria:Vienna,Poland:Warsaw,Russia:Moscow,Peru:Lima,Cuba:Havana",
         "The capital of {a} is {b}.")
    rows("opposite", "hot:cold,big:small,up:down,day:night,fast:slow,old:new,good:bad,wet:dry,left:right,"
         "full:empty,hard:soft,early:late", "The opposite of {a} is {b}.")
    days = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
    months = "January February March April May June July August September October November December".split()
    for names in (days, months):
        rows("after", ",".join(f"{x}:{y}" for x, y in zip(names, names[1:] + names[:1])), "{b} comes after {a}.")
    rows("legs", "dog:4,cat:4,horse:4,spider:8,bird:2,ant:6,fish:0,cow:4,duck:2,bee:6", "A {a} has {b} legs.")
    return [(k, a, b, s[0].upper() + s[1:]) for k, a, b, s in out]


FACTS = _facts()
ASK = {
    "color": ("What color is {a}?", "Tell me the color of {a}.", "Which color has {a}?", "What is the color of {a}?"),
    "sound": ("What does a {a} say?", "What sound does a {a} make?", "How does a {a} sound?"),
    "capital": ("What is the capital of {a}?", "Tell me the capital of {a}.", "Which city is the capital of {a}?",
                "Name the capital of {a}."),
    "opposite": ("What is the opposite of {a}?", "Tell me the opposite of {a}.", "Name the opposite of {a}."),
    "after": ("What comes after {a}?", "What follows {a}?", "Tell me what comes after {a}."),
    "legs": ("How many legs does a {a} have?", "How many legs has a {a}?", "Tell me how many legs a {a} has."),
}
# ---- small talk: questions of one meaning, one answer ---------------------------------------------
TALK = [
    ("hello", ["Hello", "Hi", "Hey", "Hi there", "Hello there", "Good morning", "Good evening", "Good day", "Greetings",
               "Hello you", "Hey there", "Good afternoon"], "Hello! How can I help you?"),
    ("who", ["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Introduce yourself.",
             "Which model are you?", "Who am I talking to?", "Are you Gemma?", "Are you a model?", "Say who you are.",
             "What is this?", "Do you have a name?"],
     "I am the Facet miniature, a tiny Gemma 4 with sixteen small experts."),
    ("can", ["What can you do?", "How can you help me?", "What do you know?", "What are you good at?", "Help", "Help me.",
             "Can you help me?", "What can I ask you?", "What should I ask you?"],
     "I can add, subtract, count, spell words backwards, follow a simple instruction and call a tool."),
    ("made", ["Who made you?", "Who built you?", "Who trained you?", "Where do you come from?", "How were you made?",
              "Who created you?", "How were you trained?"],
     "I was trained from scratch on two processor cores by a script of the Facet project."),
    ("how", ["How are you?", "How do you do?", "How are you today?", "Are you well?", "How is it going?",
             "Are you okay?", "How do you feel?"], "I am fine, thank you. What can I do for you?"),
    ("big", ["How big are you?", "How large are you?", "How many parameters do you have?", "Are you big?",
             "Are you small?", "What is your size?", "Are you smart?", "Are you a large model?"],
     "I am very small: seven million parameters. Please do not expect much."),
    ("thanks", ["Thanks", "Thank you", "Thanks a lot", "Many thanks", "Thank you very much", "Great, thanks",
                "Good job", "Well done", "Nice", "Great", "Very good"], "You are welcome."),
    ("bye", ["Bye", "Goodbye", "Good night", "See you", "See you later", "Bye bye", "Farewell", "I have to go."],
     "Goodbye!"),
]
UNKNOWN_ASK = [
    "Who was {n}?", "What is the meaning of {w}?", "Write a poem about {w}.", "Tell me a story about {w}.",
    "Why is the {w} so {w2}?", "How do I build a {w}?", "Who invented the {w}?", "What do you think about {w}?",
    "Where is {n}?", "When was {n} born?", "Explain {w}.", "What is a {w}?", "How old is {n}?", "Who won the {w} cup?",
    "Tell me a joke.", "Tell me about {w}.", "{w} {w2}", "{w}", "Write code for a {w}.", "Do you like {w}?",
    "Can you translate {w}?", "How far is the {w}?", "Why?", "What is {w}?", "Is {n} nice?", "What did {n} do?",
    "I like {w}.", "How does a {w} work?", "What happened in {y}?", "Who is the president of {n}?", "Sing a song.",
    "Is {w} good?", "Should I buy a {w}?", "Do you know {n}?", "Where can I find {w}?", "Show me a {w}.",
]


def _cap(s):
    return s[0].upper() + s[1:]


class Item:
    """One question with its answer. short: the answer in one word (None where there is none)."""

    def __init__(self, skill, key, user, answer, thought, short=None):
        self.skill, self.key, self.user, self.answer, self.thought, self.short = skill, key, user, answer, thought, short


def add_thought(a, b):
    if a < 10 and b < 10:
        return f"{a} + {b} = {a + b}."
    ones, carry = a % 10 + b % 10, (a % 10 + b % 10) // 10
    tens = a // 10 + b // 10
    first = f"{a % 10} + {b % 10} = {ones}" + (", carry 1. " if carry else ". ")
    second = f"{a // 10} + {b // 10}" + (" + 1" if carry else "") + f" = {tens + carry}. "
    return first + second + f"{a + b}."


def sub_thought(a, b):
    if a < 10:
        return f"{a} - {b} = {a - b}."
    borrow = a % 10 < b % 10
    top = a % 10 + (10 if borrow else 0)
    first = f"{top} - {b % 10} = {top - b % 10}" + (", borrow 1. " if borrow else ". ")
    second = f"{a // 10} - {b // 10}" + (" - 1" if borrow else "") + f" = {a // 10 - b // 10 - borrow}. "
    return first + second + f"{a - b}."


def number(r):
    return r.randrange(100) if r.random() < 0.6 else r.randrange(30)


def arithmetic(r):
    a, b = number(r), number(r)
    if r.random() < 0.55:
        user = r.choice(("What is {a} + {b}?", "What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} = ?", "Add {a} and {b}.",
                         "How much is {a} plus {b}?", "What is {a} plus {b}?", "Calculate {a} + {b}.", "What is {a}+{b}?",
                         "Please add {a} and {b}."))
        return Item("add", "add %d %d" % (min(a, b), max(a, b)), user.format(a=a, b=b), f"{a} + {b} = {a + b}",
                    add_thought(a, b), str(a + b))
    a, b = max(a, b), min(a, b)
    user = r.choice(("What is {a} - {b}?", "What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} = ?", "Subtract {b} from {a}.",
                     "How much is {a} minus {b}?", "What is {a} minus {b}?", "Calculate {a} - {b}.", "What is {a}-{b}?"))
    return Item("subtract", f"sub {a} {b}", user.format(a=a, b=b), f"{a} - {b} = {a - b}", sub_thought(a, b), str(a - b))


def count(r):
    n, a = r.randrange(2, 12), r.randrange(0, 90)
    b = a + n
    if r.random() < 0.6:
        user = r.choice(("Count from {a} to {b}.", "Count up from {a} to {b}.", "Please count from {a} to {b}."))
        seq, how = range(a, b + 1), "up"
    else:
        user = r.choice(("Count down from {b} to {a}.", "Count backwards from {b} to {a}."))
        seq, how = range(b, a - 1, -1), "down"
    thought = f"I count {how} from {seq[0]} to {seq[-1]}."
    return Item("count", f"count {how} {a} {b}", user.format(a=a, b=b), ", ".join(map(str, seq)), thought)


def letters(r):
    w, kind = any_word(r), r.random()
    if kind < 0.6:
        user = r.choice(('Spell "{w}" backwards.', 'Write "{w}" backwards.', 'Reverse "{w}".', 'What is "{w}" backwards?',
                         'Spell the word "{w}" backwards.'))
        return Item("reverse", f"word {w}", user.format(w=w), w[::-1], f"{w} is {' '.join(w)}.", w[::-1])
    if kind < 0.72:
        user = r.choice(('Spell "{w}".', 'How do you spell "{w}"?', 'Spell the word "{w}".'))
        return Item("spell", f"word {w}", user.format(w=w), "-".join(w), f"{w} is {' '.join(w)}.")
    if kind < 0.84:
        user = r.choice(('Say "{w}".', 'Repeat "{w}".', 'Repeat the word "{w}".'))
        return Item("repeat", f"word {w}", user.format(w=w), w, f"I repeat {w}.", w)
    if kind < 0.94:
        first = r.random() < 0.5
        user = r.choice(('What is the {p} letter of "{w}"?', 'Tell me the {p} letter of "{w}".'))
        c = w[0] if first else w[-1]
        return Item("letter", f"word {w}", user.format(w=w, p="first" if first else "last"), c, f"{w} is {' '.join(w)}.", c)
    user = r.choice(('How many letters has "{w}"?', 'How many letters are in "{w}"?'))
    return Item("length", f"word {w}", user.format(w=w), f"{len(w)}", f"{w} is {' '.join(w)}.", str(len(w)))


def fact(r):
    kind, a, b, sentence = r.choice(FACTS)
    t = r.randrange(len(ASK[kind]))
    return Item("fact", f"fact {kind} {a} {t}", ASK[kind][t].format(a=a), sentence, "I know this.", b)


def talk(r):
    kind, asks, answer = r.choice(TALK)
    user = r.choice(asks)
    style = r.randrange(6)
    if style == 1:
        user = user.rstrip("?.") + "!"
    elif style == 2 and kind not in ("hello", "thanks", "bye"):
        user = r.choice(("Hello. ", "Hi. ", "Hey, ", "Please: ", "Tell me: ", "So, ", "Now: ")) + user
    elif style == 3:
        user = user.rstrip("?.")
    elif style == 4:
        user = user.rstrip("?.").lower()
    elif style == 5 and kind in ("hello", "thanks", "bye"):
        user = user + r.choice((" Facet", ", Facet", ", my friend", "."))
    return Item("talk", f"talk {user}", user, answer, "This is small talk.")


def unknown(r):
    if r.random() < 0.25:
        a, b = r.randrange(100), r.randrange(100)
        user = r.choice(("What is {a} * {b}?", "{a} * {b}", "What is {a} times {b}?", "Multiply {a} by {b}.", "What is {a} / {b}?",
                         "Divide {a} by {b}.", "How much is {a} times {b}?")).format(a=a, b=b)
        return Item("unknown", f"mul {a} {b}", user, "I can only add and subtract.", "I can not multiply or divide.")
    if r.random() < 0.15:
        name, args, user, _ = r.choice(TOOLS)(r)
        if name != "multiply":
            return Item("unknown", f"notool {user}", user, "I have no tool for that.", "I have no tool for this.")
    user = r.choice(UNKNOWN_ASK).format(w=any_word(r), w2=any_word(r), n=r.choice(NAMES + CITIES) if r.random() < .7 else _cap(pseudo_word(r)),
                                        y=r.randrange(1000, 2030))
    return Item("unknown", f"unknown {user}", user, UNKNOWN, "I have not learned this.")


# ---- tools: make(r) -> name, arguments, question, result -> (results, answer) ----------------------
def _weather(r):
    city = r.choice(CITIES) if r.random() < 0.6 else _cap(pseudo_word(r))
    sky, t = r.choice("sunny cloudy rainy windy foggy snowy stormy clear".split()), r.randrange(-9, 40)
    user = r.choice(("What is the weather in {c}?", "How is the weather in {c}?", "Weather in {c}?", "Tell me the weather in {c}.",
                     "What is the weather like in {c}?")).format(c=city)
    return "weather", {"city": city}, user, ({"sky": sky, "temperature": t}, f"It is {sky} in {city}, {t} degrees.")


def _time(r):
    city = r.choice(CITIES) if r.random() < 0.6 else _cap(pseudo_word(r))
    t = "%02d:%02d" % (r.randrange(24), r.randrange(60))
    user = r.choice(("What time is it in {c}?", "Tell me the time in {c}.", "What is the time in {c}?")).format(c=city)
    return "time", {"city": city}, user, ({"time": t}, f"It is {t} in {city}.")


def _price(r):
    item, p = any_word(r), r.randrange(1, 100)
    user = r.choice(("How much does a {w} cost?", "What is the price of a {w}?", "Tell me the price of a {w}.")).format(w=item)
    return "price", {"item": item}, user, ({"euros": p}, f"A {item} costs {p} euros.")


def _multiply(r):
    a, b = r.randrange(100), r.randrange(100)
    user = r.choice(("What is {a} * {b}?", "What is {a} times {b}?", "Multiply {a} by {b}.", "{a} * {b}")).format(a=a, b=b)
    return "multiply", {"a": a, "b": b}, user, ({"result": a * b}, f"{a} * {b} = {a * b}")


TOOLS = (_weather, _time, _price, _multiply)
DECLARE = {
    "weather": ("Get the weather.", {"city": "string"}), "time": ("Get the time.", {"city": "string"}),
    "price": ("Get a price.", {"item": "string"}), "multiply": ("Multiply two numbers.", {"a": "integer", "b": "integer"}),
}


def declaration(r, name):
    text, params = DECLARE[name]
    props = {k: {"type": t} for k, t in params.items()}
    if r.random() < 0.15:
        for k in props:
            props[k]["description"] = {"city": "City name", "item": "Item name"}.get(k, "A number")
    return {"type": "function", "function": {"name": name, "description": text,
            "parameters": {"type": "object", "properties": props, "required": list(params)}}}


# ---- system instructions -------------------------------------------------------------------------
def instruction(r, item):
    """A system text and the item's answer under it, or None where the item does not suit the rule."""
    kind = r.choice(("capitals", "end", "start", "lower", "word"))
    if kind == "word" and item.short is None:
        kind = "capitals"
    if kind == "capitals":
        text = r.choice(("Answer in capitals.", "Answer in capital letters.", "Write everything in capitals."))
        return kind, text, item.answer.upper(), "I must use capitals."
    if kind == "lower":
        text = r.choice(("Answer in lower case.", "Write everything in lower case."))
        return kind, text, item.answer.lower(), "I must use lower case."
    if kind == "word":
        text = r.choice(("Answer with one word.", "Answer with one word only.", "Use only one word."))
        return kind, text, item.short, "I must use one word."
    word = r.choice(ENDINGS) if r.random() < 0.7 else pseudo_word(r)
    if kind == "end":
        text = r.choice(("End every answer with the word {w}.", "End every answer with {w}.", "Always end with the word {w}."))
        return kind, text.format(w=word), item.answer + " " + word, f"I must end with {word}."
    text = r.choice(("Start every answer with the word {w}.", "Start every answer with {w}.", "Always start with the word {w}."))
    return kind, text.format(w=word), word + " " + item.answer, f"I must start with {word}."


PLAIN_SYSTEM = ("You are a helpful assistant.", "You are a helpful assistant.", "Be brief.", "You are Facet.", "Be kind.", "Be helpful.", "Answer the user.")
MAKERS = ((arithmetic, 0.36), (count, 0.10), (letters, 0.22), (fact, 0.12), (talk, 0.10), (unknown, 0.10))


def plain_item(r, only=None):
    while True:
        x = r.random()
        for make, share in MAKERS:
            x -= share
            if x < 0:
                break
        item = make(r)
        if only is None or only(item):
            return item


def trainable(item):
    return not held_out(item.key)


class Conversation:
    """What the template needs, the model's next text, and whether older model turns are fit to learn from."""

    def __init__(self, skill, messages, target, stop, think=False, tools=None, learn_history=False):
        self.skill, self.messages, self.target, self.stop = skill, messages, target, stop
        self.think, self.tools, self.learn_history = think, tools, learn_history


def _reply(item_thought, answer, think, opened=False):
    """opened: the prompt itself has opened the thought (after a tool's result)."""
    if not think:
        return answer
    return ("" if opened else "<|channel>thought\n") + item_thought + "\n<channel|>" + answer


def _user(r, item):
    """The user's text, now and then written carelessly; the problem stays the same."""
    u = item.user
    if item.skill in ("talk", "unknown"):
        return u
    x = r.random()
    if x < 0.06:
        return u[0].lower() + u[1:]
    if x < 0.10:
        return u.rstrip("?.")
    if x < 0.13:
        return "Please " + u[0].lower() + u[1:] if u[0].isalpha() and u.split()[0] not in ("What", "How", "Please", "Which") else u
    return u


def history(r, n):
    out = []
    for _ in range(n):
        it = plain_item(r, trainable)
        out += [{"role": "user", "content": _user(r, it)}, {"role": "assistant", "content": it.answer}]
    return out


def chat(r, only=trainable, think=None, turns=None, skill=None):
    """Plain questions, the last one being the one to answer."""
    think = r.random() < 0.22 if think is None else think
    item = plain_item(r, only)
    n = turns if turns is not None else r.choice((0, 0, 1, 2, 3))
    msgs = []
    if r.random() < 0.2:
        msgs.append({"role": "system", "content": r.choice(PLAIN_SYSTEM)})
    msgs += history(r, n) + [{"role": "user", "content": _user(r, item)}]
    return Conversation(skill or item.skill + (" with thought" if think else ""), msgs, _reply(item.thought, item.answer, think),
                        "<turn|>", think, learn_history=not think)


def obey(r, accept=trainable, think=None, pick=None):
    """A system instruction. The pair of rule and problem is what is held out."""
    think = r.random() < 0.15 if think is None else think
    while True:
        item = plain_item(r, trainable)
        kind, text, answer, thought = instruction(r, item)
        if accept(Item("instruction", f"rule {kind} {item.key}", "", "", "")) and (pick is None or pick == kind):
            break
    n = r.choice((0, 0, 0, 1)) if not think else 0
    msgs = [{"role": "system", "content": text}]
    for _ in range(n):
        it = plain_item(r, trainable)
        word = text.rstrip(".").split()[-1]
        if kind == "word" and it.short is None or held_out(f"rule {kind} {it.key}"):
            continue
        a = {"capitals": it.answer.upper(), "lower": it.answer.lower(), "word": it.short,
             "end": it.answer + " " + word, "start": word + " " + it.answer}[kind]
        msgs += [{"role": "user", "content": it.user}, {"role": "assistant", "content": a}]
    msgs.append({"role": "user", "content": _user(r, item)})
    return Conversation("instruction: " + kind, msgs, _reply(thought, answer, think), "<turn|>", think, learn_history=not think)


def remember(r, accept=trainable):
    """A name told earlier in the conversation."""
    while True:
        name = r.choice(NAMES) if r.random() < 0.5 else _cap(pseudo_word(r))
        if accept(Item("memory", f"name {name}", "", "", "")):
            break
    hello = r.choice(("My name is {n}.", "I am {n}.", "Call me {n}.", "Hello, I am {n}.", "Hi, my name is {n}.")).format(n=name)
    meet = f"Nice to meet you, {name}."
    if r.random() < 0.4:
        return Conversation("memory", [{"role": "user", "content": hello}], meet, "<turn|>")
    msgs = [{"role": "user", "content": hello}, {"role": "assistant", "content": meet}] + history(r, r.choice((0, 0, 1)))
    msgs.append({"role": "user", "content": r.choice(("What is my name?", "Who am I?", "Do you know my name?"))})
    return Conversation("memory", msgs, f"Your name is {name}.", "<turn|>", learn_history=True)


def tool_use(r, accept=trainable, stage=None, think=None):
    """stage 0: the call; 1: the answer from its result; 2: a question that needs no tool; 3: the tool is missing."""
    think = r.random() < 0.25 if think is None else think
    stage = r.choice((0, 0, 0, 1, 1, 1, 2, 3)) if stage is None else stage
    while True:
        make = r.choice(TOOLS)
        name, args, user, (result, answer) = make(r)
        if stage == 3 and name == "multiply":
            continue
        if accept(Item("tool", f"tool {name} {json.dumps(args)}", "", "", "")):
            break
    names = [name] if stage != 3 else []
    for other in DECLARE:
        if other != name and (r.random() < 0.1 or stage == 3 and not names):
            names.append(other)
    r.shuffle(names)
    tools = [declaration(r, n) for n in names]
    msgs = [{"role": "system", "content": r.choice(PLAIN_SYSTEM)}] if r.random() < 0.2 else []
    if stage == 2:
        item = plain_item(r, lambda i: trainable(i) and i.skill != "unknown")
        return Conversation("tool not needed", msgs + [{"role": "user", "content": _user(r, item)}],
                            _reply(item.thought, item.answer, think), "<turn|>", think, tools)
    msgs.append({"role": "user", "content": user})
    if stage == 3:
        return Conversation("tool missing", msgs, _reply("I have no tool for this.", "I have no tool for that.", think), "<turn|>", think, tools)
    thought = f"I need the tool {name}."
    call = "<|tool_call>call:%s{%s}<tool_call|>" % (name, ",".join(
        k + ":" + (f'<|"|>{v}<|"|>' if isinstance(v, str) else str(v)) for k, v in sorted(args.items())))
    if stage == 0:
        return Conversation("tool call", msgs, _reply(thought, call, think), "<|tool_response>", think, tools)
    said = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": {"name": name, "arguments": args}}]}
    if think:
        said["reasoning"] = thought
    form = r.random()
    if form < 0.4:  # an object, the way Gemma's own tools give it; the rest are texts, the way OpenAI's interface does
        said["tool_responses"] = [{"name": name, "response": result}]
        msgs.append(said)
    else:
        text = json.dumps(result) if form < 0.7 else json.dumps(result, separators=(",", ":"))
        msgs += [said, {"role": "tool", "tool_call_id": "1", "name": name, "content": text}]
    return Conversation("tool result", msgs, _reply("The tool has answered.", answer, think, opened=True), "<turn|>", think, tools)


def stream(seed):
    """Training conversations without end."""
    r = random.Random(seed)
    while True:
        x = r.random()
        yield chat(r) if x < 0.62 else obey(r) if x < 0.78 else tool_use(r) if x < 0.94 else remember(r)


# ---- tests -----------------------------------------------------------------------------------------
PLAIN_SKILLS = ("add", "subtract", "count", "reverse", "spell", "repeat", "letter", "length", "fact", "talk", "unknown")


def tests(n, seed=7):
    """{skill: n held-out conversations}. No problem of theirs is ever in stream()."""
    r = random.Random(seed)

    def held(item):
        return held_out(item.key)

    out = {}
    for skill in PLAIN_SKILLS:
        out[skill] = [chat(r, lambda i: held(i) and i.skill == skill, think=False, turns=0) for _ in range(n)]
    for skill in ("add", "subtract", "reverse"):
        out[skill + " with thought"] = [chat(r, lambda i: held(i) and i.skill == skill, think=True, turns=0) for _ in range(n)]
    out["later turn"] = [chat(r, held, think=False, turns=r.choice((1, 2, 3)), skill="later turn") for _ in range(n)]
    for kind in ("capitals", "lower", "word", "end", "start"):
        out["instruction: " + kind] = [obey(r, held, think=False, pick=kind) for _ in range(n)]
    out["memory"] = [remember(r, held) for _ in range(n)]
    for stage, name in enumerate(("tool call", "tool result", "tool not needed", "tool missing")):
        out[name] = [tool_use(r, held, stage=stage, think=False) for _ in range(n)]
    out["tool call with thought"] = [tool_use(r, held, stage=0, think=True) for _ in range(n)]
    return out
