"""litellm: as OpenAI's and as Anthropic's client; a tool called and its result used, whole and streamed."""
import litellm

from common import FUNCTION, RESULT, SAID, SUM, SUM_SAID, URL, WEATHER, run

litellm.num_retries = 0
litellm.telemetry = False
OPENAI = {"model": "openai/m", "api_base": URL + "/v1", "api_key": "any", "temperature": 0}
ANTHROPIC = {"model": "anthropic/m", "api_base": URL, "api_key": "any", "temperature": 0, "max_tokens": 200}


def tool_loop(how):
    m = litellm.completion(messages=WEATHER, tools=FUNCTION, **how).choices[0].message
    call = m.tool_calls[0]
    assert call.function.name == "weather" and call.function.arguments.replace(" ", "") == '{"city":"Paris"}'
    history = WEATHER + [m.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": RESULT}]
    assert litellm.completion(messages=history, tools=FUNCTION, **how).choices[0].message.content == SAID


def stream(how):
    chunks = list(litellm.completion(messages=WEATHER, tools=FUNCTION, stream=True, **how))
    whole = litellm.stream_chunk_builder(chunks, messages=WEATHER)
    call = whole.choices[0].message.tool_calls[0]
    assert whole.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "weather" and call.function.arguments.replace(" ", "") == '{"city":"Paris"}'


def litellm_openai_tools():
    tool_loop(OPENAI)


def litellm_openai_stream():
    stream(OPENAI)
    said = litellm.completion(messages=SUM, stream=True, **OPENAI)
    assert "".join(c.choices[0].delta.content or "" for c in said) == SUM_SAID


def litellm_openai_thought():
    m = litellm.completion(messages=SUM, reasoning_effort="low", allowed_openai_params=["reasoning_effort"], **OPENAI).choices[0].message
    assert m.reasoning_content and m.content


def litellm_anthropic_tools():
    tool_loop(ANTHROPIC)


def litellm_anthropic_stream():
    stream(ANTHROPIC)


run(litellm_openai_tools, litellm_openai_stream, litellm_openai_thought, litellm_anthropic_tools, litellm_anthropic_stream)
