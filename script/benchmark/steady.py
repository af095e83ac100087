"""A steady rate of requests that goes on through reloads: closed connections are opened anew.

h2load gives up a connection that its server closes, wrk knows no rate. Times count from when a
request was due, so one that waited for the answer before it has waited.

    steady.py PORT RATE CONNECTIONS SECONDS → a line per request: microseconds, or the failure
"""

import asyncio
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: steady\r\n\r\n"


class Connection:
    """One of those that are used in turn, opened when it is needed."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def ask(self):
        """One request; what went wrong, or nothing."""
        try:
            if not self.writer:
                opening = asyncio.open_connection("127.0.0.1", self.port)
                self.reader, self.writer = await asyncio.wait_for(opening, 10)
            self.writer.write(REQUEST)
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
            fields = dict(it.split(b": ", 1) for it in head.lower().split(b"\r\n")[1:-2])
            await asyncio.wait_for(self.reader.readexactly(int(fields[b"content-length"])), 10)
        except (OSError, TimeoutError, EOFError, ValueError, KeyError) as error:
            self.close()
            return f"{type(error).__name__} {error}".replace("\n", " ")
        if fields.get(b"connection") == b"close":
            self.close()
        return "" if head.startswith(b"HTTP/1.1 200 ") else head[:12].decode()

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None


async def _lane(connection, first, interval, until, told):
    due = first
    while due < until:
        await asyncio.sleep(due - time.monotonic())
        failure = await connection.ask()
        told.append(failure or str(round((time.monotonic() - due) * 1e6)))
        due += interval


async def _main(port, rate, connections, seconds):
    told, interval = [], connections / rate
    began = time.monotonic() + 0.1
    await asyncio.gather(
        *(
            _lane(Connection(port), began + it / rate, interval, began + seconds, told)
            for it in range(connections)
        )
    )
    print("\n".join(told))


if __name__ == "__main__":
    asyncio.run(_main(*map(int, sys.argv[1:])))
