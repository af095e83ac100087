"""What is measured: one request after another, in the shapes that performance depends on."""

import dataclasses

BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "fr-CA,fr;q=0.9,en-CA;q=0.8,en;q=0.7",
    "Cache-Control": "no-cache",
    "Cookie": "session=0f3a9c7be1d24586; theme=dark; consent=all; _ga=GA1.1.1032.1699",
    "Pragma": "no-cache",
    "Referer": "http://shop.example/products/1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A load: what is asked for, and how."""

    title: str
    path: str = "/"
    headers: dict = dataclasses.field(default_factory=dict)
    body: int = 0
    """Bytes of a POST; none is a GET."""
    text: str = ""
    """What a POST says, where that matters."""
    connections: int = 64
    idle: int = 0
    """Connections that have had an answer and ask for nothing more."""
    rate: int = 0
    """Requests per second; none is a closed loop."""
    is_logged: bool = False
    """Whether the access log is on."""
    is_wide: bool = True
    """Whether the proxies that are there for one comparison only take part."""


CASES = {
    "keepalive_200b": Case("64 keep-alive connections, 200 B answer"),
    "keepalive_200b_browser": Case("same, 12 browser headers", headers=BROWSER),
    "keepalive_200b_logged": Case("same as the first, access log on", is_logged=True),
    "new_connection": Case("a new connection per request", headers={"Connection": "close"}),
    "post_4k": Case("POST 4 KiB", body=4096, is_wide=False),
    "answer_16k": Case("16 KiB answer", path="/16k", is_wide=False),
    "answer_1m": Case("1 MiB answer", path="/1m", connections=16, is_wide=False),
    "idle_1000": Case("1000 idle and 64 active", idle=1000, is_wide=False),
    "idle_10000": Case("10,000 idle and 64 active", idle=10_000, is_wide=False),
    "fixed_4000": Case("4000 requests per second", rate=4000, is_wide=False),
}
