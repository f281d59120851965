"""What servers are asked. A load is a coroutine function: (server, clients, tokens, salt) -> what each client got.

`salt` is different for each load, round and server, and stands at the beginning of what must not be known before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from stream import Message, Server, Stream

Load = Callable[[Server, int, int, str], Awaitable[list[Stream]]]

STORY = "Write a long story about a lighthouse keeper, the sea, and the ships that pass by at night. " * 3
"""About 60 tokens."""

RULES = (
    "You are the assistant of a small harbour town. Answer politely and briefly, in whole sentences. Never speak "
    "of the weather of other towns. If somebody asks for the timetable of the ferry, say that it leaves at eight "
    "in the morning and at six in the evening, and that dogs travel free. If you do not know an answer, say so, "
    "and name the town hall, which is open from nine to five on every day of the week but Sunday. Do not use "
    "lists."
)
"""About 100 tokens."""

BOOK = " ".join(f"Rule {n}: the keeper of light {n} writes down every ship that passes before noon." for n in range(48))
"""About 1,000 tokens."""

TOPICS = (
    "ships light rope fog gulls tides sails maps salt storms bells nets oars piers whales stars winds ice sand rain"
)
TURNS = [f"Tell me something about {topic}." for topic in TOPICS.split()]


async def different(server: Server, n_clients: int, n_tokens: int, salt: str) -> list[Stream]:
    """Every prompt is one that nobody has seen."""
    return await _together(server, [[_user(f"{salt}.{n} {STORY}")] for n in range(n_clients)], n_tokens)


async def common(server: Server, n_clients: int, n_tokens: int, salt: str) -> list[Stream]:
    """All have a system prompt that the server has met before, and a question of their own."""
    return await _together(server, [[_system(RULES), _user(f"{salt}.{n} {STORY}")] for n in range(n_clients)], n_tokens)


async def wave(server: Server, n_clients: int, n_tokens: int, salt: str) -> list[Stream]:
    """All at once come with the same long prompt, which is new, and a short question of their own."""
    book = _system(f"{salt} {BOOK}")
    return await _together(server, [[book, _user(f"What is rule {n}?")] for n in range(n_clients)], n_tokens)


async def second_wave(server: Server, n_clients: int, n_tokens: int, salt: str) -> list[Stream]:
    """The wave after the first."""
    book = _system(f"{salt} {BOOK}")
    await _together(server, [[book, _user(f"What is rule {n}?")] for n in range(n_clients)], n_tokens)
    return await _together(server, [[book, _user(f"Who wrote {n} ships down?")] for n in range(n_clients)], n_tokens)


async def conversation(server: Server, n_clients: int, n_tokens: int, salt: str) -> list[Stream]:
    """Twenty turns, each with all that was said before it. What each turn got, the clients' one after the other."""

    async def talk(n: int) -> list[Stream]:
        messages = [_system(f"{salt}.{n} {RULES}")]
        got = []
        for turn in TURNS:
            messages.append(_user(turn))
            got.append(await server.ask(messages, n_tokens))
            messages.append({"role": "assistant", "content": got[-1].text})
        return got

    return [stream for streams in await asyncio.gather(*map(talk, range(n_clients))) for stream in streams]


async def beside_a_book(server: Server, n_clients: int, n_tokens: int, salt: str) -> list[Stream]:
    """Streams that run while somebody else's prompt of 7,000 tokens is read: theirs, not that one's. The context has to
    hold all of them."""
    book = server.ask([_user(f"{salt} {BOOK * 7}")], 1)
    streams = _together(server, [[_user(f"{salt}.{n} {STORY}")] for n in range(n_clients)], n_tokens)
    got, _ = await asyncio.gather(streams, book)
    return got


LOADS: dict[str, Load] = {
    load.__name__: load for load in (different, common, wave, second_wave, conversation, beside_a_book)
}


async def _together(server: Server, prompts: Sequence[Sequence[Message]], n_tokens: int) -> list[Stream]:
    return await asyncio.gather(*(server.ask(prompt, n_tokens) for prompt in prompts))


def _system(text: str) -> Message:
    return {"role": "system", "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
