"""Anthropic's client: tools, streams with thoughts, schemas, counting tokens."""
import anthropic

from common import RESULT, SAID, SCHEMA, SUM, URL, WEATHER, run
from shapes import Person, Pet

ANTHROPIC = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0)
TOOL = [{"name": "weather", "description": "Get the weather.", "input_schema": SCHEMA}]


def anthropic_tools():
    r = ANTHROPIC.messages.create(model="m", max_tokens=200, messages=WEATHER, tools=TOOL, extra_body={"temperature": 0})
    use = r.content[0]
    assert r.stop_reason == "tool_use" and use.name == "weather" and use.input == {"city": "Paris"}
    history = WEATHER + [{"role": "assistant", "content": r.content},
                         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": RESULT}]}]
    assert ANTHROPIC.messages.create(model="m", max_tokens=200, messages=history, tools=TOOL, extra_body={"temperature": 0}).content[0].text == SAID


def anthropic_parse():
    r = ANTHROPIC.messages.parse(model="m", max_tokens=300, messages=SUM, output_format=Pet)
    assert isinstance(r.parsed_output, Pet)
    with ANTHROPIC.messages.stream(model="m", max_tokens=300, messages=SUM, output_format=Pet) as s:
        assert isinstance(s.get_final_message().parsed_output, Pet)
    tool = {"name": "meet", "input_schema": Person.model_json_schema()}
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "meet", "disable_parallel_tool_use": True}):
        (use,) = ANTHROPIC.messages.create(model="m", max_tokens=300, messages=SUM, tools=[tool], tool_choice=choice).content
        assert use.name == "meet" and Person(**use.input)


def anthropic_stream():
    with ANTHROPIC.messages.stream(model="m", max_tokens=200, messages=WEATHER, tools=TOOL) as s:
        assert s.get_final_message().content[0].input == {"city": "Paris"}
    with ANTHROPIC.messages.stream(model="m", max_tokens=400, messages=SUM, thinking={"type": "enabled", "budget_tokens": 1024}) as s:
        m = s.get_final_message()
    assert [b.type for b in m.content] == ["thinking", "text"] and m.stop_reason == "end_turn"


def anthropic_budget():
    def thought(tokens):
        r = ANTHROPIC.messages.create(model="m", max_tokens=400, messages=SUM, thinking={"type": "enabled", "budget_tokens": tokens}, extra_body={"temperature": 0})
        assert [b.type for b in r.content] == ["thinking", "text"] and r.stop_reason == "end_turn"
        return r.content[0].thinking
    assert thought(1024).startswith(thought(3)) and len(thought(3)) < len(thought(1024))


def anthropic_count():
    n = ANTHROPIC.messages.count_tokens(model="m", messages=SUM).input_tokens
    u = ANTHROPIC.messages.create(model="m", max_tokens=5, messages=SUM).usage
    assert n == u.input_tokens + u.cache_read_input_tokens


run(anthropic_tools, anthropic_parse, anthropic_stream, anthropic_budget, anthropic_count)
