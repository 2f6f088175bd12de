"""langchain-openai: a bound tool is called and its result used, whole and streamed."""
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from common import RESULT, SAID, SUM, SUM_SAID, URL, WEATHER, run

CHAT = ChatOpenAI(model="m", base_url=URL + "/v1", api_key="any", temperature=0, max_retries=0)


@tool
def weather(city: str) -> str:
    """Get the weather."""
    assert city == "Paris"
    return RESULT


def langchain_chat():
    r = CHAT.invoke(SUM)
    assert r.content == SUM_SAID and r.usage_metadata["total_tokens"] > 0


def langchain_tools():
    chat = CHAT.bind_tools([weather])
    history = [HumanMessage(WEATHER[0]["content"])]
    history.append(chat.invoke(history))
    call = history[-1].tool_calls[0]
    assert call["name"] == "weather" and call["args"] == {"city": "Paris"}
    history.append(ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]))
    assert chat.invoke(history).content == SAID


def langchain_stream():
    whole = None
    for piece in CHAT.bind_tools([weather]).stream(WEATHER):
        whole = piece if whole is None else whole + piece
    assert whole.tool_calls[0]["name"] == "weather" and whole.tool_calls[0]["args"] == {"city": "Paris"}
    assert "".join(p.content for p in CHAT.stream(SUM)) == SUM_SAID


run(langchain_chat, langchain_tools, langchain_stream)
