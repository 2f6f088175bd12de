"""Each client asks, streams, calls a tool and uses its result; the miniature's answers are known."""
import sys
import traceback

import anthropic
import openai

URL = sys.argv[1]
SUM = [{"role": "user", "content": "What is 12 + 30?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
RESULT = '{"sky":"sunny","temperature":21}'
SAID = "It is sunny in Paris, 21 degrees."
FUNCTION = [{"type": "function", "function": {"name": "weather", "description": "Get the weather.", "parameters": SCHEMA}}]
TOOL = [{"name": "weather", "description": "Get the weather.", "input_schema": SCHEMA}]
OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)
ANTHROPIC = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0)


def openai_models():
    assert OPENAI.models.list().data[0].id == OPENAI.models.retrieve("facet-mini").id == "facet-mini"


def openai_chat():
    r = OPENAI.chat.completions.create(model="m", messages=SUM, temperature=0)
    assert r.choices[0].message.content == "12 + 30 = 42" and r.choices[0].finish_reason == "stop"
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens


def openai_tools():
    m = OPENAI.chat.completions.create(model="m", messages=WEATHER, tools=FUNCTION, temperature=0).choices[0].message
    call = m.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Paris"}')
    history = WEATHER + [m, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    r = OPENAI.chat.completions.create(model="m", messages=history, tools=FUNCTION, temperature=0)
    assert r.choices[0].message.content == SAID


def openai_stream():
    with OPENAI.chat.completions.stream(model="m", messages=WEATHER, tools=FUNCTION, temperature=0) as s:
        kinds = [e.type for e in s]
        call = s.get_final_completion().choices[0].message.tool_calls[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Paris"}')
    thoughts = [getattr(c.choices[0].delta, "reasoning_content", None) for c in OPENAI.chat.completions.create(
        model="m", messages=SUM, stream=True, reasoning_effort="low")]
    assert any(thoughts)


def openai_completions():
    r = OPENAI.completions.create(model="m", prompt="Hello", max_tokens=4, temperature=0, logprobs=1)
    assert len(r.choices[0].logprobs.tokens) == 4


def openai_refused():
    for wrong in ({"messages": []}, {"messages": SUM, "tool_choice": "required"}, {"messages": SUM, "response_format": {"type": "json_object"}}):
        try:
            OPENAI.chat.completions.create(model="m", **wrong)
        except openai.BadRequestError as e:
            assert e.param in wrong
        else:
            raise AssertionError(f"{wrong} was answered")


def anthropic_tools():
    r = ANTHROPIC.messages.create(model="m", max_tokens=200, messages=WEATHER, tools=TOOL, extra_body={"temperature": 0})
    use = r.content[0]
    assert r.stop_reason == "tool_use" and use.name == "weather" and use.input == {"city": "Paris"}
    history = WEATHER + [{"role": "assistant", "content": r.content},
                         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": RESULT}]}]
    assert ANTHROPIC.messages.create(model="m", max_tokens=200, messages=history, tools=TOOL, extra_body={"temperature": 0}).content[0].text == SAID


def anthropic_stream():
    with ANTHROPIC.messages.stream(model="m", max_tokens=200, messages=WEATHER, tools=TOOL) as s:
        assert s.get_final_message().content[0].input == {"city": "Paris"}
    with ANTHROPIC.messages.stream(model="m", max_tokens=400, messages=SUM, thinking={"type": "enabled", "budget_tokens": 1024}) as s:
        m = s.get_final_message()
    assert [b.type for b in m.content] == ["thinking", "text"] and m.stop_reason == "end_turn"


def anthropic_count():
    n = ANTHROPIC.messages.count_tokens(model="m", messages=SUM).input_tokens
    u = ANTHROPIC.messages.create(model="m", max_tokens=5, messages=SUM).usage
    assert n == u.input_tokens + u.cache_read_input_tokens


def main():
    failed = 0
    tests = [f for name, f in globals().items() if name.startswith(("openai_", "anthropic_"))]
    for f in tests:
        try:
            f()
            print(f"  ok    {f.__name__}")
        except Exception:
            failed += 1
            print(f"  FAIL  {f.__name__}")
            traceback.print_exc()
    print(f"{len(tests) - failed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
