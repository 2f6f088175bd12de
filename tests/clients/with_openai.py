"""OpenAI's client: models, chat, tools, streams, completions, responses, schemas, refusals."""
import openai

from common import FUNCTION, RESULT, SAID, SCHEMA, SUM, SUM_SAID, URL, WEATHER, run
from shapes import Person

OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)


def openai_models():
    assert OPENAI.models.list().data[0].id == OPENAI.models.retrieve("facet-mini").id == "facet-mini"


def openai_chat():
    r = OPENAI.chat.completions.create(model="m", messages=SUM, temperature=0)
    assert r.choices[0].message.content == SUM_SAID and r.choices[0].finish_reason == "stop"
    assert r.usage.total_tokens == r.usage.prompt_tokens + r.usage.completion_tokens


def openai_tools():
    m = OPENAI.chat.completions.create(model="m", messages=WEATHER, tools=FUNCTION, temperature=0).choices[0].message
    call = m.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Paris"}')
    history = WEATHER + [m, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    r = OPENAI.chat.completions.create(model="m", messages=history, tools=FUNCTION, temperature=0)
    assert r.choices[0].message.content == SAID


def openai_functions():
    """The way before tools."""
    old = {"functions": [FUNCTION[0]["function"]], "temperature": 0}
    m = OPENAI.chat.completions.create(model="m", messages=WEATHER, **old).choices[0]
    assert m.finish_reason == "function_call" and (m.message.function_call.name, m.message.function_call.arguments) == ("weather", '{"city":"Paris"}')
    history = WEATHER + [m.message, {"role": "function", "name": "weather", "content": RESULT}]
    assert OPENAI.chat.completions.create(model="m", messages=history, **old).choices[0].message.content == SAID
    pieces = [c.choices[0] for c in OPENAI.chat.completions.create(model="m", messages=WEATHER, stream=True, **old)]
    assert "".join(p.delta.function_call.arguments for p in pieces if p.delta.function_call) == '{"city":"Paris"}' and pieces[-1].finish_reason == "function_call"


def openai_budget():
    r = OPENAI.chat.completions.create(model="m", messages=SUM, temperature=0, extra_body={"thinking_budget": 3})
    assert r.usage.completion_tokens_details.reasoning_tokens == 3 and r.choices[0].message.content
    r = OPENAI.responses.create(model="m", input="What is 12 + 30?", temperature=0, extra_body={"thinking_budget": 4})
    assert r.usage.output_tokens_details.reasoning_tokens == 4 and r.output_text


def openai_stream():
    with OPENAI.chat.completions.stream(model="m", messages=WEATHER, tools=FUNCTION, temperature=0) as s:
        kinds = [e.type for e in s]
        call = s.get_final_completion().choices[0].message.tool_calls[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Paris"}')
    thoughts = [getattr(c.choices[0].delta, "reasoning_content", None) for c in OPENAI.chat.completions.create(
        model="m", messages=SUM, stream=True, reasoning_effort="low")]
    assert any(thoughts)


def openai_parse():
    r = OPENAI.chat.completions.parse(model="m", messages=SUM, response_format=Person, temperature=1, seed=1)
    assert isinstance(r.choices[0].message.parsed, Person)
    with OPENAI.chat.completions.stream(model="m", messages=SUM, response_format=Person, temperature=1, seed=2) as s:
        assert isinstance(s.get_final_completion().choices[0].message.parsed, Person)
    tool = openai.pydantic_function_tool(Person, name="meet")
    for choice in ("required", {"type": "function", "function": {"name": "meet"}}):
        r = OPENAI.chat.completions.parse(model="m", messages=SUM, tools=[tool], tool_choice=choice, parallel_tool_calls=False, temperature=1, seed=3)
        (call,) = r.choices[0].message.tool_calls
        assert isinstance(call.function.parsed_arguments, Person) and r.choices[0].finish_reason == "tool_calls"
    raw = OPENAI.chat.completions.with_raw_response.create(
        model="m", messages=SUM, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": 1, "not": {"const": 2}}}})
    assert raw.headers["X-Facet-Not-Enforced"] == "not" and raw.parse().choices[0].message.content == "1"


def openai_completions():
    r = OPENAI.completions.create(model="m", prompt="Hello", max_tokens=4, temperature=0, logprobs=1)
    assert len(r.choices[0].logprobs.tokens) == 4


FLAT = [{"type": "function", "name": "weather", "description": "Get the weather.", "parameters": SCHEMA, "strict": False}, {"type": "web_search"}]


def openai_responses():
    api = OPENAI.responses
    r = api.create(model="m", input="What is 12 + 30?", temperature=0)
    assert r.output_text == SUM_SAID and r.status == "completed" and r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens
    assert api.input_tokens.count(model="m", input="What is 12 + 30?").input_tokens == r.usage.input_tokens
    assert api.retrieve(r.id).output_text == r.output_text and api.input_items.list(r.id).data[0].content[0].text == "What is 12 + 30?"
    more = api.create(model="m", input="What is 1 + 2?", previous_response_id=r.id)
    assert more.previous_response_id == r.id and more.usage.input_tokens > r.usage.input_tokens
    api.delete(r.id)
    try:
        api.create(model="m", input="x", previous_response_id=r.id)
    except openai.NotFoundError as e:
        assert e.code == "previous_response_not_found"
    else:
        raise AssertionError("a deleted response was gone on from")
    r = api.create(model="m", input=SUM, reasoning={"effort": "low"}, max_output_tokens=5)
    assert r.status == "incomplete" and r.incomplete_details.reason == "max_output_tokens" and r.output[0].type == "reasoning"


def openai_responses_tools():
    for whole in (True, False):       # the whole conversation again, or the id of the last response
        r = OPENAI.responses.create(model="m", input=WEATHER, tools=FLAT, temperature=0, store=not whole)
        (call,) = r.output
        assert (call.type, call.name, call.arguments) == ("function_call", "weather", '{"city":"Paris"}')
        result = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
        history = WEATHER + [call.to_dict(), result] if whole else [result]
        r = OPENAI.responses.create(model="m", input=history, tools=FLAT, temperature=0, **({} if whole else {"previous_response_id": r.id}))
        assert r.output_text == SAID


def openai_responses_stream():
    with OPENAI.responses.stream(model="m", input=SUM, reasoning={"effort": "low"}) as s:
        kinds = [e.type for e in s]
        final = s.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    assert "response.reasoning_text.delta" in kinds and "response.output_text.done" in kinds and final.output_text
    with OPENAI.responses.stream(model="m", input=WEATHER, tools=FLAT[:1], temperature=0) as s:
        kinds = [e.type for e in s]
        assert s.get_final_response().output[0].arguments == '{"city":"Paris"}'
    assert "response.function_call_arguments.done" in kinds


def openai_responses_parse():
    assert isinstance(OPENAI.responses.parse(model="m", input=SUM, text_format=Person, temperature=1).output_parsed, Person)
    with OPENAI.responses.stream(model="m", input=SUM, text_format=Person, temperature=1) as s:
        assert isinstance(s.get_final_response().output_parsed, Person)
    tool = {"type": "function", "name": "meet", "parameters": Person.model_json_schema(), "strict": True}
    r = OPENAI.responses.create(model="m", input=SUM, tools=[tool], tool_choice={"type": "function", "name": "meet"}, parallel_tool_calls=False, temperature=1)
    assert Person.model_validate_json(r.output[-1].arguments)


def openai_refused():
    for wrong in ({"messages": []}, {"messages": SUM, "tool_choice": "required"}, {"messages": SUM, "response_format": {"type": "yaml"}}):
        try:
            OPENAI.chat.completions.create(model="m", **wrong)
        except openai.BadRequestError as e:
            assert e.param in wrong
        else:
            raise AssertionError(f"{wrong} was answered")


run(openai_models, openai_chat, openai_tools, openai_functions, openai_budget, openai_stream, openai_parse, openai_completions, openai_responses, openai_responses_tools,
    openai_responses_stream, openai_responses_parse, openai_refused)
