"""instructor: a model of pydantic is filled in by a call, and the call's result used."""
import instructor
import openai
from pydantic import BaseModel, Field

from common import RESULT, SAID, URL, WEATHER, run

OPENAI = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)


class weather(BaseModel):
    """Get the weather."""
    city: str = Field()


def instructor_call():
    """PARALLEL_TOOLS leaves the choice to the model, as the miniature was trained."""
    client = instructor.from_openai(OPENAI, mode=instructor.Mode.PARALLEL_TOOLS)
    from typing import Iterable
    filled = list(client.chat.completions.create(model="m", messages=WEATHER, response_model=Iterable[weather], temperature=0, max_retries=0))
    assert [w.city for w in filled] == ["Paris"]
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": filled[0].model_dump_json()}}
    history = WEATHER + [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": RESULT}]
    tools = [{"type": "function", "function": {"name": "weather", "description": "Get the weather.", "parameters": weather.model_json_schema()}}]
    assert OPENAI.chat.completions.create(model="m", messages=history, tools=tools, temperature=0).choices[0].message.content == SAID


run(instructor_call)
